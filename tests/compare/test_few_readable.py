"""Where few seeds could be read, all that rests on them says so; and a layer that loses the gradient is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from folders import adjoint_table, write_run

from rnn_research import report
from rnn_research.compare import Comparison, caveats, compare
from rnn_research.records import runs
from rnn_research.report import columns, figures, prose


@pytest.fixture
def torn(tmp_path: Path) -> Comparison:
    """Of five seeds one can be read."""
    for seed in range(5):
        write_run(tmp_path / str(seed), 0.9, seed=seed)
        if seed:
            (tmp_path / str(seed) / "probes" / "adjoint.npy").write_bytes(b"torn")
    return compare([tmp_path])


def test_the_cells_the_sentence_and_the_caveat_say_of_how_many(torn: Comparison) -> None:
    (condition,) = torn.conditions
    assert condition.read == 1
    shown = {column.title: column.cell(condition) for column in columns.gradient_columns(torn)}
    assert shown["rate [95%]"].endswith("(of 1)")
    assert "(of 1" in shown["far ratio [95%]"]
    assert "(of 1 of 5 seeds)" in prose.sentence(torn, condition)
    few = [caveat.text for caveat in caveats(torn) if caveat.kind == "few seeds"]
    assert any("could be read of fewer than 3 seeds (1 at the least)" in text for text in few)


def test_the_caption_of_the_curves_says_n(torn: Comparison) -> None:
    (curves,) = figures.draw(torn, files=False, names=["vanishing"])
    assert "n = 1 seed a condition" in curves.caption


def test_the_interval_of_one_seed_is_said_to_be_over_samples(tmp_path: Path) -> None:
    table = adjoint_table({0: 0.9, 200: 0.9}, 0)
    noise = np.exp(np.random.default_rng(0).normal(scale=0.02, size=(16, 1)) * np.arange(33)).ravel()
    for part in (table["hidden"], table["hidden_recurrent"]):
        part *= np.tile(noise, 2)
    runs.write_table(write_run(tmp_path / "one", 0.9), "adjoint", table)
    assert "] (over samples)" in report.text(compare([tmp_path]))


def layered(folder: Path, gammas: tuple[float, float], seed: int, model: str) -> None:
    tables = []
    for layer, gamma in enumerate(gammas):
        table = adjoint_table({0: gamma, 200: gamma}, seed)
        table["layer"] = layer
        tables.append(table)
    runs.write_table(
        write_run(folder, 0.9, seed=seed, factors={"model": model}), "adjoint", np.sort(np.concatenate(tables))
    )


def test_a_layer_in_which_it_vanishes_is_in_the_headline(tmp_path: Path) -> None:
    for seed in range(3):
        layered(tmp_path / f"rnn{seed}", (0.5, 0.99), seed, "rnn")
        layered(tmp_path / f"lstm{seed}", (0.99, 0.99), seed, "lstm")
        layered(tmp_path / f"gru{seed}", ((0.7, 0.8, 0.95)[seed], 0.99), seed, "gru")
    said = prose.verdict(compare([tmp_path]))
    assert "; layer 0 vanishes in rnn." in said
    assert "layer" not in prose.verdict(compare([tmp_path], where=["model=lstm"]))
    unclear = compare([tmp_path], where=["model=gru"])
    assert unclear.conditions[0].beside["layer 0"].verdict.word == "vanishes"
    assert not unclear.conditions[0].beside["layer 0"].verdict.sure
    assert "layer" not in prose.verdict(unclear)
