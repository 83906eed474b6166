"""The command as a whole: help, sweeps, signals, the bar, and the same numbers every time."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command import COMMAND, LONG, SMALL, hears, last, lines, rnn_train, rows, slowed, started, until
from forked import Forked, heard
from torch.utils.data import DataLoader

from rnn_research.cli.process import stopping
from rnn_research.cli.sweep import plan
from rnn_research.cli.train import main
from rnn_research.config.compose import Composer
from rnn_research.config.groups import CONF, options
from rnn_research.records import runs
from rnn_research.records.metrics_file import read_metrics
from rnn_research.training.signals import DeferredSignals


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def records(folder: Path) -> list[runs.RunRecord]:
    """In the order of their numbers in the sweep."""
    found = sorted(runs.find([folder]), key=lambda run: int(run.name.partition("-")[0]))
    return [runs.read(run) for run in found]


# Help and the config.


def unwrapped(section: str) -> str:
    """A section of the help with each option's description in one line."""
    return re.sub(r"(?<=\w) +(?=\S)", " ", re.sub(r"\n {3,}", " ", section))


def test_help_has_a_line_for_every_option(here: Path) -> None:
    ended = rnn_train("--help")
    assert ended.code == 0
    assert ended.err == ""
    for group, members in options([CONF]).items():
        section = ended.out.split(f"\n{group}=\n")[1].split("\n\n")[0]
        for option, line in members.items():
            assert line, f"{group}={option} does not open with a comment"
            assert re.search(rf"^  {option} {re.escape(line)}$", unwrapped(section), re.MULTILINE)
    assert not list(here.iterdir())


def test_help_costs_no_more_than_torch(tmp_path: Path) -> None:
    """At most half as much again as `import torch`, in seconds of the processor, since the machine may be busy."""

    def seconds(*command: str) -> float:
        start = os.times()
        subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
        end = os.times()
        return end.children_user + end.children_system - start.children_user - start.children_system

    assert seconds(*COMMAND, "--help") <= 1.5 * seconds(sys.executable, "-c", "import torch")


def test_cfg_job_prints_the_config(here: Path) -> None:
    ended = rnn_train("--cfg", "job", "model=gru", "clipping=value", "seed=3")
    assert ended.code == 0
    assert ended.err == ""
    assert "_target_: rnn_research.cells.gru.GRU" in ended.out
    assert "max_value: 1.0" in ended.out
    assert "seed: 3" in ended.out.splitlines()
    assert not list(here.iterdir())


# One run.


def test_a_run_says_how_it_went_and_where_it_is(here: Path) -> None:
    ended = rnn_train(*SMALL, "seed=4")
    assert ended.code == 0
    (folder,) = (here / "outputs" / "runs").iterdir()
    assert re.fullmatch(
        r"dataset=adding, .*, seed=4: done after 3 steps, not solved, test_accuracy \S+ \(baseline \S+\), "
        r"test_mse \S+ \(baseline \S+\), "
        rf"engine native, \d+\.\d s, in {re.escape(str(folder))}\n",
        ended.out,
    )
    assert folder.name.endswith("-rnn-adding-none-seed4")
    names = {"run.json", "metrics.csv", "checkpoint.ckpt", "encoding.json", "probes", "run.log"}
    assert {path.name for path in folder.iterdir()} == names
    record = runs.read(folder)
    assert record.name == folder.name
    assert record.status == "done"
    assert record.seed == 4
    assert record.choices == {
        "model": "rnn",
        "dataset": "adding",
        "structure": "chain",
        "architecture": "auto",
        "init": "default",
        "clipping": "none",
        "regularizer": "none",
        "optimizer": "adam",
        "scheduler": "none",
        "probe": "adjoint+gradient_norm",
        "trainer": "default",
        "logger": "none",
    }
    assert record.overrides == [*SMALL, "seed=4"]


