"""The queue and its workers, with runs that take no time."""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from folders import write_run
from omegaconf import OmegaConf

from rnn_research.cli import sweep_folder
from rnn_research.config.compose import ComposedRun, Composer
from rnn_research.config.queue import QueueTrainer
from rnn_research.config.similar import as_plain
from rnn_research.config.trainer import check_trainer
from rnn_research.errors import UsageError
from rnn_research.records import runs
from rnn_research.records.runs import RunRecord
from rnn_research.sweeps import claims, store, upkeep
from rnn_research.sweeps.observer import Observer
from rnn_research.sweeps.status import as_json, counted, status
from rnn_research.sweeps.store import QueuedRun
from rnn_research.sweeps.worker import MOST_DEATHS, Event, Rules, work
from rnn_research.training.logs import logged


def record(name: str, state: str = "done") -> RunRecord:
    return RunRecord(name, state, {}, 0, {}, 0, {}, {}, None, {}, "2026-01-01T00:00:00+00:00")


def queue(folder: Path, count: int) -> list[QueuedRun]:
    found = [QueuedRun(folder, f"{number:020x}", f"run{number}", number, f"seed={number}") for number in range(count)]
    for run in found:
        assert store.add(run, {"config": {"seed": run.number}})
    return found


@dataclass
class Writes:
    """Leaves a record, as `outcome` says of a run's number; notes who trained what."""

    outcome: dict[int, Any]
    seconds: float = 0.0
    sync: bool = True

    def __call__(self, run: QueuedRun) -> RunRecord:
        outcome = self.outcome.get(run.number, "done")
        if isinstance(outcome, Exception):
            raise outcome
        with (run.folder / "trained").open("a") as file:
            file.write(f"{os.getpid()}\n")
        if self.seconds:
            time.sleep(self.seconds)
        return self._leave(run, outcome)

    def give_up(self, run: QueuedRun, reason: str) -> RunRecord:
        return self._leave(run, "failed")

    def _leave(self, run: QueuedRun, state: str) -> RunRecord:
        found = record(run.name, state)
        if self.sync:
            runs.write(found, run.folder)
        else:
            (run.folder / runs.RECORD).write_text(json.dumps(asdict(found)))
        return found


def states(folder: Path) -> list[str]:
    return [run.state for run in status(folder)]


def test_all_states_and_what_is_tried_again(tmp_path: Path) -> None:
    todo, told = queue(tmp_path, 5), list[Event]()
    trainer = Writes({1: "failed", 2: "diverged", 3: UsageError("no"), 4: OSError(28, "full")})
    assert states(tmp_path) == ["pending"] * 5
    assert work(todo, trainer, Rules(), told.append) == 3
    ended = [event for event in told if event.what != "began"]
    assert [event.what for event in ended] == ["ended", "ended", "ended", "refused", "unwritten"]
    assert [event.failed for event in ended] == [False, True, False, True, True]
    assert states(tmp_path) == ["done", "failed", "diverged", "pending", "pending"]
    store.remove(todo[3])
    assert not (tmp_path / "run3").exists()
    again = store.listed(tmp_path)
    assert work(again, Writes({}), Rules(only=frozenset({todo[4].digest})), told.append) == 1
    assert work(again, Writes({}), Rules(), told.append) == 0
    assert work(again, Writes({1: "failed"}), Rules(retry=2), told.append) == 2
    assert store.failures(todo[1].folder) == 3
    assert work(again, Writes({}), Rules(retry=2), told.append) == 0
    (failed,) = upkeep.to_retry(tmp_path)
    upkeep.retry(failed)
    assert work(again, Writes({}), Rules(), told.append) == 1
    assert counted(status(tmp_path)) == "3 done, 1 diverged"
    assert json.loads(as_json(tmp_path, status(tmp_path)))["counts"] == {"done": 3, "diverged": 1}
    assert not list(tmp_path.rglob(".claim*"))


