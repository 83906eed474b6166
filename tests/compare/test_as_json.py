"""The comparison as JSON: valid, whole, documented."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from folders import write_run

from rnn_research import report
from rnn_research.cli.compare import main
from rnn_research.compare import SCHEMA, Breakdown, Confusion, ForeseenEffect, as_json, compare
from rnn_research.records import runs
from rnn_research.statistics.factors import explained

DOCS = Path(__file__).parents[2] / "docs" / "comparison_json.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read by all tests, changed by none."""
    made = tmp_path_factory.mktemp("runs")
    for seed in range(3):
        for model, gamma in (("rnn", 0.6), ("lstm", 0.97)):
            for threshold in (None, 1.0):
                name = f"{model}-{threshold}-{seed}"
                write_run(made / name, gamma + 0.001 * seed, seed=seed, threshold=threshold, factors={"model": model})
    write_run(made / "gone", 1e-9, factors={"model": "gru"})
    write_run(made / "failed", 0.5, status="failed", factors={"model": "gru"}, seed=1)
    return made


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


def never_firing(folder: Path) -> None:
    table = runs.read_table(folder, "clipping")
    assert table is not None
    table["fired"], table["coefficient"] = False, 1.0
    runs.write_table(folder, "clipping", table)


def test_of_a_strategy_that_never_acted_nothing_is_concluded(tmp_path: Path) -> None:
    for seed in range(3):
        for model, gamma in (("rnn", 0.6), ("lstm", 0.9)):
            for threshold in (None, 1.0):
                name = f"{model}-{threshold}-{seed}"
                kept = gamma + 0.003 * seed + (0.05 if threshold else 0.0)
                write_run(tmp_path / name, kept, seed=seed, threshold=threshold, factors={"model": model})
                if threshold:
                    never_firing(tmp_path / name)
    comparison = compare([tmp_path])
    found = as_json(comparison)["explained"]
    assert {tuple(term["factors"]) for term in found["terms"]} == {("model",)}
    assert found["notes"] == ["clipping never acted in any step, and nothing is concluded of it"]
    assert found["step"] == 200
    assert "at step 200" in report.text(comparison)
    only = as_json(compare([tmp_path], where=["model=rnn"]))["explained"]
    assert (only["terms"], only["why"]) == ([], "clipping never acted in any step, and nothing is concluded of it")


def test_factors_that_vary_together_are_named_together(tmp_path: Path) -> None:
    for seed in range(3):
        for model, gamma, lr in (("rnn", 0.6, "1"), ("lstm", 0.9, "2")):
            factors = {"model": model, "optimizer.lr": lr}
            write_run(tmp_path / f"{model}{seed}", gamma + 0.003 * seed**2, seed=seed, factors=factors)
    comparison = compare([tmp_path])
    found = as_json(comparison)["explained"]
    assert [term["factors"] for term in found["terms"]] == [["model"]]
    assert found["varies_with"] == [["model", ["optimizer.lr"]]]
    assert "model (varies with lr)" in report.text(comparison)
    assert "model (varies with lr)" in report.page(comparison)


def test_the_ps_of_what_explains_are_adjusted_by_holm(folder: Path) -> None:
    found = as_json(compare([folder], where=["model!=gru"]))["explained"]
    comparison = compare([folder], where=["model!=gru"])
    levels = {name: [run.settings[name] for run in comparison.runs] for name in ("model", "clipping")}
    rates = [run.rate_at(200) for run in comparison.runs]
    plain = explained(rates, levels, [run.record.seed for run in comparison.runs])
    ordered = sorted(term.p for term in plain.terms)
    expected = {p: max(min(1.0, (3 - k) * ordered[k]) for k in range(at + 1)) for at, p in enumerate(ordered)}
    assert [term["p"] for term in found["terms"]] == pytest.approx([expected[term.p] for term in plain.terms])


def test_one_condition_has_nothing_to_explain(folder: Path) -> None:
    found = compare([folder], where=["model=rnn", "clipping=none"])
    assert as_json(found)["explained"] is None
    assert np.isfinite(found.conditions[0].chosen.decay.rate)  # type: ignore[union-attr]


BY_NAME = ("options", "metrics", "constant", "baseline", "beside", "saturation", "foreseen", "answers", "final")
"""Objects whose keys are names from the study: factors, parts, activations, strategies, features, metrics."""


def keys(value: object, place: str = "") -> Iterator[str]:
    """Every key at any depth that is the layout's own."""
    if isinstance(value, dict):
        for key, below in value.items():
            if place not in BY_NAME:
                yield key
            yield from keys(below, "" if place in BY_NAME else key)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from keys(one, place if place not in BY_NAME else "")


def test_every_key_is_documented(folder: Path, tmp_path: Path) -> None:
    solved = {"metric": "accuracy", "bound": 0.9, "above": True, "step": 50}
    for task, seed in np.ndindex(5, 3):
        name = f"task{task}"
        write_run(tmp_path / f"{name}{seed}", seed=seed, factors={"dataset": name}, success=solved, distances=5)
    found, text = as_json(compare([folder])), DOCS.read_text()
    more = as_json(compare([tmp_path]))
    assert more["across_tasks"]
    assert found["effects"]
    assert f"`schema` is {SCHEMA}" in text
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`]*`", text))))
    assert {*keys(found), *keys(more)} - named == set()
    other = (ForeseenEffect, Confusion, Breakdown)  # what these runs lack
    assert {field.name for kind in other for field in dataclasses.fields(kind)} - named == set()
