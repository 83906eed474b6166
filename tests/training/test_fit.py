"""`fit` with live objects, as from a notebook: the record, the metrics, and where it stops by itself."""

from __future__ import annotations

import csv
import json
import math
import platform
import shutil
import signal
import subprocess
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.profilers import SimpleProfiler
from torch import nn

from rnn_research.cells import RNN
from rnn_research.cells.initialisation import orthogonal
from rnn_research.clipping.none import NoClipping
from rnn_research.datasets.adding import Adding
from rnn_research.models import Model
from rnn_research.probes.adjoint import Adjoint
from rnn_research.probes.base import Probe
from rnn_research.records import runs
from rnn_research.records.metrics_file import read_metrics
from rnn_research.structures import ChainLayout
from rnn_research.training import provenance
from rnn_research.training.fit import Diverged, RunSpec, fit
from rnn_research.training.live_record import LiveRecord
from rnn_research.training.metrics import MetricsWriter
from rnn_research.training.position import PositionTracker
from rnn_research.training.signals import DeferredSignals
from rnn_research.training.stopping import StopRules
from rnn_research.training.tables import TableWriter


class Setting:
    """A small run by hand: 12 train samples in batches of 4, so 3 steps an epoch."""

    def __init__(self, seed: int = 0, lr: float = 0.01, gain: float = 1.0, **trainer: Any) -> None:
        self.lr = lr
        self.data = Adding(length=6, train_size=12, val_size=5, test_size=5, batch_size=4)
        self.data.layout = ChainLayout()
        torch.manual_seed(seed)
        self.model = Model(
            self.data.task,
            partial(RNN, hidden_size=3, nonlinearity="identity"),
            partial(torch.optim.SGD, lr=lr),
            NoClipping(),
            initialise=(partial(orthogonal, gain=gain),),
        )
        limits = {"max_epochs": 2} if "max_steps" not in trainer else {"max_epochs": -1}
        self.trainer = partial(Trainer, accelerator="cpu", log_every_n_steps=2, **limits, **trainer)
        self.probes: dict[str, Probe] = {"adjoint": Adjoint(every_n_steps=1)}

    def fit(self, folder: Path, **more: Any) -> runs.RunRecord:
        return fit(self.data, self.model, self.trainer, self.probes, RunSpec(folder, **more))


