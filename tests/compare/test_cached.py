"""What is kept of a run's tables: the same comparison without reading them, and none where they have changed."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import adjoint_table, clipping_table, draw_less, write_run

from rnn_research import report
from rnn_research.compare import Comparison, compare
from rnn_research.compare.cached import PREFIX
from rnn_research.compare.clipping_norms import BINS, clipping_summary, gradient_norms
from rnn_research.records import runs
from rnn_research.report import style


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same in all that they consist of."""
    if isinstance(one, np.ndarray):
        kinds = (one.dtype.kind, other.dtype.kind)
        return kinds[0] == kinds[1] and np.array_equal(one, other, equal_nan=kinds[0] == "f")
    if dataclasses.is_dataclass(one):
        assert type(one) is type(other)
        return all(same(getattr(one, item.name), getattr(other, item.name)) for item in dataclasses.fields(one))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (one != one and other != other)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two models, two seeds, one run alone; one diverged, one whose table is torn; answers by number and by name."""
    for seed in range(2):
        rnn, lstm = ({"seed": seed, "factors": {"model": model}, "distances": 9} for model in ("rnn", "lstm"))
        write_run(tmp_path / f"rnn{seed}", dict.fromkeys((0, 50, 200), 0.9), threshold=1.0, **rnn)
        write_run(tmp_path / f"lstm{seed}", {0: 1.0, 200: float("nan")}, **lstm)
        answers = np.zeros(4, dtype=[("set", "U8"), ("length", "f8"), ("correct", "?")])
        answers["set"], answers["length"] = ["test", "test", "more", "more"], [1, 2, np.nan, 2]
        runs.write_table(tmp_path / f"rnn{seed}", runs.ANSWERS, answers)
    diverged = {"status": "diverged", "diverged_step": 120, "steps": 120}
    write_run(tmp_path / "alone", {0: 1.0, 50: 1.5, 100: float("inf")}, factors={"model": "gru"}, **diverged)
    torn = tmp_path / "lstm1" / "probes" / "adjoint.npy"
    torn.write_bytes(torn.read_bytes()[:-7])
    return tmp_path


def kept(folder: Path) -> list[Path]:
    return sorted(folder.rglob(f"{PREFIX}*"))


def test_a_second_comparison_is_the_same_and_reads_no_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compare([folder])
    assert len(kept(folder)) == 5
    monkeypatch.setattr(runs, "read_table", lambda *_: pytest.fail("read a table"))
    assert same(compare([folder]), first)
    monkeypatch.undo()
    for path in kept(folder):
        path.unlink()
    assert same(compare([folder], processes=2), first)


@pytest.mark.parametrize("changes", [{"state": "hidden"}, {"step": 50}, {"metric": "val_accuracy"}, {"fraction": 0.5}])
def test_another_view_is_another_summary(folder: Path, changes: dict[str, Any]) -> None:
    two = [folder / "rnn0", folder / "lstm1"]
    compare(two)
    found = compare(two, **changes)
    for path in kept(folder):
        path.unlink()
    assert same(compare(two, **changes), found)


def test_what_has_changed_is_read_again(folder: Path) -> None:
    def far(found: Comparison) -> float:
        (condition,) = (one for one in found.conditions if one.options.get("model") == "gru")
        assert condition.chosen is not None
        return condition.chosen.decay.far_ratio

    path = folder / "alone" / "probes" / "adjoint.npy"
    before = path.stat()
    first = far(compare([folder]))
    runs.write_table(folder / "alone", "adjoint", adjoint_table({0: 1.0, 50: 0.5, 100: float("inf")}, 0))
    assert path.stat().st_size == before.st_size
    assert far(compare([folder])) != first
    (folder / "alone" / "metrics.csv").write_text("step,split,accuracy\n")
    assert {run.learning for run in compare([folder]).runs if run.folder.name == "alone"} == {None}


@pytest.mark.parametrize("damage", ["torn", "empty", "text", "hostile", "folder"])
def test_a_damaged_summary_is_as_if_there_were_none(folder: Path, damage: str) -> None:
    two = [folder / "rnn0", folder / "lstm1"]
    first = compare(two)
    for path in kept(folder):
        whole = path.read_bytes()
        told = {
            "torn": whole[: len(whole) // 2],
            "empty": b"",
            "text": b"\xff\xfe not JSON\n",
            "hostile": whole.replace(b'"kind": "Verdict"', b'"kind": "RunSummary"').replace(b"<f8", b"|O8"),
        }
        path.unlink()
        path.mkdir() if damage == "folder" else path.write_bytes(told[damage])
    assert same(compare(two), first)


def test_a_folder_that_nobody_may_write_to_is_compared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(runs, "replace_atomically", refuse)
    assert len(compare([folder]).conditions) == 3
    assert kept(folder) == []


def test_a_copied_run_takes_its_summary_along_only_if_its_files_are_the_same(folder: Path) -> None:
    first = compare([folder])
    copied = folder.parent / "copied"
    shutil.copytree(folder, copied)
    os.utime(copied / "alone" / "run.json", (0, 0))
    assert same([c.chosen for c in compare([copied]).conditions], [c.chosen for c in first.conditions])


def test_what_nothing_has_changed_for_is_not_written_again(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anything else is: another question, a run's files, a picture that is gone or was changed."""
    draw_less(monkeypatch, "vanishing")
    monkeypatch.setattr(style, "svg", lambda figure: '<svg width="9pt" height="9pt" ></svg>')
    out = tmp_path_factory.mktemp("out")

    def written(changes: dict[str, Any] | None = None, **given: Any) -> bool:
        before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
        page = report.write(compare([folder], **(changes or {})), out, **given)
        return before.get(page) != page.stat().st_mtime_ns

    assert written()
    assert not written()
    assert written({"step": 50})
    assert written()
    assert not written()
    (out / "vanishing.pdf").unlink()
    assert written()
    (out / "vanishing.svg").write_text("changed by hand")
    assert written()
    assert written(look="paper")
    assert written(figures=False)
    assert written()
    (folder / "alone" / "run.log").write_text("another line")
    assert written()
    assert not written()


