"""Loggers: what each one's own client reads back, and what one that fails costs."""

from __future__ import annotations

import contextlib
import csv
import json
import logging
import os
import shutil
import signal
import struct
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from command import until
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger
from small import SEQUENCES, Given, model_of, sequences

from rnn_research.compare.single import single
from rnn_research.probes.adjoint import Adjoint
from rnn_research.records import runs
from rnn_research.training import own_loggers
from rnn_research.training.fit import fit
from rnn_research.training.loggers import rows_of
from rnn_research.training.spec import RunSpec

Rows = dict[tuple[str, int], float]


def train(
    folder: Path, loggers: Mapping[str, Any], steps: int = 6, callbacks: Any = (), go_on: bool = False
) -> runs.RunRecord:
    data = Given(SEQUENCES, sequences(12, (9, 9)))
    limits = {"max_epochs": -1, "max_steps": steps, "log_every_n_steps": 1, "val_check_interval": 2}
    spec = RunSpec(folder, config={"seed": 0}, loggers=loggers, go_on=go_on, checkpoint_every=0.0)
    probes = {"adjoint": Adjoint(every_n_steps=1)}

    def trainer(callbacks_of_run: list[Any], **given: Any) -> Trainer:
        return Trainer(callbacks=[*callbacks_of_run, *callbacks], accelerator="cpu", devices=1, **limits, **given)

    return fit(data, model_of(data), lambda callbacks, **given: trainer(callbacks, **given), probes, spec)


def expected(folder: Path) -> Rows:
    """By metric and step, what metrics.csv has; and what the comparison says of the gradient."""
    found = {
        (name, step): value
        for step, row in rows_of((folder / "metrics.csv").read_text())
        for name, value in row.items()
    }
    chosen, steps = single(folder).chosen, runs.read(folder).steps
    assert chosen is not None
    found["gradient_far_ratio", steps] = chosen.decay.far_ratio
    if chosen.decay.holds:
        found |= {("gradient_rate", steps): chosen.decay.rate, ("gradient_rate_low", steps): chosen.decay.low}
    if chosen.decay.horizon is not None:
        found["gradient_horizon", steps] = chosen.decay.horizon
    return found


def verdict(folder: Path) -> str:
    chosen = single(folder).chosen
    assert chosen is not None
    return f"{chosen.verdict.headline}: {chosen.verdict.reason}"


def read_csv(folder: Path) -> tuple[Rows, str]:
    with (folder / "lightning/metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    words = [row.pop("gradient_verdict") for row in rows]
    found = [
        (name, int(row["step"]), float(cell)) for row in rows for name, cell in row.items() if cell and name != "step"
    ]
    assert len({(name, step) for name, step, _ in found}) == len(found)
    return {(name, step): value for name, step, value in found}, "".join(words)


def read_tensorboard(folder: Path) -> tuple[Rows, str]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    found = [(tag, event.step, event.value) for tag in tags["scalars"] for event in events.Scalars(tag)]
    (words,) = events.Tensors("gradient_verdict/text_summary")
    assert len({(name, step) for name, step, _ in found}) == len(found)
    return {(name, step): value for name, step, value in found}, words.tensor_proto.string_val[0].decode()


def read_mlflow(folder: Path) -> tuple[Rows, str]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder.resolve()}/mlflow.db")
    experiment = client.get_experiment_by_name("rnn_research")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["seed"] == "0"
    history = [item for key in run.data.metrics for item in client.get_metric_history(run.info.run_id, key)]
    assert len({(item.key, item.step) for item in history}) == len(history)
    return {(item.key, item.step): item.value for item in history}, run.data.tags["gradient_verdict"]


def read_wandb(folder: Path) -> tuple[Rows, str]:
    """By wandb's own messages: its library reads its files in Go alone, to send them."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = (folder / "wandb").glob("offline-run-*/*.wandb")
    found, words = Rows(), ""
    for message in messages(path.read_bytes()):
        record = Record()
        record.ParseFromString(message)
        row = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        step = row.pop("trainer/global_step", 0)
        new = {(name, step): value for name, value in row.items() if not name.startswith("_")}
        assert not found.keys() & new.keys()
        found |= new
        for item in record.summary.update:
            words = json.loads(item.value_json) if "gradient_verdict" in (item.key, *item.nested_key) else words
    return found, words


def messages(content: bytes) -> Iterator[bytes]:
    """Of a file in LevelDB's format for logs: blocks of 32 kB, in which parts of messages follow their heads."""
    place, begun = 7, b""
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        begun += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield begun
            begun = b""


