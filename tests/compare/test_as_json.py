"""The comparison as JSON: valid, whole, documented."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from folders import write_run

from rnn_research.cli.compare import main
from rnn_research.compare import SCHEMA, as_json, compare

DOCS = Path(__file__).parents[2] / "docs" / "comparison_json.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in range(3):
        for model, gamma in (("rnn", 0.6), ("lstm", 0.97)):
            for threshold in (None, 1.0):
                name = f"{model}-{threshold}-{seed}"
                write_run(
                    tmp_path / name, gamma + 0.001 * seed, seed=seed, threshold=threshold, factors={"model": model}
                )
    write_run(tmp_path / "gone", 1e-9, factors={"model": "gru"})
    write_run(tmp_path / "failed", 0.5, status="failed", factors={"model": "gru"}, seed=1)
    return tmp_path


def test_it_is_json_with_the_numbers_of_the_comparison(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = compare([folder])
    assert main([str(folder), "--format", "json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(json.dumps(as_json(found), allow_nan=False))
    assert printed["schema"] == SCHEMA
    assert len(printed["conditions"]) == len(found.conditions)
    for ours, theirs in zip(found.conditions, printed["conditions"], strict=True):
        assert theirs["options"] == ours.options
        assert [run["seed"] for run in theirs["runs"]] == [run.record.seed for run in ours.runs]
        assert ours.chosen is not None
        assert theirs["gradient"]["verdict"]["word"] == ours.chosen.verdict.word
        assert theirs["gradient"]["curve"]["x"] == ours.chosen.curve.x.tolist()
    for ours, theirs in zip(found.effects, printed["effects"], strict=True):
        assert ours.rate is not None
        assert theirs["rate"]["mean"] == pytest.approx(ours.rate.mean)
        assert theirs["step"] == ours.step == 200
    assert {item["reason"][:6] for item in printed["excluded"]} == {"failed"}


def test_the_model_explains_the_rate_and_clipping_does_not(folder: Path) -> None:
    found = as_json(compare([folder], where=["model!=gru"]))["explained"]
    terms = {tuple(term["factors"]): term for term in found["terms"]}
    assert terms["model",]["share"] > 0.99
    assert terms["clipping",]["share"] < 0.01


def test_rates_are_explained_at_one_step_and_not_where_one_run_diverged(tmp_path: Path) -> None:
    for seed in range(4):
        kept = 0.9 + 0.002 * seed
        early = {0: kept, 10: kept, 20: 0.4}
        write_run(tmp_path / f"n{seed}", early, seed=seed, status="diverged", diverged_step=21)
        write_run(
            tmp_path / f"v{seed}", {0: kept, 10: kept + 0.0001 * (-1) ** seed, 200: 0.98}, seed=seed, threshold=1.0
        )
    found = as_json(compare([tmp_path]))["explained"]
    (term,) = found["terms"]
    assert term["factors"] == ["clipping"]
    assert term["share"] < 0.01
    assert term["p"] > 0.05


def test_rates_without_a_step_in_common_are_not_explained(tmp_path: Path) -> None:
    for seed in range(3):
        for step, threshold in ((50, None), (200, 1.0)):
            write_run(tmp_path / f"{step}{seed}", {step: 0.9 + 0.01 * seed}, seed=seed, threshold=threshold)
    found = as_json(compare([tmp_path]))["explained"]
    assert found["terms"] == []
    assert found["why"] == "the runs' rates are of different training steps"


def test_one_condition_has_nothing_to_explain(folder: Path) -> None:
    found = compare([folder], where=["model=rnn", "clipping=none"])
    assert as_json(found)["explained"] is None
    assert np.isfinite(found.conditions[0].chosen.decay.rate)  # type: ignore[union-attr]


def test_every_key_is_documented(folder: Path) -> None:
    found, text = as_json(compare([folder])), DOCS.read_text()
    assert f"`schema` is {SCHEMA}" in text
    named = set(re.findall(r"`\.?(?:conditions\[\]\.)?(?:gradient\.)?(\w+)`", text))
    for keys in (found, found["conditions"][0], found["conditions"][0]["runs"][0], found["effects"][0]):
        assert set(keys) - named <= {"condition", "diverged", "parameters", "answers"}
