"""A run that is stopped anywhere and goes on in its own folder leaves what it would have left undisturbed."""

from __future__ import annotations

import functools
import random
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from command import SMALL, last
from kept import kept

from rnn_research.config.compose import ComposedRun, Composer
from rnn_research.config.run_one import run_one
from rnn_research.errors import UsageError
from rnn_research.models.model import Model
from rnn_research.records import runs
from rnn_research.sweeps import claims
from rnn_research.training.checkpoints import CheckpointWriter
from rnn_research.training.live_record import LiveRecord
from rnn_research.training.metrics import MetricsWriter
from rnn_research.training.position import StepEnd
from rnn_research.training.tables import TableWriter

CASES = {
    "dropout": (
        *("model=gru", "model.dropout=0.3", "model.num_layers=2", "clipping=autoclip", "dataset.train_size=60"),
        *("trainer.log_every_n_steps=3", "trainer.val_check_interval=5", "trainer.max_steps=14"),
    ),
    "accumulated": (
        *("model=lstm", "clipping=[h_detach,global_norm]", "trainer.accumulate_grad_batches=3", "scheduler=plateau"),
        *("dataset.train_size=60", "trainer.log_every_n_steps=2", "trainer.val_check_interval=4"),
        "trainer.max_steps=7",
    ),
    "epochs": ("dataset.train_size=20", "trainer.max_steps=-1", "trainer.max_epochs=3", "scheduler=cosine"),
}
MOMENTS = {
    "in a batch": (Model, "training_step"),
    "between step and row": (MetricsWriter, "row"),
    "in validation": (Model, "validation_step"),
    "in the test": (Model, "test_step"),
    "while a checkpoint is written": (CheckpointWriter, "_write"),
    "while tables are written": (TableWriter, "write"),
}


def train(case: str, folder: Path, *more: str) -> runs.RunRecord:
    return run_one(spec(case, *more), folder, go_on=True)


@functools.cache
def spec(case: str, *more: str) -> ComposedRun:
    return Composer().run(last([*SMALL, *CASES[case], "checkpoint.every_seconds=0", *more]))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of the run that was never stopped."""
    found: dict[str, Path] = {}

    def of(case: str) -> Path:
        if case not in found:
            found[case] = tmp_path_factory.mktemp(case) / "run"
            assert train(case, found[case]).status == "done"
        return found[case]

    return of


def check(folder: Path, whole: Path) -> None:
    found, expected = kept(folder), kept(whole)
    assert found.keys() == expected.keys()
    for name, content in expected.items():
        assert found[name] == content, name
    states = [torch.load(path / runs.CHECKPOINT, weights_only=True) for path in (folder, whole)]
    for part in ("state_dict", "optimizer_states"):
        one, other = (dict(_leaves(state[part])) for state in states)
        assert one.keys() == other.keys()
        assert all(torch.equal(torch.as_tensor(one[key]), torch.as_tensor(other[key])) for key in one), part
    assert {path.name for path in folder.iterdir()} == {path.name for path in whole.iterdir()}


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, item in items:
            yield from _leaves(item, f"{key}.{name}")
    elif isinstance(value, torch.Tensor | int | float):
        yield key, value


def interrupt(number: int, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, count: int) -> None:
    """Send a signal to this process as a method is called for the `count`-th time."""
    method, calls = getattr(owner, name), [0]

    def called(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == count:
            signal.raise_signal(number)
        return method(*arguments, **named)

    monkeypatch.setattr(owner, name, called)


MET = {
    "in a batch": "accumulated",
    "between step and row": "dropout",
    "in validation": "accumulated",
    "in the test": "epochs",
    "while a checkpoint is written": "epochs",
    "while tables are written": "dropout",
}
"""A case for each moment; every other pair is slow."""
STOPS = [
    pytest.param(moment, case, marks=[] if MET[moment] == case else [pytest.mark.slow])
    for moment in MOMENTS
    for case in CASES
]


@pytest.mark.parametrize(("moment", "case"), STOPS)
def test_a_run_stopped_anywhere(
    moment: str, case: str, whole: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, stops = tmp_path / "run", 0
    for count in (1, 5):
        with monkeypatch.context() as patched:
            interrupt(signal.SIGINT if count == 1 else signal.SIGTERM, patched, *MOMENTS[moment], count)
            try:
                train(case, folder)
            except KeyboardInterrupt:
                stops += 1
                assert runs.read(folder).status == "interrupted"
    assert stops
    if runs.read(folder).status != "done":
        assert train(case, folder).status == "done"
    check(folder, whole(case))


@pytest.mark.parametrize("case", [pytest.param("dropout", marks=pytest.mark.slow), "accumulated", "epochs"])
def test_a_validation_stopped_again_and_again(
    case: str, whole: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that is made up for is due still where it was stopped too."""
    for _ in range(2):
        with monkeypatch.context() as patched:
            interrupt(signal.SIGTERM, patched, Model, "validation_step", 1)
            with pytest.raises(KeyboardInterrupt):
                train(case, tmp_path / "run")
    assert train(case, tmp_path / "run").status == "done"
    check(tmp_path / "run", whole(case))


