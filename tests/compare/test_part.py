"""Comparing the curves of an encoder alone, or of a decoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rnn_research import curves
from rnn_research.cli import compare as command
from rnn_research.compare import NothingToCompare, compare
from rnn_research.config.compose import Composer
from rnn_research.config.run_one import run_one
from rnn_research.records import runs

TINY = ("hidden_size=6", "trainer.max_steps=2", "dataset.train_size=16", "dataset.val_size=8", "dataset.test_size=8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of an encoder and a decoder, and one of neither."""
    made = tmp_path_factory.mktemp("parts")
    for name in ("none", "dot"):
        typed = ["dataset=copy_tokens", "model=gru", "architecture=encoder_decoder", f"architecture.attention={name}"]
        assert run_one(Composer().run([*typed, *TINY]), made / "both" / name).status == "done"
    assert run_one(Composer().run(["dataset=adding", "model=gru", *TINY]), made / "label").status == "done"
    return made


def test_a_curve_is_that_of_the_part(folder: Path) -> None:
    for part in curves.NETWORKS:
        found = compare([folder / "both"], part=part)
        assert found.part == part
        for run in found.runs:
            table = runs.read_table(run.folder, "adjoint")
            assert table is not None
            assert run.chosen is not None
            wanted = curves.typical(curves.curve(curves.of_part(table, part)), resamples=0)
            assert np.array_equal(run.chosen.curve.log, wanted.log, equal_nan=True)
    whole = compare([folder / "both"])
    assert whole.part is None
    assert [run.chosen.curve.distance.max() for run in whole.runs if run.chosen] > [
        run.chosen.curve.distance.max() for run in found.runs if run.chosen
    ]


def test_the_page_and_the_json_say_whose_curves_they_are(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [str(folder / "both"), "--part", "encoder", "--out", str(tmp_path), "--no-figures"]
    assert command.main(asked) == 0
    assert "in cell applications to the encoder's end" in capsys.readouterr().out
    assert "of the encoder" in (tmp_path / "comparison.html").read_text(encoding="utf-8")
    capsys.readouterr()
    assert command.main([str(folder / "both"), "--part", "encoder", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["part"] == "encoder"


def test_a_run_without_the_part_says_so(folder: Path) -> None:
    told = {run.folder.name: run.missing for run in compare([folder], part="encoder").runs}
    assert any("no encoder and decoder" in one for one in told["label"])
    assert not any("encoder" in one for one in told["dot"])


def test_a_part_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(NothingToCompare, match="part: given encoder, but no run has"):
        compare([folder / "label"], part="encoder")
    with pytest.raises(NothingToCompare, match="part: given encodr"):
        compare([folder], part="encodr")