def test_limits(tmp_path: Path) -> None:
    todo = queue(tmp_path, 4)
    assert work(todo, Writes({}), Rules(limit=1), lambda event: None) == 1
    assert work(todo, Writes({1: "failed"}), Rules(fail_fast=True), lambda event: None) == 1
    assert states(tmp_path) == ["done", "failed", "pending", "pending"]


def _work(folder: Path, seconds: float, sync: bool = True) -> None:
    work(store.listed(folder), Writes({}, seconds, sync), Rules(), lambda event: None)


def together(count: int, *arguments: Any) -> None:
    processes = [multiprocessing.get_context("fork").Process(target=_work, args=arguments) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def test_of_many_workers_one_trains_each_run(tmp_path: Path) -> None:
    queue(tmp_path, 60)
    together(6, tmp_path, 0.002)
    assert states(tmp_path) == ["done"] * 60
    assert all(len((tmp_path / f"run{number}" / "trained").read_text().split()) == 1 for number in range(60))


@pytest.mark.slow
def test_10000_runs_are_claimed_at_200_a_second(tmp_path: Path) -> None:
    queue(tmp_path, 10_000)
    before = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    together(2, tmp_path, 0.0, False)
    computed = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before  # of two cores, whoever else has them
    assert 10_000 / (computed / 2) > 200


def dead(folder: Path, number: int, mark: str = "start", **changes: Any) -> Path:
    """The claim of a process that is gone; with `host`, on another machine, where nobody can tell."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".claim-{number}"
    said = {"host": socket.gethostname(), "pid": 2**22 + 1, "started": "1", "mark": mark, **changes}
    path.write_text(json.dumps(said) + "\n")
    return path


def test_a_run_whose_processes_die_comes_last_and_fails_in_the_end(tmp_path: Path) -> None:
    todo, told = queue(tmp_path, 3), list[Event]()
    for number in range(MOST_DEATHS):
        dead(todo[0].folder, number)
    dead(todo[1].folder, 0)
    assert states(tmp_path) == ["pending"] * 3
    work(todo, Writes({}), Rules(), told.append)
    ended = [(event.run.number, event.record.status) for event in told if event.record is not None]
    assert ended == [(2, "done"), (0, "failed"), (1, "done")]


def test_deaths_count_from_the_last_progress(tmp_path: Path) -> None:
    (run,) = queue(tmp_path, 1)
    for number in range(MOST_DEATHS):
        dead(run.folder, number, mark="start" if number else "another checkpoint")
    work([run], Writes({}), Rules(), lambda event: None)
    assert states(tmp_path) == ["done"]


def test_a_claim_given_back_while_deaths_are_counted_is_none(tmp_path: Path) -> None:
    """It is listed and can't be read any more, as a link that leads nowhere."""
    (run,) = queue(tmp_path, 1)
    dead(run.folder, 0)
    (run.folder / ".claim-1").symlink_to("gone")
    assert claims.deaths(run.folder, "start") == 1


def test_a_claim_of_another_machine_is_judged_by_its_growth_alone(tmp_path: Path) -> None:
    """Whatever its times say."""
    (run,) = queue(tmp_path, 1)
    path = dead(run.folder, 0, host="elsewhere")
    os.utime(path, (0, 0))
    observer = Observer(patience=0.15)
    assert "process 4194305 on elsewhere" in claims.holder(run.folder, observer)
    for _ in range(4):
        time.sleep(0.05)
        with path.open("a") as file:
            file.write(".")
        assert claims.holder(run.folder, observer)
    assert not observer.undecided(run.folder)
    os.utime(path, (2**33, 2**33))  # its clock is ahead
    time.sleep(0.2)
    assert not claims.holder(run.folder, observer)
    path = dead(run.folder, 0, host="elsewhere")
    start = time.monotonic()
    assert work([run], Writes({}), Rules(patience=0.3), lambda event: None) == 1
    assert time.monotonic() - start > 0.3


def test_a_claim_that_is_gone_or_was_taken_up_is_lost(tmp_path: Path) -> None:
    claims.claim(tmp_path)
    assert claims.confirm(tmp_path)
    assert claims.beat() == []
    own = tmp_path / ".claim-0"
    assert own.read_text().endswith("\n.")
    kept = own.read_text()
    own.unlink()
    assert claims.beat() == [tmp_path]
    assert not claims.confirm(tmp_path)
    own.write_text(kept)
    assert claims.confirm(tmp_path)
    dead(tmp_path, 1, host="elsewhere")
    assert not claims.confirm(tmp_path)
    claims.release(tmp_path)
    assert own.exists()  # what is another's now is left alone


def test_a_copy_of_a_claimed_folder_is_nobodys(tmp_path: Path) -> None:
    queue(tmp_path / "sweep", 1)
    with claims.claimed(tmp_path / "sweep" / "run0"):
        shutil.copytree(tmp_path / "sweep", tmp_path / "copy")
        assert states(tmp_path / "sweep") == ["running"]
        assert states(tmp_path / "copy") == ["pending"]


def test_a_run_is_added_once(tmp_path: Path) -> None:
    (run,) = queue(tmp_path, 1)
    assert not store.add(QueuedRun(tmp_path, run.digest, "other", 7, "typed otherwise"), {})
    assert store.listed(tmp_path) == [run]
    assert run.spec() == {"config": {"seed": 0}}
    run.path.write_text('{"version": 1, "fol')  # cut short by a loss of power
    with pytest.raises(store.DamagedQueue, match="remove it, and start the sweep's command again"):
        store.listed(tmp_path)
    assert store.add(run, {"config": {"seed": 0}})
    assert store.listed(tmp_path) == [run]


@pytest.mark.parametrize(
    "head",
    [
        {"folder": "../x"},
        {"folder": "/x"},
        {"folder": "."},
        {"folder": "\ud800"},
        {"version": 2},
        {"number": float("inf")},
        {"label": None, "number": []},
    ],
)
def test_what_a_queue_may_not_say(head: dict[str, Any], tmp_path: Path) -> None:
    (run,) = queue(tmp_path, 1)
    run.path.write_text(json.dumps({"version": 1, "folder": "a", "number": 0, "label": "", **head}) + "\n{}\n")
    with pytest.raises(store.DamagedQueue):
        store.listed(tmp_path)


@pytest.mark.parametrize("deep", [0, 1])
def test_a_queue_nested_beyond_reading_is_damaged(deep: int, tmp_path: Path) -> None:
    (run,) = queue(tmp_path, 1)
    lines = run.path.read_text().split("\n")
    lines[deep] = "[" * 100_000
    run.path.write_text("\n".join(lines))
    with pytest.raises(store.DamagedQueue):
        [one.spec() for one in store.listed(tmp_path)]


@pytest.mark.parametrize(
    "spec",
    [
        {"folders": 1e308, "config": {}},
        {"folders": "", "config": {}},
        {"folders": [5], "config": {}},
        {"folders": [], "config": []},
        {"folders": [], "config": {"trust": 5}},
        {"folders": [], "config": {}},
        {"folders": [], "config": {}, "hydra": {}, "overrides": [], "long": []},
        {**as_plain(Composer().run(["dataset=adding"])), "overrides": ["seed=1", 10**39]},
        {**as_plain(Composer().run(["dataset=adding"])), "long": [None]},
    ],
)
def test_what_a_queue_says_of_a_run_is_checked(spec: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(store.DamagedQueue, match="remove it"):
        taken(spec, tmp_path)


@pytest.mark.parametrize(
    "hydra",
    [
        {"job": {"num": "../../x"}},
        {"job": {"num": 2.5}},
        {"job": {"env_copy": [5]}},
        {"job": {"nom": 1}},
        {"job": "x"},
        {"runtime": {"choices": 5}},
        {"runtime": {"config_sources": [{"path": 5}]}},
        {"overrides": {"task": "seed=1"}},
        {"mode": "nonsense"},
        {"mode": []},
        {"output_subdir": []},
        {"launcher": {}},
    ],
    ids=str,
)
def test_so_is_what_it_says_in_hydras_part(hydra: dict[str, Any], tmp_path: Path) -> None:
    spec = as_plain(Composer().run(["dataset=adding"]))
    assert as_plain(taken(spec, tmp_path / "right")) == spec
    for key, part in hydra.items():
        spec["hydra"][key] = {**spec["hydra"].get(key, {}), **part} if isinstance(part, dict) else part
    with pytest.raises(store.DamagedQueue, match="hydra's part"):
        taken(spec, tmp_path)


def taken(spec: dict[str, Any], folder: Path) -> ComposedRun:
    (run,) = queue(folder, 1)
    run.path.write_text(run.path.read_text().split("\n")[0] + f"\n{json.dumps(spec)}\n")
    return QueueTrainer()._spec(run)


def test_upkeep(tmp_path: Path) -> None:
    todo = queue(tmp_path, 4)
    work(todo[:2], Writes({1: "failed"}), Rules(), lambda event: None)
    write_run(todo[2].folder, status="running")
    dead(todo[0].folder, 0)
    for name in (".run.json.0123456789abcdef", "checkpoint.previous.ckpt", "checkpoint.ckpt"):
        (todo[0].folder / name).write_text("x")
    assert [path.name for path in upkeep.to_collect(tmp_path)] == [
        ".run.json.0123456789abcdef",
        ".claim-0",
        "checkpoint.previous.ckpt",
    ]
    assert states(tmp_path) == ["done", "failed", "interrupted", "pending"]
    assert [run.number for run in upkeep.to_reset(tmp_path)] == [1, 2]
    with claims.claimed(todo[2].folder):
        assert [run.number for run in upkeep.to_reset(tmp_path)] == [1]
    assert all(upkeep.reset(run) for run in upkeep.to_reset(tmp_path))
    assert states(tmp_path) == ["done", "pending", "pending", "pending"]


# -- records and claims of anybody -----------------------------------------------------------------------

ODD: dict[str, Any] = {
    "steps": ["x", 1e400, [1], -1],
    "final": [[1], "x", {"test_loss": "x"}, {"test_loss": [1]}],
    "config": ["x", {"trainer": "x"}, {"trainer": [1]}, {"trainer": {"max_steps": "x"}}],
    "error": [5, {"a": 1}],
}


@pytest.mark.parametrize("state", ["done", "failed", "running"])
def test_the_state_of_a_record_with_any_values_is_told(tmp_path: Path, state: str) -> None:
    """Wrong ones are damaged, whatever else is in the folder."""
    cases = [(key, value) for key, values in ODD.items() for value in values]
    for run, (key, value) in zip(queue(tmp_path, len(cases)), cases, strict=True):
        run.folder.mkdir()
        (run.folder / runs.RECORD).write_text(json.dumps({**asdict(record(run.name, state)), key: value}))
    found = status(tmp_path)
    as_json(tmp_path, found)
    assert [one.line() for one in found]
    held = {"done": "done", "failed": "failed", "running": "interrupted"}[state]
    for one, (key, value) in zip(found, cases, strict=True):
        assert one.state == (held if isinstance(value, dict) and key == "config" else "damaged"), (key, value)


@pytest.mark.parametrize("name", [runs.RECORD, "metrics.csv", ".claim-0"])
def test_a_pipe_in_a_runs_folder_holds_up_no_sweep(tmp_path: Path, name: str) -> None:
    (run,) = queue(tmp_path, 1)
    runs.write(record(run.name, "running"), run.folder)
    (run.folder / name).unlink(missing_ok=True)
    os.mkfifo(run.folder / name)
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("waited"))
    try:
        signal.setitimer(signal.ITIMER_REAL, 1)
        assert states(tmp_path) in (["damaged"], ["interrupted"], ["running"])
        with contextlib.suppress(runs.DamagedRecord):
            store.state(run)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


@pytest.mark.parametrize("said", ["[" * 100_000, '{"host": "h", "pid": 1e400, "started": "x"}', "null"])
def test_a_claim_may_say_anything(tmp_path: Path, said: str) -> None:
    (tmp_path / ".claim-0").write_text(said)
    assert claims.holder(tmp_path) == "it has not yet said which"
    os.utime(tmp_path / ".claim-0", (0, 0))
    assert claims.holder(tmp_path) == ""


def test_a_record_nested_without_end_is_damaged(tmp_path: Path) -> None:
    (run,) = queue(tmp_path, 1)
    run.folder.mkdir()
    (run.folder / runs.RECORD).write_text('{"a":' * 100_000)
    with pytest.raises(runs.DamagedRecord):
        store.state(run)
    assert states(tmp_path) == ["damaged"]


def ended_with(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    with pytest.raises(SystemExit) as ended:
        sweep_folder.main(arguments)
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize("verb", [["reset", "--all", "--yes"], ["retry", "--yes"], ["gc", "--yes"], ["work"]])
@pytest.mark.parametrize("linked", ["run0", "above", "queue"])
def test_no_command_follows_a_link_out_of_a_sweep(
    linked: str, verb: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder of a run, one above it, or the queue: what is removed or written there lies elsewhere."""
    name, target, sweep = ("above/run0" if linked == "above" else "run0"), tmp_path / "home", tmp_path / "sweep"
    store.add(QueuedRun(sweep, "0" * 20, name, 0, "seed=0"), {"config": {"seed": 0}})
    if linked == "queue":
        (sweep / "queue").rename(target)
    else:
        place = target / Path(name).name if linked == "above" else target
        runs.write(record("run0", "done" if verb[0] == "gc" else "failed"), place)
        for kept in ("checkpoint.previous.ckpt", "private"):
            (place / kept).write_text("mine")
    (sweep / linked).symlink_to(target)
    before = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    code, said = ended_with([verb[0], str(sweep), *verb[1:]], capsys)
    assert {path: path.read_bytes() for path in target.rglob("*") if path.is_file()} == before
    if (linked, verb[0]) != ("queue", "work"):
        assert f"{sweep / linked}: is a link, expected a sweep's own folders and files" in said
        assert (code, said.count("\n")) == (2, 1)


@pytest.mark.parametrize("name", ["run.log", "probes", "metrics.csv", ".failures", "csv/x.csv"])
def test_a_run_whose_folder_has_a_link_out_of_it_is_refused(name: str, tmp_path: Path) -> None:
    (run,) = queue(tmp_path / "sweep", 1)
    (run.folder / name).parent.mkdir(parents=True)
    (run.folder / name).symlink_to(tmp_path / "bashrc")
    (run.folder / "inside").symlink_to(run.folder / "there")  # as wandb makes them
    told = list[Event]()
    assert work([run], Writes({}), Rules(), told.append) == 0
    assert [event.what for event in told] == ["refused"]
    assert f"{run.folder / name}: is a link out of the run's folder" in str(told[0].error)
    assert [path.name for path in tmp_path.iterdir()] == ["sweep"]
    assert upkeep.reset(run)  # of the link itself
    assert work([run], Writes({}), Rules(), told.append) == 1


def test_a_log_is_never_written_by_way_of_a_link(tmp_path: Path) -> None:
    (tmp_path / "run.log").symlink_to(tmp_path / "bashrc")
    with logged(tmp_path):
        logging.getLogger("rnn_research").warning("one")
    assert [path.name for path in tmp_path.iterdir()] == ["run.log"]


def test_a_value_in_an_error_begins_no_line() -> None:
    assert str(UsageError("key: given x\ntouch y")) == r"key: given x\ntouch y"
    with pytest.raises(UsageError) as refused:
        check_trainer(OmegaConf.create({"_target_": "lightning.pytorch.Trainer", "devices": "x\ntouch y"}))
    raised: BaseException | None = refused.value
    while raised is not None:  # a log has the errors behind it too
        assert "\n" not in str(raised)
        raised = raised.__cause__ or raised.__context__