# -- norms before and after clipping ------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [(10,), (149, 151), (1000, 37, 4000), (1, 1)])
def test_bins_of_runs_put_together_are_those_of_all_their_steps(lengths: tuple[int, ...]) -> None:
    tables = [clipping_table(length, 1.0, seed) for seed, length in enumerate(lengths)]
    tables[0]["norm_before"][:1] = np.inf
    summaries = [clipping_summary(table) for table in tables]
    rows = np.concatenate(tables)
    rows = rows[np.isfinite(rows["norm_before"])]
    found = gradient_norms(summaries)
    assert found is not None
    assert len(found.step) <= BINS
    width = 1
    while rows["step"].max() // width - rows["step"].min() // width >= BINS:
        width *= 2
    for index, number in enumerate(np.unique(rows["step"] // width)):
        here = rows[rows["step"] // width == number]
        assert found.step[index] == pytest.approx(here["step"].mean())
        assert found.before[index] == pytest.approx(np.exp(np.log(here["norm_before"]).mean()))
        assert (found.before_low[index], found.before_high[index]) == (
            here["norm_before"].min(),
            here["norm_before"].max(),
        )
        assert found.after[index] == pytest.approx(np.exp(np.log(here["norm_after"]).mean()))
        assert found.fired[index] == pytest.approx(here["fired"].mean())
    for table, summary in zip(tables, summaries, strict=True):
        finite = np.isfinite(table["norm_before"])
        expected = table["fired"][finite].mean() if finite.any() else np.nan
        assert summary.share == pytest.approx(expected, nan_ok=True)


def test_norms_that_are_no_numbers_are_in_no_bin() -> None:
    table = clipping_table(3, None, 0)
    table["norm_before"] = np.nan
    summary = clipping_summary(table)
    assert len(summary.number) == 0
    assert np.isnan(summary.share)
    assert gradient_norms([summary]) is None