def metrics(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# The record.


def test_the_record_says_what_was_run(tmp_path: Path) -> None:
    setting = Setting()
    given = {"name": "mine", "choices": {"model": "linear"}, "seed": 3, "config": {"a": [1, {"b": 0.5}]}}
    record = setting.fit(tmp_path / "run", **given)
    assert record == runs.read(tmp_path / "run")
    assert record.status == "done"
    assert (record.name, record.choices, record.seed, record.config) == tuple(given.values())
    # W (3 x 2), U (3 x 3), two biases, and the readout
    assert record.parameters == 3 * 2 + 3 * 3 + 3 + 3 + 3 + 1
    assert (record.steps, record.epochs) == (6, 2)
    assert record.data == {"name": "Adding", "fingerprint": setting.data.fingerprint}
    assert record.versions["torch"] == torch.__version__
    assert record.versions["python"] == platform.python_version()
    assert {"rnn_research", "lightning", "hydra-core", "numpy", "torchmetrics"} <= set(record.versions)
    assert record.machine["threads"] == torch.get_num_threads()
    assert record.machine["system"] == platform.system()
    assert record.diverged_step is None
    assert record.error is None
    assert record.end is not None
    assert record.start < record.end
    assert record.start.endswith("+00:00")
    json.loads((tmp_path / "run" / "run.json").read_text())


def test_baselines_are_those_of_the_data(tmp_path: Path) -> None:
    setting = Setting()
    record = setting.fit(tmp_path)
    train = np.array([setting.data.samples("train")[i].target for i in range(12)])
    for split in ("val", "test"):
        targets = np.array([setting.data.samples(split)[i].target for i in range(5)])
        assert record.baselines[f"{split}_mse"] == pytest.approx(((targets - train.mean()) ** 2).mean())


def test_final_and_best_are_those_of_the_metrics(tmp_path: Path) -> None:
    record = Setting(lr=0.05, max_steps=24).fit(tmp_path)
    rows = metrics(tmp_path)
    names = list(rows[0])[3:]
    assert set(names) == {"loss", "mse", "accuracy"}
    for split in ("train", "val", "test"):
        last = [row for row in rows if row["split"] == split][-1]
        assert {f"{split}_{name}": float(last[name]) for name in names}.items() <= record.final.items()
    validated = {name: [float(row[name]) for row in rows if row["split"] == "val"] for name in names}
    assert len(validated["loss"]) == 8
    assert min(validated["loss"]) < validated["loss"][-1]
    assert max(validated["accuracy"]) > validated["accuracy"][-1]
    best = {f"val_{name}": (max if name == "accuracy" else min)(values) for name, values in validated.items()}
    assert record.best == best


def test_final_is_of_the_last_weights(tmp_path: Path) -> None:
    """Measured by hand, with the weights in the checkpoint; also where the last epoch is cut short."""
    setting = Setting(max_steps=4)
    record = setting.fit(tmp_path)
    assert record.steps == 4
    state = torch.load(tmp_path / "checkpoint.ckpt", weights_only=True)
    assert state["global_step"] == 4
    model = Setting(seed=1).model
    model.load_state_dict(state["state_dict"])
    for split, loader in (("val", setting.data.val_dataloader()), ("test", setting.data.test_dataloader())):
        with torch.no_grad():
            errors = torch.cat([(model(batch) - batch.target) ** 2 for batch in loader])
        assert record.final[f"{split}_mse"] == pytest.approx(float(errors.mean()), rel=1e-5)
        assert record.final[f"{split}_loss"] == pytest.approx(float(errors.mean()), rel=1e-5)


def test_the_commit(tmp_path: Path) -> None:
    """None outside a checkout; the hash in one, with + where it has changes."""
    package = tmp_path / "rnn_research"
    package.mkdir()
    assert provenance.commit_of(package) is None
    if shutil.which("git") is None:
        pytest.skip("needs git")

    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    (package / "fit.py").write_text("1\n")
    for command in ("init", "add .", "commit -m first"):
        git(*command.split())
    (package / "notes").write_text("not in the checkout\n")
    assert provenance.commit_of(package) == git("rev-parse", "HEAD")
    (package / "fit.py").write_text("2\n")
    assert provenance.commit_of(package) == git("rev-parse", "HEAD") + "+"
    assert provenance.commit() == provenance.commit_of(Path(provenance.__file__).parents[1])


# Folders.


@pytest.mark.parametrize("name", ["run.json", "metrics.csv", "checkpoint.ckpt", "probes/adjoint.npy"])
def test_a_folder_that_holds_a_run_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(FileExistsError, match=r"already holds a run"):
        Setting().fit(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_trainer_that_can_not_be_made_leaves_nothing(tmp_path: Path) -> None:
    setting = Setting(precision="foo")
    with pytest.raises(ValueError, match="foo"):
        setting.fit(tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_nothing_but_the_run_is_left(tmp_path: Path) -> None:
    Setting().fit(tmp_path)
    names = {"run.json", "metrics.csv", "checkpoint.ckpt", "encoding.json", "probes"}
    names |= {f"probes/{name}.npy" for name in ("adjoint", "clipping", "answers")}
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == names


# Loggers.


def test_the_csv_logger_writes_beside(tmp_path: Path) -> None:
    record = Setting().fit(tmp_path, loggers={"csv": partial(CSVLogger, name=None, version="lightning")})
    with (tmp_path / "lightning" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name, value in record.final.items():
        (found,) = [row[name] for row in rows if row[name]][-1:]
        assert float(found) == pytest.approx(value)
    assert read_metrics(tmp_path) == metrics(tmp_path)


def test_the_tensorboard_logger_writes_beside(tmp_path: Path) -> None:
    if find_spec("tensorboard") is None:
        pytest.skip("tensorboard is not installed")
    from lightning.pytorch.loggers import TensorBoardLogger

    Setting().fit(tmp_path, loggers={"tb": partial(TensorBoardLogger, name=None, version="tensorboard")})
    assert list((tmp_path / "tensorboard").glob("events.*"))


# Against plain SGD.


def by_hand(setting: Setting, steps: int, accumulate: int = 1) -> list[tuple[int, float]]:
    """Each batch's step and its loss before that step, to the first that is not finite: h = W x + b + U h' + c,
    o = V h + d, written anew.

    Batches accumulate within an epoch: its last one always ends with a step.
    """
    state = {name: value.detach().clone().requires_grad_() for name, value in setting.model.named_parameters()}
    loader, losses, step = setting.data.train_dataloader(), [], 0
    while step < steps:
        for number, batch in enumerate(loader, start=1):
            hidden = torch.zeros(len(batch.target), 3)
            for time in range(6):
                projected = batch.inputs[:, time] @ state["cells.0.weight_ih"].T + state["cells.0.bias_ih"]
                hidden = projected + hidden @ state["cells.0.weight_hh"].T + state["cells.0.bias_hh"]
            answers = hidden @ state["readout.weight"].T + state["readout.bias"]
            loss = ((answers - batch.target) ** 2).mean()
            losses.append((step, loss.item()))
            if not math.isfinite(losses[-1][1]):
                return losses
            (loss / accumulate).backward()
            if number % accumulate == 0 or number == len(loader):
                step += 1
                for value in state.values():
                    assert value.grad is not None
                    value.data -= setting.lr * value.grad
                    value.grad = None
    return losses


def test_train_rows_are_the_mean_since_the_last(tmp_path: Path) -> None:
    losses = [loss for step, loss in by_hand(Setting(max_steps=5), 5) if step < 5]
    Setting(max_steps=5).fit(tmp_path)
    train = [row for row in metrics(tmp_path) if row["split"] == "train"]
    assert [int(row["step"]) for row in train] == [2, 4, 5]
    for row, part in zip(train, (losses[:2], losses[2:4], losses[4:]), strict=True):
        assert float(row["loss"]) == pytest.approx(np.mean(part), rel=1e-5)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(("lr", "gain"), [(1e6, 3.0), (0.5, 1.0)])
def test_a_run_that_diverges_stops_at_the_step(lr: float, gain: float, accumulate: int, tmp_path: Path) -> None:
    """The first whose loss is not finite, counted in steps of the optimiser from 0."""
    settings = (Setting(lr=lr, gain=gain, max_steps=300, accumulate_grad_batches=accumulate) for _ in range(2))
    losses = by_hand(next(settings), 300, accumulate)
    bad = next(step for step, loss in losses if not math.isfinite(loss))
    assert bad > 0  # after a step, at least
    record = next(settings).fit(tmp_path)
    assert repr(record) == repr(runs.read(tmp_path))  # its last loss may be NaN, which equals nothing
    assert not math.isfinite(record.final["train_loss"])
    assert record.status == "diverged"
    assert record.diverged_step == bad
    assert record.steps == torch.load(tmp_path / "checkpoint.ckpt", weights_only=True)["global_step"]
    assert record.error is None
    assert record.end is not None
    table = runs.read_table(tmp_path, "adjoint")
    assert table is not None
    first = table[table["step"] == 0]
    assert len(first) == 4 * 6
    assert np.isfinite(first["hidden"]).all()
    assert (first["hidden"] > 0).all()
    assert (tmp_path / "checkpoint.ckpt").exists()


def test_best_passes_over_what_is_not_finite(tmp_path: Path) -> None:
    live = LiveRecord(replace(Setting().fit(tmp_path), best={}), tmp_path)
    writer = MetricsWriter(live, PositionTracker(DeferredSignals()))
    rows = iter(
        [{"loss": math.nan, "accuracy": 0.5}, {"loss": 2.0, "accuracy": 0.25}, {"loss": math.inf, "accuracy": 0.0}]
    )
    writer.row = lambda *_: next(rows)  # type: ignore[method-assign]
    for _ in range(3):
        writer.on_validation_epoch_end(Mock(spec=Trainer, global_step=1, state=Mock()), Mock(spec=Model))
    assert live.record.best == {"val_loss": 2.0, "val_accuracy": 0.5}


# Stopping.


class Raises(NoClipping):
    """Raises at the given step."""

    def __init__(self, error: BaseException, step: int = 3) -> None:
        super().__init__()
        self.error, self.left = error, step

    def forward(self, parameters: list[nn.Parameter]) -> torch.Tensor:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().forward(parameters)


def test_ctrl_c_leaves_what_there_is(tmp_path: Path) -> None:
    setting = Setting(max_steps=100)
    setting.model.clipping = Raises(KeyboardInterrupt())
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        setting.fit(tmp_path)
    assert signal.getsignal(signal.SIGINT) is before
    record = runs.read(tmp_path)
    assert (record.status, record.steps, record.error) == ("interrupted", 3, "stopped by a signal")
    assert set(runs.read_table(tmp_path, "adjoint")["step"]) == {0, 1, 2, 3}  # type: ignore[index]
    assert list(runs.read_table(tmp_path, "clipping")["step"]) == [0, 1, 2]  # type: ignore[index]
    assert torch.load(tmp_path / "checkpoint.ckpt", weights_only=True)["global_step"] == 3


def test_an_error_is_kept_and_raised(tmp_path: Path) -> None:
    setting = Setting(max_steps=100)
    setting.model.clipping = Raises(LookupError("boom"))
    with pytest.raises(LookupError, match="boom"):
        setting.fit(tmp_path)
    record = runs.read(tmp_path)
    assert (record.status, record.steps, record.error) == ("failed", 3, "LookupError: boom")
    assert len(runs.read_table(tmp_path, "clipping")) == 3  # type: ignore[arg-type]


def test_a_worker_that_a_signal_killed_too_is_no_failure(tmp_path: Path) -> None:
    """The second error comes while the first is handled: `raise` in an except clause."""
    setting = Setting(max_steps=100)
    error = RuntimeError("DataLoader worker is killed by signal: Terminated.")
    error.__context__ = KeyboardInterrupt()
    setting.model.clipping = Raises(error)
    with pytest.raises(KeyboardInterrupt):
        setting.fit(tmp_path)
    assert runs.read(tmp_path).status == "interrupted"


# The same numbers, and no needless work.


def test_the_same_seed_gives_the_same_bits(tmp_path: Path) -> None:
    """Whatever was drawn before: `fit` seeds what dropout draws from."""
    found = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        setting = Setting(max_steps=6)
        setting.model.readout = nn.Sequential(nn.Dropout(0.5), setting.model.readout)
        torch.rand(len(found) + 1)
        setting.fit(tmp_path / name, seed=seed)
        state = torch.load(tmp_path / name / "checkpoint.ckpt", weights_only=True)["state_dict"]
        found.append((state["cells.0.weight_hh"], (tmp_path / name / "metrics.csv").read_bytes()))
    (a, b, c) = found
    assert torch.equal(a[0], b[0])
    assert a[1] == b[1]
    assert not torch.equal(a[0], c[0])
    assert a[1] != c[1]


def test_double_precision(tmp_path: Path) -> None:
    setting = Setting(max_steps=4, precision="64-true")
    setting.fit(tmp_path)
    assert all(parameter.dtype == torch.float64 for parameter in setting.model.parameters())


def test_a_profiler_that_was_asked_for_is_kept(tmp_path: Path) -> None:
    profiler = SimpleProfiler()
    Setting(max_steps=4, profiler=profiler).fit(tmp_path)
    assert len(profiler.recorded_durations["run_training_batch"]) == 4


def test_losses_on_a_device_are_looked_at_once_an_interval(tmp_path: Path) -> None:
    """Each look waits for the device. The step is the one that was not finite, all the same."""
    position = PositionTracker(DeferredSignals())
    rules = StopRules(LiveRecord(Setting().fit(tmp_path / "run"), tmp_path), position, RunSpec(tmp_path))
    trainer = Mock(spec=Trainer, global_step=0, current_epoch=0)
    trainer.log_every_n_steps = 10
    parts = {"clipping": nn.Module(), "regularizers": nn.Module(), "carried": Mock(parts=lambda split: {})}
    model = Mock(spec=Model, device=torch.device("cuda"), **parts)

    def step(loss: float) -> None:
        trainer.global_step += 1
        for callback in (position, rules):
            callback.on_train_batch_end(trainer, model, {"loss": torch.tensor(loss)})

    for number in range(14):
        step(1.0)
        assert len(rules.losses) == (number + 1) % 10
    step(math.nan)
    for _ in range(4):
        step(1.0)
    with pytest.raises(Diverged) as diverged:
        step(1.0)
    assert diverged.value.step == 14


def test_tables_are_written_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And with each of two checkpoints. A killed run loses the last seconds; a large table costs a small share of the
    time."""
    written: list[str] = []
    write = runs.write_table
    monkeypatch.setattr(
        runs, "write_table", lambda folder, name, table: (written.append(name), write(folder, name, table))
    )
    Setting(max_steps=9).fit(tmp_path / "rarely")
    assert written == [*["adjoint", "clipping"] * 2, "answers", "adjoint", "clipping"]
    written.clear()
    monkeypatch.setattr(TableWriter, "FLUSH_EVERY", 0.0)
    monkeypatch.setattr(TableWriter, "FLUSH_SHARE", 0)
    Setting(max_steps=9).fit(tmp_path / "always")
    assert len(written) == 2 * (9 + 2) + 3
    for name in ("adjoint", "clipping"):  # however often it is asked for
        tables = [runs.read_table(tmp_path / folder, name) for folder in ("rarely", "always")]
        np.testing.assert_array_equal(*tables)
    written.clear()
    monkeypatch.setattr(TableWriter, "FLUSH_SHARE", 1_000_000)
    Setting(max_steps=9).fit(tmp_path / "slow")
    assert len(written) == 2 * (1 + 2) + 3