def test_a_run_that_diverges_says_so(here: Path) -> None:
    """A result like another: exit code 0. The exact step is checked in test_fit.py."""
    wild = ("model=linear", "init=[orthogonal]", "init.orthogonal.gain=3", "optimizer=sgd", "optimizer.lr=1e6")
    ended = rnn_train(*SMALL, "trainer.max_steps=50", *wild, "hydra.run.dir=run")
    assert ended.code == 0
    record = runs.read(here / "run")
    assert record.status == "diverged"
    assert f": diverged at step {record.diverged_step}, " in ended.out
    assert "loss" in (here / "run" / "run.log").read_text()


def test_what_detect_anomaly_finds_is_a_run_that_diverged(here: Path) -> None:
    """The log says where the operation was called."""
    wild = ("model.cell.nonlinearity=relu", "init=[orthogonal]", "init.orthogonal.gain=1e30", "optimizer=sgd")
    ended = rnn_train(*SMALL, *wild, "+trainer.detect_anomaly=true", "optimizer.lr=1e30", "hydra.run.dir=run")
    assert ended.code == 0, ended.err
    record = runs.read(here / "run")
    assert (record.status, record.diverged_step) == ("diverged", 0)
    assert ": diverged at step 0, " in ended.out
    assert "returned nan values" in (here / "run" / "run.log").read_text()


def test_flags_may_stand_anywhere(here: Path) -> None:
    ended = rnn_train("seed=0", "-m", *SMALL, "model=rnn,gru", "hydra.sweep.dir=sweep")
    assert ended.code == 0, ended.err
    assert [record.choices["model"] for record in records(here / "sweep")] == ["rnn", "gru"]


# The same numbers.


def kept(folder: Path) -> tuple[dict[str, Any], bytes, dict[str, bytes], dict[str, torch.Tensor]]:
    """All that a run leaves but times and names: the record, metrics, tables, weights and the optimiser's state."""
    record = json.loads((folder / "run.json").read_text())
    for key in ("name", "start", "end"):
        del record[key]
    state = torch.load(folder / "checkpoint.ckpt", weights_only=True)
    tensors = dict(state["state_dict"])
    for number, values in state["optimizer_states"][0]["state"].items():
        tensors |= {f"{number}.{name}": torch.as_tensor(value) for name, value in values.items()}
    tables = {path.name: path.read_bytes() for path in (folder / "probes").iterdir()}
    return record, (folder / "metrics.csv").read_bytes(), tables, tensors


def test_the_same_seed_gives_the_same_bits(here: Path) -> None:
    """With dropout and two layers; in a process of its own or after other runs; however many workers make batches."""
    hard = (*SMALL, "model=lstm", "model.num_layers=2", "model.dropout=0.3", "trainer.log_every_n_steps=2")
    hard = (*hard, "probe=[adjoint,gradient_norm,saturation]", "trainer.max_steps=8", "model.cell.hidden_size=4")
    for name, more in {
        "a": ["seed=1"],
        "other": ["seed=2"],
        "b": ["seed=1"],
        "workers": ["seed=1", "dataset.num_workers=2"],
    }.items():
        ended = rnn_train(*hard, *more, f"hydra.run.dir={name}")
        assert ended.code == 0, ended.err
    alone = Forked(main, [*last(hard), "seed=1", "hydra.run.dir=alone"], folder=here)
    assert alone.wait() == 0
    record, metrics, tables, tensors = kept(here / "a")
    for name in ("b", "workers", "alone"):
        again = kept(here / name)
        if name == "workers":
            again[0]["config"]["dataset"]["num_workers"] = 0
            again[0]["overrides"].remove("dataset.num_workers=2")
        assert again[:3] == (record, metrics, tables)
        assert again[3].keys() == tensors.keys()
        assert all(torch.equal(again[3][key], value) for key, value in tensors.items())
    other = kept(here / "other")
    assert other[1] != metrics
    assert all(other[2][table] != content for table, content in tables.items())
    assert not any(torch.equal(value, other[3][key]) for key, value in tensors.items() if "weight" in key)


