"""Runs that others train, watched from outside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rnn_research.cli.remote import MOST_LOST, Lost, Supervisor
from rnn_research.cli.remote_worker import WorkerReport
from rnn_research.cli.sweep_options import SweepOptions
from rnn_research.cli.sweeping import Sweep
from rnn_research.errors import UsageError
from rnn_research.records import runs
from rnn_research.sweeps import store
from rnn_research.sweeps.store import QueuedRun
from rnn_research.sweeps.watching import Watch
from rnn_research.sweeps.worker import Rules

START = "2026-01-01T00:00:00+00:00"


def record(name: str) -> runs.RunRecord:
    return runs.RunRecord(
        name, "running", {}, 0, {}, parameters=0, data={}, versions={}, commit="", machine={}, start=START
    )


@pytest.fixture
def todo(tmp_path: Path) -> list[QueuedRun]:
    found = [QueuedRun(tmp_path, f"{number}" * 20, f"{number}-run", number, f"seed={number}") for number in range(3)]
    for run in found:
        store.add(run, {})
    return found


def write(run: QueuedRun, status: str) -> None:
    run.folder.mkdir(exist_ok=True)
    runs.write(replace(record(run.name), status=status, end="2026-01-01T00:00:07+00:00", error="boom"), run.folder)
    if status == "failed":
        store.note_failure(run.folder)


def test_each_end_is_told_once(todo: list[QueuedRun]) -> None:
    watch = Watch(todo, retry=1)
    assert not list(watch.look())
    write(todo[0], "running")
    write(todo[1], "failed")
    (event,) = watch.look()
    assert (event.run, event.failed, event.seconds) == (todo[1], True, 7.0)
    assert len(watch.left) == 3  # it is tried again
    assert not list(watch.look())
    write(todo[0], "done")
    write(todo[1], "failed")
    write(todo[2], "diverged")
    assert [(event.run, event.record and event.record.status) for event in watch.look()] == [
        (todo[0], "done"),
        (todo[1], "failed"),
        (todo[2], "diverged"),
    ]
    assert not watch.left
    assert not list(watch.look())


def test_what_failed_before_is_not_told_again(todo: list[QueuedRun]) -> None:
    write(todo[0], "failed")
    watch = Watch(todo, retry=1)
    assert not list(watch.look())
    assert todo[0].digest in watch.left


class OnBrokenMachines:
    """Workers that are gone as soon as they are started, but for those that do something first."""

    def __init__(self, *ends: WorkerReport | Lost) -> None:
        self.ends, self.started, self.stopped = list(ends), 0, False
        self.over: list[WorkerReport | Lost] = []

    def start(self, count: int) -> None:
        self.started += count
        self.over += [self.ends.pop(0) if self.ends else Lost("no disk") for _ in range(count)]

    def ended(self) -> list[WorkerReport | Lost]:
        over, self.over = self.over, []
        return over

    @property
    def running(self) -> int:
        return len(self.over)

    def stop(self) -> None:
        self.stopped = True


def test_workers_that_are_lost_again_and_again_end_the_sweep(
    todo: list[QueuedRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rnn_research.cli.remote.EVERY", 0.0)
    workers = OnBrokenMachines()
    with pytest.raises(UsageError, match=rf"^{2 * MOST_LOST + 1} workers in a row got no run done: no disk$"):
        Supervisor(Sweep(tmp_path, todo, SweepOptions()), Rules(), workers, 2).run()
    assert workers.stopped
    assert workers.started <= 2 * MOST_LOST + 3
    assert (
        capsys.readouterr().err.splitlines()[0] == "rnn-train: a worker is lost: no disk; another takes up what it left"
    )


def test_what_a_worker_was_refused_is_told_and_waited_for_no_more(
    todo: list[QueuedRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rnn_research.cli.remote.EVERY", 0.0)
    write(todo[0], "done")
    report = WorkerReport(0, {todo[1].digest: "seed: given x"}, unwritten={todo[2].digest: "no room"})
    sweep = Sweep(tmp_path, todo, SweepOptions())
    Supervisor(sweep, Rules(), OnBrokenMachines(report), 1).run()
    assert sweep.ended == {todo[0].digest: "done", todo[1].digest: "refused", todo[2].digest: "unwritten"}
    assert sweep.code == 2
    assert [run.digest for run in store.listed(tmp_path)] == [todo[0].digest, todo[2].digest]
    assert "#2/3 seed=1: refused: seed: given x" in capsys.readouterr().err


def test_what_a_worker_left_out_is_no_mistake(
    todo: list[QueuedRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs whose options can't work together, of one worker and of the next: said once, and gone from the queue."""
    monkeypatch.setattr("rnn_research.cli.remote.EVERY", 0.0)
    write(todo[0], "done")
    reports = [WorkerReport(left_out={run.digest: "structure=parse: no trees"}) for run in todo[1:]]
    sweep = Sweep(tmp_path, todo, SweepOptions())
    Supervisor(sweep, Rules(), OnBrokenMachines(*reports), 1).run()
    assert sweep.ended == {todo[0].digest: "done", todo[1].digest: "left out", todo[2].digest: "left out"}
    assert sweep.code == 0
    assert [run.digest for run in store.listed(tmp_path)] == [todo[0].digest]
    assert capsys.readouterr().err.count("left out, as all that have it: structure=parse: no trees") == 1


def test_a_worker_that_can_not_work_ends_the_sweep(todo: list[QueuedRun], tmp_path: Path) -> None:
    workers = OnBrokenMachines(WorkerReport(error="node7 does not see /x"))
    with pytest.raises(UsageError, match=r"^a worker can't work: node7 does not see /x$"):
        Supervisor(Sweep(tmp_path, todo, SweepOptions()), Rules(), workers, 1).run()
