"""The runs as a data frame: a row a run, with what the comparison says of it."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from folders import write_run

from rnn_research import compare as room
from rnn_research.compare import NothingToCompare, compare, frame, read
from rnn_research.records import runs


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("frame")
    for size in (8, 16):
        for seed in range(2):
            named = {"model": "rnn" if size == 8 else "ls<b>\x1b", "model.cell.hidden_size": str(size)}
            write_run(
                root / f"{size}-{seed}",
                0.6,
                seed=seed,
                factors=named,
                accuracy=0.5 + size / 100,
                start=f"2026-01-01T00:{size:02d}",
            )
    write_run(root / "bad", status="failed", error="boom", seed=7)
    (root / "torn").mkdir()
    (root / "torn" / "run.json").write_text("{")
    (root / "8-1" / "probes" / "adjoint.npy").unlink()
    return root


def test_a_row_is_a_run_and_those_left_out_are_there_too(study: Path):
    comparison = compare([study])
    rows = frame.rows(comparison)
    assert len(rows) == 6
    assert all(list(row) == list(rows[0]) for row in rows)
    assert list(rows[0])[:5] == ["run", "model", "hidden_size", "seed", "status"]
    first, lacking = rows[0], rows[1]
    assert (first["run"], first["hidden_size"], first["seed"], first["status"]) == ("8-0", 8, 0, "done")
    assert first["test_accuracy"] == 0.58
    assert first["rate"] == pytest.approx(np.log(0.6), abs=1e-5)
    assert first["far_ratio"] == pytest.approx(0.6**31, rel=1e-3)
    assert (first["rate_holds"], first["verdict"], first["horizon"]) == (True, "vanishes", 11)
    assert (first["clipped"], first["parameters"], first["left_out"]) == (0.0, 4810, None)
    assert first["folder"] == str(study / "8-0")
    assert lacking["rate"] is None
    assert rows[2]["model"] == "ls<b>\\x1b"
    left = {row["run"]: row for row in rows if row["left_out"]}
    assert left["bad"]["status"] == "failed"
    assert left["bad"]["left_out"] == "failed: boom"
    assert left["torn"]["status"] is None


def test_a_factor_called_as_a_column_keeps_its_own_name(tmp_path: Path):
    for rate in ("0.1", "0.2"):
        write_run(tmp_path / rate, factors={"model.cell.rate": rate})
    row = frame.rows(compare([tmp_path]))[0]
    assert row["model.cell.rate"] == 0.1
    assert row["rate"] == pytest.approx(np.log(0.5), abs=1e-5)


def test_a_factor_that_is_no_number_everywhere_is_text(tmp_path: Path):
    for size in ("8", "big"):
        write_run(tmp_path / size, factors={"model.cell.kind": size})
    assert [row["kind"] for row in frame.rows(compare([tmp_path]))] == ["8", "big"]


@pytest.mark.parametrize("library", frame.LIBRARIES)
def test_the_frame_is_of_the_library_that_is_installed(study: Path, library: str):
    module = pytest.importorskip(library)
    found = read(study, library=library)
    assert isinstance(found, module.DataFrame)
    assert found.shape == (6, len(frame.rows(compare([study]))[0]))
    assert [int(seed) for seed in found["seed"][:4]] == [0, 1, 0, 1]
    assert float(found["test_accuracy"][0]) == 0.58
    assert "vanishes" in str(found["verdict"][0])
    assert found["hidden_size"][0] == 8


def test_a_metric_that_is_nan_and_whole_numbers_make_one_column(tmp_path: Path):
    library = next((name for name in frame.LIBRARIES if importlib.util.find_spec(name)), None)
    if library is None:
        pytest.skip("neither polars nor pandas is installed")
    for seed, value in enumerate((float("nan"), 1.0, 0.25)):
        folder = write_run(tmp_path / str(seed), seed=seed)
        runs.write(dataclasses.replace(runs.read(folder), final={"val_mse": value}), folder)
    assert [float(value) for value in read(tmp_path)["val_mse"]][1:] == [1.0, 0.25]


def test_where_neither_is_installed_one_line_says_so(study: Path, monkeypatch: pytest.MonkeyPatch):
    for name in frame.LIBRARIES:
        monkeypatch.setitem(sys.modules, name, None)  # as python itself says that there is none
    with pytest.raises(ImportError, match=r"^read: polars and pandas not installed; pip install polars"):
        read(study)
    with pytest.raises(ImportError, match=r"expected one of polars, pandas"):
        read(study, library="dplyr")


def test_what_can_not_be_compared_is_said_as_by_compare(tmp_path: Path):
    if not any(importlib.util.find_spec(name) for name in frame.LIBRARIES):
        pytest.skip("neither polars nor pandas is installed")
    with pytest.raises(NothingToCompare, match=r"no run\.json"):
        read(tmp_path)


def test_it_is_where_the_issue_says(study: Path):
    assert room.read is read