def test_metrics_are_dense(here: Path) -> None:
    assert rnn_train(*SMALL, "trainer.max_steps=14", "trainer.log_every_n_steps=3", "hydra.run.dir=run").code == 0
    lines = [line.split(",") for line in (here / "run" / "metrics.csv").read_text().splitlines()]
    assert lines[0] == ["step", "epoch", "split", "loss", "accuracy", "mse"]
    assert all(len(line) == 6 and all(line) for line in lines)
    # 6 steps an epoch; the last train row has what came after the last interval
    expected = ["3 train", "6 train", "6 val", "9 train", "12 train", "12 val", "14 train", "14 val", "14 test"]
    assert [f"{line[0]} {line[2]}" for line in lines[1:]] == expected


# Sweeps.


def test_a_sweep_leaves_a_record_for_each_combination(here: Path) -> None:
    """Also: whoever reads a record while it changes reads a whole one."""
    seen, torn, over = set(), [], threading.Event()

    def watch() -> None:
        while not over.is_set():
            for path in list(here.rglob("run.json")):
                try:
                    seen.add(json.loads(path.read_text())["status"])
                except ValueError as error:
                    torn.append((path, error))
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    small = [argument for argument in SMALL if argument != "dataset=adding"]
    swept = ["model=rnn,gru", "dataset=adding,temporal_order", "clipping=none"]
    ended = rnn_train("-m", *swept, *small, "hydra.sweep.dir=sweep")
    over.set()
    watcher.join()
    assert ended.code == 0, ended.err
    assert not torn
    assert seen == {"running", "done"}
    found = records(here / "sweep")
    assert [record.status for record in found] == ["done"] * 4
    choices = [record.choices for record in found]
    assert len({(chosen["model"], chosen["dataset"]) for chosen in choices}) == 4
    assert all(record.steps == 3 and record.end is not None for record in found)
    *lines, last_line = ended.out.splitlines()
    assert sorted(line.split()[0] for line in lines) == sorted(f"#{number}/4" for number in range(1, 5))
    assert last_line == f"4 runs in {here / 'sweep'}"


@pytest.mark.parametrize("flags", [[], ["-m"]])
def test_what_the_command_line_gives_replaces_what_an_experiment_sweeps(flags: list[str], here: Path) -> None:
    fast = ("trainer.fast_dev_run=true", "hydra.sweep.dir=sweep")
    ended = rnn_train(*flags, "experiment=digits_vanishing", "seed=0", "model=rnn", "clipping=none", *fast)
    assert ended.code == 0, ended.err
    (record,) = records(here / "sweep")
    assert (record.choices["model"], record.choices["clipping"], record.seed) == ("rnn", "none", 0)
    line, where = ended.out.splitlines()
    assert where == f"1 run in {here / 'sweep'}"
    assert line.startswith("#1/1 ")
    assert "seed=0, model=rnn, clipping=none" in line
    assert "experiment=" not in line


def test_an_experiment_sweeps_the_rest(here: Path) -> None:
    """A value with + is the same key; one that sweeps again sweeps that."""
    ended = rnn_train("experiment=digits_vanishing", "++seed=5", "model=gru,rnn", "dry_run=true")
    assert ended.code == 0, ended.err
    *lines, closing = ended.out.splitlines()
    assert sorted(line.split()[0] for line in lines) == ["#1/4", "#2/4", "#3/4", "#4/4"]
    found = {pair for line in lines for pair in re.findall(r"clipping=(\w+), .*model=(\w+)", line)}
    assert found == {(c, m) for c in ("global_norm", "none") for m in ("gru", "rnn")}
    assert all("++seed=5" in line for line in lines)
    assert closing.startswith("4 of 4 runs would be trained")


def test_what_is_set_below_a_swept_group(here: Path) -> None:
    """The default dataset has no length. A swept value, quotes and all, comes through as it is."""
    small = [argument for argument in SMALL if argument not in ("dataset=adding", "dataset.length=10")]
    swept = ["dataset=adding,temporal_order", "dataset.length=10,11"]
    planned = plan(Composer(), [*swept, *small], multirun=True).runs
    found = [(run.choices["dataset"], run.task.dataset.length) for run in planned]
    assert sorted(found) == [("adding", 10), ("adding", 11), ("temporal_order", 10), ("temporal_order", 11)]
    ended = rnn_train("-m", "dataset=adding,temporal_order", r"dataset.length='it\'s'", "hydra.sweep.dir=sweep2")
    assert ended.code == 2
    assert ended.err.count("""dataset.length: given "it's", expected an integer""") == 2
    ended = rnn_train("-m", "clipping=global_norm,value", "clipping.max_norm=1")
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert "clipping.max_norm: unknown to one of the swept options" in ended.err
    assert not list(here.iterdir())