KINDS = {
    "csv": (partial(own_loggers.RowsLogger, name=None, version="lightning"), read_csv, "csv", 1e-12),
    "tensorboard": (
        partial(own_loggers.EventsLogger, name=None, version="tensorboard"),
        read_tensorboard,
        "tensorboard",
        1e-6,
    ),
    "mlflow": (own_loggers.TrackedLogger, read_mlflow, "mlflow", 1e-12),
    "wandb": (own_loggers.OfflineLogger, read_wandb, "wandb", 1e-12),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_goes_on_in_the_same_place(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own client reads every row once, and what the comparison says of the gradient."""
    monkeypatch.setattr("rnn_research.training.loggers.TO_STOP", 100.0)  # the process lives on, unlike a stopped one
    make, read, package, error = KINDS[kind]
    pytest.importorskip(package, reason=f"pip install 'rnn_research[{kind}]'")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, {kind: make}, callbacks=[StopsAt(4)])
    assert train(tmp_path, {kind: make}, go_on=True).status == "done"
    until(lambda: read(tmp_path)[1], 20)  # wandb writes in another process
    found, words = read(tmp_path)
    assert words == verdict(tmp_path)
    wanted = expected(tmp_path)
    assert len(wanted) > 15
    for key, value in wanted.items():
        assert found.pop(key) == pytest.approx(value, rel=error), key
    assert {name for name, _ in found} <= {"gradient_step", "gradient_rate_high", "hp_metric"}


def test_loggers_change_nothing(tmp_path: Path) -> None:
    for name, loggers in (("without", {}), ("with", {"csv": KINDS["csv"][0]})):
        train(tmp_path / name, loggers)
    assert (tmp_path / "with/metrics.csv").read_bytes() == (tmp_path / "without/metrics.csv").read_bytes()


def test_one_of_lightnings_own_does_too(tmp_path: Path) -> None:
    train(tmp_path, {"csv": partial(CSVLogger, name=None, version="lightning")})
    with (tmp_path / "lightning/metrics.csv").open(newline="") as file:
        assert "gradient_far_ratio" in (csv.DictReader(file).fieldnames or ())


class Raises(CSVLogger):
    def log_metrics(self, *_: Any, **__: Any) -> None:
        raise ConnectionError("no network")


class Hangs(CSVLogger):
    def log_metrics(self, *_: Any, **__: Any) -> None:
        threading.Event().wait()


@pytest.mark.parametrize(
    ("kind", "said"), [(Raises, "failed, and is left alone: ConnectionError: no network"), (Hangs, "has not passed on")]
)
def test_one_that_fails_costs_a_line(
    kind: type, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rnn_research.training.loggers.TO_END", {"done": 0.5})
    with caplog.at_level(logging.WARNING, "rnn_research.training.loggers"):
        record = train(tmp_path, {"bad": kind, "csv": KINDS["csv"][0]})
    assert record.status == "done"
    (line,) = [one.getMessage() for one in caplog.records if one.name == "rnn_research.training.loggers"]
    assert line.startswith("logger.bad: ")
    assert said in line
    assert read_csv(tmp_path)[1] == verdict(tmp_path)


@pytest.mark.parametrize(
    ("kind", "place"),
    [("csv", "lightning"), ("tensorboard", "tensorboard"), ("mlflow", "mlflow.db"), ("wandb", "wandb")],
)
def test_one_whose_files_vanish_costs_a_line(
    kind: str, place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make, _, package, _ = KINDS[kind]
    pytest.importorskip(package, reason=f"pip install 'rnn_research[{kind}]'")
    with caplog.at_level(logging.WARNING, "rnn_research.training.loggers"):
        record = train(tmp_path, {kind: make}, callbacks=[Removes(tmp_path / place)])
    assert record.status == "done"
    (line,) = [one.getMessage() for one in caplog.records if one.name == "rnn_research.training.loggers"]
    assert line.startswith(f"logger.{kind}: failed, and is left alone: ")


def test_a_server_that_is_not_there_costs_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("mlflow", reason="pip install 'rnn_research[mlflow]'")
    nobody = partial(own_loggers.TrackedLogger, tracking_uri="http://127.0.0.1:1")
    with caplog.at_level(logging.WARNING, "rnn_research.training.loggers"):
        assert train(tmp_path, {"mlflow": nobody}).status == "done"
    (line,) = [one.getMessage() for one in caplog.records if one.name == "rnn_research.training.loggers"]
    assert line.startswith("logger.mlflow: failed, and is left alone: ")


def test_a_process_that_dies_costs_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of W&B's own; the next run has another."""
    pytest.importorskip("wandb", reason="pip install 'rnn_research[wandb]'")
    with caplog.at_level(logging.WARNING, "rnn_research.training.loggers"):
        assert (
            train(tmp_path / "one", {"wandb": own_loggers.OfflineLogger}, callbacks=[Kills("wandb-core")]).status
            == "done"
        )
    (line,) = [one.getMessage() for one in caplog.records if one.name == "rnn_research.training.loggers"]
    assert line.startswith("logger.wandb: failed, and is left alone: ")
    train(tmp_path / "two", {"wandb": own_loggers.OfflineLogger})
    until(lambda: read_wandb(tmp_path / "two")[1] == verdict(tmp_path / "two"), 20)


class Kills(Callback):
    """Kills the children of this process that have such a name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 3:
            until(self._killed, 120)

    def _killed(self) -> bool:
        found = False
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == os.getpid() and self.name in (path / "cmdline").read_text():
                    os.kill(int(path.name), signal.SIGKILL)
                    found = True
        return found


class StopsAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise KeyboardInterrupt


class Removes(Callback):
    """Removes a logger's files once they are there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step != 3:
            return
        waited = threading.Event()
        for _ in range(1200):
            if self.path.exists() and (self.path.is_file() or any(self.path.rglob("*.*"))):
                break
            waited.wait(0.1)
        waited.wait(0.5)
        if self.path.is_dir():
            shutil.rmtree(self.path)
        else:
            self.path.unlink()
