"""One training in any process: the same record, and no exit."""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from command import SMALL
from forked import context

from rnn_research.config.compose import ComposedRun, Composer
from rnn_research.config.run_one import run_one
from rnn_research.errors import FolderInUse, UsageError
from rnn_research.records import runs
from rnn_research.records.runs import RunRecord

OPTIONS = (*SMALL, "model=lstm", "clipping=global_norm", "clipping.max_norm=0.5", "threads=1")


def spec(*overrides: str) -> ComposedRun:
    return Composer().run([*OPTIONS, *overrides])


def numbers(folder: Path) -> dict[str, Any]:
    """What a run computed: its record without times and places, its metrics, its tables."""
    record = json.loads((folder / "run.json").read_text())
    for key in ("start", "end", "name", "machine"):
        del record[key]
    tables = {path.name: path.read_bytes() for path in sorted((folder / "probes").iterdir())}
    return {"record": record, "metrics": (folder / "metrics.csv").read_text(), **tables}


def test_it_is_the_same_training_in_this_process_twice_in_threads_and_in_a_pool(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = spec()
    names = ["one", "two", "thread1", "thread2", "process1", "process2"]
    folders = [tmp_path / name for name in names]
    found = [run_one(given, folder) for folder in folders[:2]]
    with ThreadPoolExecutor(2) as pool:
        found += pool.map(run_one, [given, given], folders[2:4])
    with ProcessPoolExecutor(2, mp_context=context()) as pool:
        found += pool.map(run_one, [given, given], folders[4:])
    assert [record.status for record in found] == ["done"] * 6
    expected = numbers(folders[0])
    assert all(numbers(folder) == expected for folder in folders)
    assert [runs.read(folder) for folder in folders] == found
    out, err = capfd.readouterr()
    assert out == ""
    assert "rnn-train" not in err


def test_two_runs_differ_where_their_seeds_do(tmp_path: Path) -> None:
    """Each in the order that the threads happen to have."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run_one, [spec("seed=0"), spec("seed=1")], [tmp_path / "a", tmp_path / "b"]))
    alone = run_one(spec("seed=1"), tmp_path / "c")
    assert numbers(tmp_path / "b") == numbers(tmp_path / "c")
    assert numbers(tmp_path / "a")["metrics"] != (tmp_path / "c" / "metrics.csv").read_text()
    assert alone.seed == 1


def test_a_failing_run_gives_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is built, and while it trains."""
    from rnn_research.cells.lstm import LSTM

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("on purpose")

    with monkeypatch.context() as patched:
        patched.setattr(LSTM, "step", fail)
        record = run_one(spec("engine=reference"), tmp_path / "training")
    assert (record.status, record.error) == ("failed", "RuntimeError: on purpose")
    with monkeypatch.context() as patched:
        patched.setattr("rnn_research.config.build.build", fail)
        record = run_one(spec(), tmp_path / "building")
    assert (record.status, record.error) == ("failed", "RuntimeError: on purpose")
    assert record.config["model"]["cell"]["hidden_size"] == 4
    for name in ("training", "building"):
        assert runs.read(tmp_path / name).status == "failed"
        assert "on purpose" in (tmp_path / name / "run.log").read_text()
    assert run_one(spec(), tmp_path / "after").status == "done"


def test_a_mistake_is_raised_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.cell\.hidden_size: given 0"):
        run_one(spec("model.cell.hidden_size=0"), tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())
    run_one(spec(), tmp_path / "run")
    with pytest.raises(FolderInUse, match="already holds"):
        run_one(spec(), tmp_path / "run")


@pytest.mark.parametrize("imported", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_users_own_classes_are_found_in_any_process(imported: bool, tmp_path: Path) -> None:
    """Also in one that a user's program started, and in one that imports everything itself."""
    folder = tmp_path / "own"
    (folder / "optimizer").mkdir(parents=True)
    (folder / "mine_of_a_pool.py").write_text("import torch\n\n\nclass Slow(torch.optim.SGD):\n    pass\n")
    (folder / "optimizer" / "slow.yaml").write_text("_target_: mine_of_a_pool.Slow\n_partial_: true\nlr: 0.01\n")
    given = Composer((folder,)).run([*OPTIONS, "optimizer=slow"])
    start = context() if imported else multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=start) as pool:
        record = pool.submit(run_one, given, tmp_path / "run").result()
    assert (record.status, record.choices["optimizer"]) == ("done", "slow")


def test_a_run_that_fails_before_its_training_starts_is_recorded_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ValueError("what can't be written")

    monkeypatch.setattr("rnn_research.records.encoding.write", fails)
    record = run_one(spec(), tmp_path / "run")
    assert (record.status, record.error) == ("failed", "ValueError: what can't be written")
    assert runs.read(tmp_path / "run") == record


def test_vectors_that_were_moved_hinder_no_run_from_going_on_and_others_do(tmp_path: Path) -> None:
    """What a file of vectors holds is a part of the training, and where it lies is not."""
    rows = "".join(f"good film {n},pos\n" if n % 3 else f"bad film {n},neg\n" for n in range(30))
    (texts := tmp_path / "texts.csv").write_text(f"text,label\n{rows}")
    places = {name: tmp_path / f"{name}.txt" for name in ("first", "moved", "other")}
    for name, place in places.items():
        place.write_text("good 1 2\nbad 3 5\n" if name == "other" else "good 1 2\nbad 3 4\n")
    small = ["dataset=labelled_text", f"dataset.path={texts}", "hidden_size=4", "trainer.max_epochs=-1", "probe=none"]

    def trained(steps: int, vectors: str, *more: str) -> RunRecord:
        asked = [*small, f"trainer.max_steps={steps}", f"dataset.vectors={places[vectors]}", *more]
        return run_one(Composer().run(asked), tmp_path / f"{vectors}{steps}")

    trained(2, "first")
    resume = f"resume={tmp_path / 'first2'}"
    whole, gone_on = trained(4, "first"), trained(4, "moved", resume)
    assert gone_on.final == whole.final
    with pytest.raises(UsageError, match="give the same data"):
        trained(4, "other", resume)