# Signals.


def the_record(folder: Path) -> tuple[Path, runs.RunRecord]:
    (run,) = runs.find([folder])
    return run, runs.read(run)


def at_a_terminal(name: str, arguments: list[str]) -> None:
    """The command in a session of its own, whose terminal this is: only then does ^C become a signal."""
    if child := os.fork():  # who leads a group can't begin a session
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status))
    os.setsid()
    terminal = os.open(name, os.O_RDWR)
    for number in range(3):
        os.dup2(terminal, number)
    main(arguments)


def test_ctrl_c_at_a_terminal(tmp_path: Path) -> None:
    """Typed, so that the workers hear it too. And what the bar shows there."""
    terminal, end = pty.openpty()
    shown = bytearray()

    def read() -> None:
        while True:
            try:
                got = os.read(terminal, 4096)
            except OSError:  # closed
                return
            if not got:
                return
            shown.extend(got)

    reader = threading.Thread(target=read)
    environment = os.environ | {"COLUMNS": "120", "LINES": "30", "OMP_NUM_THREADS": "1"}
    arguments = [*LONG, "dataset.num_workers=2", "hydra.run.dir=run"]
    process = Forked(at_a_terminal, os.ttyname(end), arguments, folder=tmp_path, env=environment)
    try:
        reader.start()
        until(lambda: rows(tmp_path) > 2)
        until(lambda: re.search(rb"\[\d\d:\d\d<[\d:]+, ", shown))
        os.write(terminal, b"\x03")
        start = time.monotonic()
        code = process.wait(timeout=100)
        took = time.monotonic() - start
    finally:
        process.kill()
        process.wait()
    os.close(end)
    reader.join(timeout=5)
    os.close(terminal)
    text = shown.decode()
    assert code == 130, text
    assert took < 3.0 * slowed()
    assert "Traceback" not in text
    assert "interrupted, in " in text.splitlines()[-1]
    run, record = the_record(tmp_path)
    assert record.status == "interrupted"
    assert record.end is not None
    assert record.steps > 0
    assert sorted(path.name for path in (run / "probes").iterdir()) == [
        "adjoint.npy",
        "clipping.npy",
        "gradient_norm.npy",
    ]
    table = runs.read_table(run, "clipping")
    assert table is not None
    assert list(table["step"])[: record.steps] == list(range(record.steps))
    assert len(table) <= record.steps + 1  # it may have been stopped between clipping and the step
    assert torch.load(run / "checkpoint.ckpt", weights_only=True)["global_step"] == record.steps
    # "rnn-adding-none-seed0:   0%|   | 1234/1000000 [00:03<41:00, 405step/s]"
    assert re.search(r"rnn-adding-none-seed0: +\d+%\|.* \d+/1000000 \[\d\d:\d\d<[\d:]+, +[\d.]+step/s\]", text)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_to_the_whole_group(number: int, code: int, tmp_path: Path) -> None:
    """As `timeout` sends SIGTERM, and batch systems, and a terminal SIGHUP as it is closed: the workers are gone before
    training stops."""
    with started(*LONG, "dataset.num_workers=2", folder=tmp_path) as command:
        until(lambda: rows(tmp_path) > 2)
        os.killpg(command.pid, number)
        _, err = command.communicate(timeout=100)
    assert command.returncode == code, err
    assert b"Traceback" not in err, err.decode()
    run, record = the_record(tmp_path)
    assert record.status == "interrupted"
    assert (run / "probes" / "clipping.npy").exists()


class Cleaned:
    """An object that does something as it is cleaned up, where no error can be caught."""

    def __init__(self, do: Callable[[], object]) -> None:
        self.do = do

    def __del__(self) -> None:
        self.do()