def test_a_run_stopped_after_its_last_row_is_made_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The longer run has no row at the shorter one's end."""
    train("dropout", tmp_path / "whole", "trainer.max_steps=17")
    with monkeypatch.context() as patched:
        interrupt(signal.SIGTERM, patched, StepEnd, "on_train_end", 1)
        with pytest.raises(KeyboardInterrupt):
            train("dropout", tmp_path / "stopped")
    train("dropout", tmp_path / "longer", "trainer.max_steps=17", f"resume={tmp_path / 'stopped'}")
    assert (tmp_path / "longer" / runs.METRICS).read_text() == (tmp_path / "whole" / runs.METRICS).read_text()


def test_a_run_killed_after_its_last_step_has_its_tables(
    whole: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where another run's last step was it: they are there before the checkpoint is."""
    with monkeypatch.context() as patched:
        interrupt(signal.SIGTERM, patched, Model, "test_step", 1)
        with pytest.raises(KeyboardInterrupt):
            train("epochs", tmp_path / "stopped")
    test_step, killed = Model.test_step, tmp_path / "killed"

    def copying(self: Model, *given: Any) -> Any:
        if not killed.exists():
            shutil.copytree(tmp_path / "second", killed)
        return test_step(self, *given)

    with monkeypatch.context() as patched:
        patched.setattr(Model, "test_step", copying)
        train("epochs", tmp_path / "second", f"resume={tmp_path / 'stopped'}")
    train("epochs", tmp_path / "third", f"resume={killed}")
    for path in (whole("epochs") / runs.PROBES).iterdir():
        assert (tmp_path / "third" / runs.PROBES / path.name).read_bytes() == path.read_bytes(), path.name


def test_an_interrupt_while_a_run_is_built_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the libraries that it comes through make another error of it."""

    def fail(*_: Any) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            raise AttributeError("half made")

    monkeypatch.setattr("rnn_research.config.build.build", fail)
    with pytest.raises(KeyboardInterrupt):
        train("epochs", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_signal_while_a_run_writes_its_end_is_answered_then(
    whole: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is done, and a sweep ends with it."""
    write = LiveRecord.write

    def interrupted(self: LiveRecord) -> None:
        if self.record.status == "done":
            signal.raise_signal(signal.SIGINT)
        write(self)

    monkeypatch.setattr(LiveRecord, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train("epochs", tmp_path / "run")
    check(tmp_path / "run", whole("epochs"))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped in its tenth batch, and has two checkpoints. For copies: a test changes none of it."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.MonkeyPatch.context() as patched:
        interrupt(signal.SIGINT, patched, Model, "training_step", 10)
        with pytest.raises(KeyboardInterrupt):
            train("dropout", folder)
    assert (folder / runs.PREVIOUS).exists()
    return folder


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("both", "cut"),
    [(False, False), (True, True), pytest.param(False, True, marks=SLOW), pytest.param(True, False, marks=SLOW)],
)
def test_a_damaged_checkpoint_falls_back(
    both: bool, cut: bool, whole: Callable[[str], Path], stopped: Path, tmp_path: Path
) -> None:
    """To the one before it, and where that is damaged too to the start; the log says so."""
    draw = random.Random(1)
    folder = Path(shutil.copytree(stopped, tmp_path / "run"))
    for name in (runs.CHECKPOINT, runs.PREVIOUS)[: 1 + both]:
        content = bytearray((folder / name).read_bytes())
        if cut:
            del content[draw.randrange(len(content)) :]
        else:
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        (folder / name).write_bytes(content)
    assert train("dropout", folder).status == "done"
    check(folder, whole("dropout"))
    log = (folder / "run.log").read_text()
    assert "checkpoint.ckpt can't be read" in log
    assert ("training from the start" in log) == both


@pytest.mark.parametrize("damage", ["missing metrics", "changed metrics", "missing table", "short table"])
def test_damaged_files_are_noticed(damage: str, whole: Callable[[str], Path], stopped: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(stopped, tmp_path / "run"))
    metrics, table = folder / runs.METRICS, folder / runs.PROBES / "clipping.npy"
    if damage == "missing metrics":
        metrics.unlink()
    elif damage == "changed metrics":
        metrics.write_text(metrics.read_text().replace("1", "2", 1))
    elif damage == "missing table":
        table.unlink()
    else:
        rows = runs.read_table(folder, "clipping")
        assert rows is not None
        runs.write_table(folder, "clipping", rows[:2])
    assert train("dropout", folder).status == "done"
    check(folder, whole("dropout"))
    assert re.search(
        r"metrics.csv (is missing|was changed)|clipping.npy has \d rows of the", (folder / "run.log").read_text()
    )


def test_a_run_that_is_alive_is_not_gone_on_from(stopped: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(stopped, tmp_path / "run"))
    with claims.claimed(folder), pytest.raises(UsageError, match=r"resume: given .*run, which process \d+ is training"):
        train("dropout", tmp_path / "on", f"resume={folder}")


def test_a_system_exit_of_a_users_code_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(*_: Any) -> None:
        raise SystemExit(3)

    monkeypatch.setattr(Model, "validation_step", leave)
    record = train("dropout", tmp_path / "run")
    assert (record.status, record.error) == ("failed", "SystemExit: 3")