def failing(error: Exception) -> Callable[[], object]:
    def fail() -> None:
        raise error

    return fail


def test_a_workers_end_is_not_told_where_it_can_not_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch raises it from a signal's handler, wherever python is. Other errors are told as ever."""
    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: told.append(str(found.exc_value)))
    with DeferredSignals().answering():
        Cleaned(failing(RuntimeError("DataLoader worker (pid 1) is killed by signal: Terminated. ")))
        Cleaned(failing(RuntimeError("another")))
    Cleaned(failing(ValueError("after")))
    assert told == ["another", "after"]


def test_ctrl_c_is_not_lost_where_it_can_not_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)

    def train() -> None:
        Cleaned(lambda: signal.raise_signal(signal.SIGINT))
        time.sleep(10)

    with DeferredSignals().answering(), pytest.raises(KeyboardInterrupt):
        train()
    assert not told


def test_a_signal_is_not_lost_between_two_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is cleaned up then may drop an interrupt, or put another error in its place."""
    told, heard = [], list[int]()
    monkeypatch.setattr(sys, "unraisablehook", told.append)

    def clean_up() -> None:
        Cleaned(lambda: signal.raise_signal(signal.SIGTERM))
        time.sleep(10)

    def fail_in_cleaning_up() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            raise AttributeError("half made")

    for do in (clean_up, fail_in_cleaning_up):
        with pytest.raises(KeyboardInterrupt), stopping(heard):
            do()
    assert heard == [signal.SIGTERM, signal.SIGTERM, signal.SIGTERM]
    assert not told


def of_a_worker_that_is_gone(noticed: bool) -> Exception:
    """What torch raises where a worker was stopped before a batch that it announced was read; it may take the worker to
    be alive still."""
    loader = DataLoader(torch.zeros(50, 2), num_workers=1)  # type: ignore[arg-type]
    batches: Any = iter(loader)
    next(batches)
    (worker,) = batches._workers
    time.sleep(0.1)  # further batches are announced
    worker.terminate()
    worker.join()
    if not noticed:
        worker.is_alive = lambda: True
    with pytest.raises((OSError, EOFError, RuntimeError)) as raised:
        list(batches)
    batches._shutdown_workers()
    return raised.value


@pytest.mark.parametrize("seconds", [0.0, 0.1])
@pytest.mark.parametrize("how", ["killed", "gone", "gone unnoticed"])
def test_a_signal_that_ends_a_worker_first_stops_the_run_all_the_same(seconds: float, how: str) -> None:
    """Torch's error of the worker is there before the signal is heard: held back, or a moment later."""
    error: Exception = (
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Terminated. ")
        if how == "killed"
        else of_a_worker_that_is_gone(noticed=how == "gone")
    )
    heard = []

    def handler(number: int, _: Any) -> None:
        heard.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, handler)
    try:
        held = DeferredSignals()
        with held.answering():
            held.holding = True
            timer = threading.Timer(seconds, signal.raise_signal, (signal.SIGTERM,))
            timer.start()
            assert held.stopped(error)
            assert held.stopped(error)  # asked again, by who writes the record
            assert heard == [signal.SIGTERM]
            if how == "killed" and seconds == 0.0:  # for one: a signal is waited for
                assert not DeferredSignals().stopped(error)  # killed alone
            assert not DeferredSignals().stopped(RuntimeError("another"))
            assert not DeferredSignals().stopped(FileNotFoundError(2, "another"))
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_the_background(tmp_path: Path) -> None:
    """As after `nohup rnn-train ... &`: Ctrl-C and the end of the terminal are ignored, SIGTERM ends it cleanly."""
    deaf = (signal.SIGINT, signal.SIGHUP)
    with started(*LONG, folder=tmp_path, ignored=deaf) as command:
        until(lambda: rows(tmp_path) > 2)
        for number in deaf:
            command.send_signal(number)
        before = rows(tmp_path)
        until(lambda: rows(tmp_path) > before + 2)
        command.send_signal(signal.SIGTERM)
        _, err = command.communicate(timeout=100)
    assert command.returncode == 143, err
    assert b"Traceback" not in err, err.decode()
    assert the_record(tmp_path)[1].status == "interrupted"


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_stops_a_sweep(workers: int, tmp_path: Path) -> None:
    arguments = ("-m", "seed=0,1,2", *LONG, f"workers={workers}", "hydra.sweep.dir=sweep")
    with started(*arguments, folder=tmp_path) as command:
        until(lambda: len(lines(tmp_path)) == workers)
        command.send_signal(signal.SIGINT)
        start = time.monotonic()
        _, err = command.communicate(timeout=100)
    assert command.returncode == 130, err
    assert time.monotonic() - start < 5.0 * slowed()
    assert err.startswith(b"rnn-train: #")
    assert b": interrupted, in " in err
    assert len(err.splitlines()) == 1
    found = [runs.read(run).status for run in runs.find([tmp_path])]
    assert found == ["interrupted"] * workers
    assert not list(tmp_path.rglob(".claim-*"))


def test_kill_leaves_a_running_record_and_the_bar_no_flood(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with started(*LONG, folder=tmp_path, out=log) as command:
        until(lambda: rows(tmp_path) > 20)
        time.sleep(0.3)
        command.kill()
        command.wait()
    run, record = the_record(tmp_path)
    assert record.status == "running"
    assert record.end is None
    metrics = read_metrics(run)
    assert len(metrics) > 20
    assert log.stat().st_size < 300


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_ctrl_c_while_it_starts(seconds: float, tmp_path: Path) -> None:
    command = subprocess.Popen(
        [*COMMAND, *LONG], cwd=tmp_path, preexec_fn=heard, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    with command:
        until(lambda: hears(command.pid))  # before that it is python's to answer
        time.sleep(seconds)
        command.send_signal(signal.SIGINT)
        _, err = command.communicate(timeout=100)
    assert command.returncode == 130, err
    assert len(err.splitlines()) == 1 or rows(tmp_path), err
    assert b"Traceback" not in err, err.decode()
    assert not list(tmp_path.rglob("*")) or runs.find([tmp_path])


def unread(arguments: list[str], closed: bool) -> None:
    """The command where nobody reads its output, and stderr is closed or nobody reads that either."""
    reading, writing = os.pipe()
    os.close(reading)
    os.dup2(writing, 1)
    os.close(2) if closed else os.dup2(writing, 2)
    sys.stdout, sys.stderr = (open(number, "w", encoding="ascii", closefd=False) for number in (1, writing))  # noqa: SIM115
    if closed:
        sys.stderr = None  # type: ignore[assignment]
    main(arguments)


@pytest.mark.parametrize("stderr", ["2>&-", "2>&1"])
def test_output_that_nobody_reads(stderr: str, tmp_path: Path) -> None:
    """As in `rnn-train ... | head`, from a process without a terminal, or `2>&1 | head`; in an encoding that lacks a
    sign of the folder's name: the run is there all the same."""
    process = Forked(unread, last([*SMALL, "hydra.run.dir='répété'"]), stderr == "2>&-", folder=tmp_path)
    assert process.wait() == 0
    assert runs.read(tmp_path / "répété").status == "done"
    assert in_a_shell(["--help"], stderr, tmp_path) == 0
    assert in_a_shell(["model=réseau"], stderr, tmp_path) == 2


@pytest.mark.slow
@pytest.mark.parametrize("stderr", ["2>&-", "2>&1"])
def test_output_that_nobody_reads_of_a_whole_command(stderr: str, tmp_path: Path) -> None:
    assert in_a_shell([*SMALL, "hydra.run.dir='répété'"], stderr, tmp_path) == 0
    assert runs.read(tmp_path / "répété").status == "done"


def in_a_shell(arguments: list[str], stderr: str, folder: Path) -> int:
    """The exit code of the command whose output nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    command = ["sh", "-c", f'exec "$@" {stderr}', "sh", *COMMAND, *arguments]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    ended = subprocess.run(command, cwd=folder, stdout=writing, check=False, env=environment)
    os.close(writing)
    return ended.returncode
