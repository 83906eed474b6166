"""Stopped and resumed is the same training, bit for bit; what can't be resumed says why before anything is written."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import SMALL, last, rnn_train
from composed import composed
from lightning.pytorch import Callback, Trainer
from small import SEQUENCES, STEPS, TREES, Given, model_of, sentences, sequences
from torch import Tensor, nn

from rnn_research.cells import LSTM, ChildSumTreeLSTM
from rnn_research.clipping import Clipping
from rnn_research.clipping.global_norm import GlobalNorm
from rnn_research.clipping.graves import Graves
from rnn_research.clipping.h_detach import HDetach
from rnn_research.clipping.none import NoClipping
from rnn_research.config.environment import recorded
from rnn_research.datasets.base import DataModule
from rnn_research.datasets.sampling import Batches
from rnn_research.datasets.task import SolvedCriterion
from rnn_research.models.schedules import CosineSchedule, PlateauSchedule, StepSchedule, WarmupSchedule
from rnn_research.probes.adjoint import Adjoint
from rnn_research.probes.gradient_norm import GradientNorm
from rnn_research.records import checksum as seal
from rnn_research.records import runs
from rnn_research.records.canonical import leaves
from rnn_research.records.identity import may_differ
from rnn_research.records.metrics_file import read_metrics
from rnn_research.structures import ParseTreeLayout
from rnn_research.training import resumable, resume
from rnn_research.training.checkpoints import CheckpointWriter
from rnn_research.training.fit import RunSpec, fit
from rnn_research.training.resume import ResumeError
from rnn_research.training.tables import TableWriter


class Remembers(Clipping):
    """Clips to the running mean of the norms so far: a strategy with a memory."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros((), dtype=torch.float64))

    def forward(self, parameters: list[nn.Parameter]) -> Tensor:
        norm = torch.linalg.vector_norm(torch.stack([p.grad.double().norm() for p in parameters if p.grad is not None]))
        self.mean.mul_(0.9).add_(0.1 * norm)
        coefficient = (self.mean / norm).clamp(max=1.0)
        for parameter in parameters:
            assert parameter.grad is not None
            parameter.grad.mul_(coefficient)
        return coefficient


class Setting:
    """22 samples in batches of 4: an epoch of 6, the last one smaller."""

    def __init__(
        self, kind: str = "chain", bucket: bool = False, clipping: Clipping | None = None, **more: Any
    ) -> None:
        chains = kind != "tree"
        task, make = ((STEPS if kind == "steps" else SEQUENCES), sequences) if chains else (TREES, sentences)
        task = replace(task, success=SolvedCriterion("accuracy", 0.999))
        options: dict[str, Any] = {"steps": True} if kind == "steps" else {}
        samples = make(22, seed=3, **options)
        splits = {"train": samples, "val": samples[:7], "test": samples[3:9]}
        self.data: DataModule = Given(task, splits, layout=None if chains else ParseTreeLayout(), batch_size=4)
        self.data.bucket = bucket
        cell = LSTM if chains else ChildSumTreeLSTM
        given = {"num_layers": 2, "dropout": 0.5, "optimizer": partial(torch.optim.Adam, lr=0.01)} | more
        self.model = model_of(self.data, cell, clipping=clipping or Remembers(), **given)
        self.probes = {"adjoint": Adjoint(every_n_steps=3, last=False), "gradient_norm": GradientNorm(5, last=False)}

    def fit(
        self,
        folder: Path,
        steps: int = -1,
        resume_from: Path | None = None,
        callbacks: tuple[Any, ...] = (),
        **limits: Any,
    ) -> runs.RunRecord:
        arguments = {"accelerator": "cpu", "max_steps": steps, "max_epochs": -1, "log_every_n_steps": 4, **limits}
        make = lambda callbacks, **more: Trainer(callbacks=[*callbacks, *extra], **arguments, **more)  # noqa: E731
        extra = callbacks
        return fit(self.data, self.model, make, self.probes, RunSpec(folder, resume_from=resume_from))


def state(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoint.ckpt", weights_only=True)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def assert_same_run(whole: Path, resumed: Path) -> None:
    """Weights, buffers, optimiser, generators, metrics and tables."""
    one, other = state(whole), state(resumed)
    assert one["global_step"] == other["global_step"]
    assert same(one["state_dict"], other["state_dict"])
    assert same(one["optimizer_states"], other["optimizer_states"])
    assert same(one["lr_schedulers"], other["lr_schedulers"])
    for key in ("step", "epoch", "batch", "batches", "generators", "rows", "best", "success", "tally"):
        assert same(one[resume.PLACE][key], other[resume.PLACE][key]), key
    assert (whole / runs.METRICS).read_text() == (resumed / runs.METRICS).read_text()
    for name in ("adjoint", "gradient_norm", "clipping", "answers"):
        tables = [runs.read_table(folder, name) for folder in (whole, resumed)]
        assert [table.tobytes() for table in tables] == [tables[0].tobytes()] * 2  # type: ignore[union-attr]
        assert tables[0].dtype == tables[1].dtype  # type: ignore[union-attr]
    assert same(one[resume.PLACE]["others"]["numpy"], other[resume.PLACE]["others"]["numpy"])
    records = [runs.read(folder) for folder in (whole, resumed)]
    for key in ("steps", "epochs", "final", "best", "success", "status"):
        assert getattr(records[0], key) == getattr(records[1], key), key


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two") / "first"
    Setting().fit(folder, 2)
    return folder


@pytest.fixture
def first(two_steps: Path, tmp_path: Path) -> Path:
    """A run of two steps, of one's own."""
    return Path(shutil.copytree(two_steps, tmp_path / "first"))


VALIDATED = {"val_check_interval": 4, "check_val_every_n_epoch": None}
CASES = {
    "chain, bucket, validated every 4 batches": (partial(Setting, bucket=True), 9, VALIDATED),
    "clamped inside, a plateau, measured in the first batch": (
        partial(Setting, "steps", clipping=Graves(0.01), scheduler=PlateauSchedule("accuracy", patience=0)),
        9,
        {"val_check_interval": 2, "check_val_every_n_epoch": None},
    ),
    "tree, bucket, in an epoch, a cosine": (
        partial(Setting, "tree", bucket=True, scheduler=CosineSchedule(13)),
        8,
        {},
    ),
    "tree, at an epoch's end, warmup and cosine": (
        partial(Setting, "tree", scheduler=WarmupSchedule(4, "cosine", 11)),
        6,
        {},
    ),
    "accumulate, in an epoch, steps of the learning rate": (
        partial(Setting, scheduler=StepSchedule(3, 0.5)),
        7,
        {"accumulate_grad_batches": 2},
    ),
    "accumulate, at an epoch's end, warmup alone": (
        partial(Setting, scheduler=WarmupSchedule(10)),
        6,
        {"accumulate_grad_batches": 4},
    ),
    "two directions, sgd, no clipping, fewer batches, validated twice an epoch": (
        partial(Setting, bidirectional=True, clipping=NoClipping(), optimizer=partial(torch.optim.SGD, lr=0.1)),
        7,
        {"limit_train_batches": 5, "val_check_interval": 0.5},
    ),
    "columns of what acted before alone": (
        lambda **more: Setting(clipping=HDetach(0.5, until_step=4), **more),
        8,
        {},
    ),
}
"""What may make a difference, each once."""


@pytest.mark.parametrize("case", CASES)
def test_stopped_and_resumed_is_the_same_training(case: str, tmp_path: Path) -> None:
    make, steps, limits = CASES[case]
    make().fit(tmp_path / "whole", 13, **limits)
    make().fit(tmp_path / "first", steps, **limits)
    before = files(tmp_path / "first")
    setting = make(seed=7)  # its own weights are replaced
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    record = setting.fit(tmp_path / "second", 13, tmp_path / "first", **limits)
    assert_same_run(tmp_path / "whole", tmp_path / "second")
    assert files(tmp_path / "first") == before
    assert record.resumed == {"folder": "../first", "step": steps}
    assert runs.read(tmp_path / "whole").resumed == {}


def test_the_training_is_one_where_a_difference_would_show(tmp_path: Path) -> None:
    """Without the generators' state, the order of the data, the optimiser's or the clipping's, the bits differ."""
    Setting().fit(tmp_path / "whole", 9)
    Setting().fit(tmp_path / "first", 8)
    weights = state(tmp_path / "whole")["state_dict"]

    def damaged(change: Callable[[dict[str, Any]], object]) -> dict[str, Tensor]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name in ("run.json", "metrics.csv"):
            (folder / name).write_bytes((tmp_path / "first" / name).read_bytes())
        checkpoint = state(tmp_path / "first")
        change(checkpoint)
        torch.save(checkpoint, folder / "checkpoint.ckpt")
        seal.seal(folder / "checkpoint.ckpt")
        Setting().fit(folder / "on", 9, folder)
        return state(folder / "on")["state_dict"]

    assert same(damaged(lambda checkpoint: None), weights)
    generators = lambda c: c[resume.PLACE].update(generators={"torch": torch.manual_seed(1).get_state()})  # noqa: E731
    batch = lambda c: c[resume.PLACE].update(batch=1)  # noqa: E731
    moments = lambda c: c["optimizer_states"][0]["state"][0]["exp_avg"].zero_()  # noqa: E731
    memory = lambda c: c["state_dict"]["clipping.mean"].zero_()  # noqa: E731
    for change in (generators, batch, moments, memory):
        assert not same(damaged(change), weights)


def test_epochs_may_be_the_limit(tmp_path: Path) -> None:
    for folder, epochs, earlier in (("whole", 3, None), ("first", 1, None), ("second", 3, "first")):
        Setting().fit(tmp_path / folder, -1, tmp_path / earlier if earlier else None, max_epochs=epochs)
    assert_same_run(tmp_path / "whole", tmp_path / "second")


def test_it_can_be_resumed_again_and_from_the_file(tmp_path: Path) -> None:
    Setting().fit(tmp_path / "whole", 15)
    Setting().fit(tmp_path / "a", 4)
    Setting().fit(tmp_path / "b", 9, tmp_path / "a" / "checkpoint.ckpt")
    Setting().fit(tmp_path / "c", 15, tmp_path / "b")
    assert_same_run(tmp_path / "whole", tmp_path / "c")


# Interrupted.


class Interrupts(Callback):
    """Sends a signal in one hook, the `count`-th time."""

    def __init__(self, hook: str, count: int) -> None:
        self.left = count
        setattr(self, hook, self._send)

    def _send(self, *_: Any, **__: Any) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


class InTheUpdate(torch.optim.Adam):
    """Is interrupted when it has updated half of the parameters."""

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        loss = closure()
        self.count = getattr(self, "count", 0) + 1
        groups = self.param_groups
        (group,) = groups
        half = len(group["params"]) // 2
        for part in (group["params"][:half], group["params"][half:]):
            self.param_groups = [{**group, "params": part}]
            super().step()
            if self.count == 8:
                os.kill(os.getpid(), signal.SIGINT)
        self.param_groups = groups
        return loss


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The same training without an interruption, by the batches that are accumulated."""
    folders = {accumulate: tmp_path_factory.mktemp("whole") / "run" for accumulate in (1, 2)}
    for accumulate, folder in folders.items():
        Setting().fit(folder, 10, accumulate_grad_batches=accumulate)
    return folders


HOOKS = {
    "before a batch": ("on_train_batch_start", 8),
    "before the backward pass": ("on_before_backward", 8),
    "before the update": ("on_before_optimizer_step", 8),
    "after a batch": ("on_train_batch_end", 8),
    "after an epoch's last batch": ("on_train_batch_end", 6),
    "in a validation": ("on_validation_batch_start", 2),
    "in the validation after the last step": ("on_validation_batch_start", 3),
    "in the test": ("on_test_batch_start", 1),
    "at an epoch's end": ("on_train_epoch_end", 1),
}


WITHIN = ("before the backward pass", "before the update")


@pytest.mark.parametrize(
    ("hook", "accumulate"),
    [
        *((hook, 1) for hook in HOOKS if hook not in WITHIN),
        *((hook, 2) for hook in WITHIN),
        *(pytest.param(hook, 1, marks=pytest.mark.slow) for hook in WITHIN),
    ],
)
def test_a_run_that_was_interrupted_is_resumed(
    hook: str, accumulate: int, uninterrupted: dict[int, Path], tmp_path: Path
) -> None:
    """A step that was begun is taken anew, with what was drawn for it; a validation that was cut short too."""
    fit_to = partial(Setting.fit, steps=10, accumulate_grad_batches=accumulate)
    with pytest.raises(KeyboardInterrupt):
        fit_to(Setting(), tmp_path / "first", callbacks=(Interrupts(*HOOKS[hook]),))
    assert runs.read(tmp_path / "first").status == "interrupted"
    fit_to(Setting(seed=7), tmp_path / "second", resume_from=tmp_path / "first")
    whole, second = uninterrupted[accumulate], tmp_path / "second"
    one, other = state(whole), state(second)
    for key in ("state_dict", "optimizer_states"):
        assert same(one[key], other[key])
    rows = [[row for row in read_metrics(folder) if row["split"] != "train"] for folder in (whole, second)]
    assert rows[0] == rows[1]
    for name in ("adjoint", "gradient_norm", "clipping"):
        np.testing.assert_array_equal(runs.read_table(whole, name), runs.read_table(second, name))


SCHEDULES = {"cosine": CosineSchedule(), "plateau": PlateauSchedule(patience=0, threshold=0.5)}


@pytest.fixture(scope="module")
def scheduled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A training of 10 steps by each schedule."""
    folders = {name: tmp_path_factory.mktemp(name) / "run" for name in SCHEDULES}
    for name, folder in folders.items():
        Setting(scheduler=SCHEDULES[name]).fit(folder, 10)
    return folders


@pytest.mark.parametrize(
    ("schedule", "hook"),
    [
        ("cosine", "before the update"),
        ("cosine", "at an epoch's end"),
        ("plateau", "after a batch"),
        ("plateau", "in a validation"),
        ("plateau", "at an epoch's end"),
    ],
)
def test_a_learning_rate_goes_on_after_an_interruption(
    schedule: str, hook: str, scheduled: dict[str, Path], tmp_path: Path
) -> None:
    """Over the run's own steps too, where the limits are the same."""
    make = partial(Setting, scheduler=SCHEDULES[schedule])
    with pytest.raises(KeyboardInterrupt):
        make().fit(tmp_path / "first", 10, callbacks=(Interrupts(*HOOKS[hook]),))
    make(seed=7).fit(tmp_path / "second", 10, tmp_path / "first")
    one, other = state(scheduled[schedule]), state(tmp_path / "second")
    for key in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert same(one[key], other[key])


def test_a_schedule_over_the_run_is_not_stretched(tmp_path: Path) -> None:
    make = partial(Setting, scheduler=CosineSchedule())
    make().fit(tmp_path / "first", 2)
    with pytest.raises(ResumeError, match=r"^resume: given trainer.max_steps=4, but .* has 2, and its scheduler goes"):
        make().fit(tmp_path / "second", 4, tmp_path / "first")
    assert not (tmp_path / "second").exists()


def test_a_strategy_that_counts_batches_counts_an_interrupted_one_once(tmp_path: Path) -> None:
    make = Setting
    make(clipping=HDetach(0.5)).fit(tmp_path / "whole", 6)
    with pytest.raises(KeyboardInterrupt):
        make(clipping=HDetach(0.5)).fit(tmp_path / "first", 6, callbacks=(Interrupts("on_before_backward", 4),))
    make(clipping=HDetach(0.5)).fit(tmp_path / "second", 6, tmp_path / "first")
    assert same(state(tmp_path / "whole")["state_dict"], state(tmp_path / "second")["state_dict"])


def test_weights_are_never_left_half_updated(tmp_path: Path) -> None:
    """Ctrl-C in the midst of an update waits for its end."""
    make = partial(Setting, optimizer=partial(InTheUpdate, lr=0.01))
    plain = partial(Setting, optimizer=partial(torch.optim.Adam, lr=0.01))
    plain().fit(tmp_path / "whole", 8)
    with pytest.raises(KeyboardInterrupt):
        make().fit(tmp_path / "stopped", 12)
    one, other = state(tmp_path / "whole"), state(tmp_path / "stopped")
    assert other["global_step"] == 8
    assert same(one["state_dict"], other["state_dict"])


def test_elsewhere_than_in_the_main_thread_signals_are_left_alone(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=lambda: Setting().fit(tmp_path, 2))
    thread.start()
    thread.join()
    assert runs.read(tmp_path).status == "done"
    assert signal.getsignal(signal.SIGINT) is before


class Copies(Callback):
    """Leaves the folder as a run that is killed before its tenth batch would."""

    def __init__(self, folder: Path, to: Path) -> None:
        self.folder, self.to = folder, to

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:  # type: ignore[override]
        if trainer.global_step == 9:
            shutil.copytree(self.folder, self.to)


def test_a_run_that_was_killed_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the last step whose checkpoint was due; what was written since is written anew."""
    monkeypatch.setattr(CheckpointWriter, "EVERY", 0.0)
    monkeypatch.setattr(CheckpointWriter, "SHARE", 0)
    monkeypatch.setattr(TableWriter, "FLUSH_EVERY", 0.0)
    monkeypatch.setattr(TableWriter, "FLUSH_SHARE", 0)
    killed = tmp_path / "killed"
    Setting().fit(tmp_path / "whole", 13, callbacks=(Copies(tmp_path / "whole", killed),), **VALIDATED)
    assert runs.read(killed).status == "running"
    assert state(killed)["global_step"] == 9
    assert list(runs.read_table(killed, "clipping")["step"])[-1] == 8  # type: ignore[index]
    Setting(seed=7).fit(tmp_path / "second", 13, killed, **VALIDATED)
    assert_same_run(tmp_path / "whole", tmp_path / "second")


def test_a_killed_run_loses_rows_and_it_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Setting().fit(tmp_path / "first", 8)
    runs.write_table(tmp_path / "first", "clipping", runs.read_table(tmp_path / "first", "clipping")[:5])  # type: ignore[index]
    caplog.set_level("WARNING", "rnn_research")
    Setting().fit(tmp_path / "second", 9, tmp_path / "first")
    assert list(runs.read_table(tmp_path / "second", "clipping")["step"]) == [0, 1, 2, 3, 4, 8]  # type: ignore[index]
    assert "was killed: its tables lack" in caplog.text


def test_a_probe_with_other_columns_starts_its_table_anew(tmp_path: Path) -> None:
    Setting().fit(tmp_path / "first", 8)
    setting = Setting()
    setting.probes["adjoint"] = GradientNorm(every_n_steps=1)  # type: ignore[assignment]
    setting.fit(tmp_path / "second", 10, tmp_path / "first")
    assert list(runs.read_table(tmp_path / "second", "adjoint")["step"]) == [8, 9]  # type: ignore[index]
    assert set(runs.read_table(tmp_path / "second", "gradient_norm")["step"]) == {0, 5}  # type: ignore[index]


# The order of the samples.


@pytest.mark.parametrize("sizes", [None, list(range(22))])
@pytest.mark.parametrize("block", [None, 8])
@pytest.mark.parametrize("start", [(0, 0), (0, 4), (2, 0), (2, 5)])
def test_batches_go_on_where_they_stood(sizes: list[int] | None, block: int | None, start: tuple[int, int]) -> None:
    whole, part = (Batches(22, 4, 3, sizes, block, at) for at in ((0, 0), start))
    epochs = [list(whole) for _ in range(5)]
    assert list(part) == epochs[start[0]][start[1] :]
    assert list(part) == epochs[start[0] + 1]
    assert len(part) == len(whole)


# What can't be resumed.


def other_data() -> Setting:
    setting = Setting()
    setting.data.given["train"] = sequences(22, seed=4)  # type: ignore[attr-defined]
    setting.data._loaded = None
    return setting


def other_batches() -> Setting:
    setting = Setting()
    setting.data.batch_size = 5
    return setting


MISMATCHES: dict[str, tuple[Callable[[], Setting], str]] = {
    "another size": (partial(Setting, hidden_size=5), r"cells\.0\.weight_ih has shape \(20, 2\), but .* has \(16, 2\)"),
    "more layers": (partial(Setting, num_layers=3), r"cells\.2\.\w+ has shape .*, but .* has none"),
    "fewer layers": (partial(Setting, num_layers=1), r"cells\.1\.\w+ has shape none"),
    "another strategy": (partial(Setting, clipping=GlobalNorm(1.0)), "clipping GlobalNorm, but .* has Remembers"),
    "another optimiser": (
        partial(Setting, optimizer=partial(torch.optim.SGD, lr=0.1)),
        "optimizer SGD, but .* has Adam",
    ),
    "a schedule": (partial(Setting, scheduler=StepSchedule()), "scheduler StepSchedule, but .* has None"),
    "other samples": (other_data, "Given with fingerprint [0-9a-f]+, but .* fingerprint"),
    "other batches": (other_batches, "batch_size 5, but .* has 4"),
}


@pytest.mark.parametrize("case", MISMATCHES)
def test_another_training_is_refused(case: str, two_steps: Path, tmp_path: Path) -> None:
    make, message = MISMATCHES[case]
    with pytest.raises(ResumeError, match=message):
        make().fit(tmp_path / "second", 4, two_steps)
    assert not (tmp_path / "second").exists()


def test_another_value_of_the_config_is_refused(tmp_path: Path) -> None:
    config = {"optimizer": {"lr": 0.01}, "trainer": {"max_steps": 2}, "dataset": {"root": "a"}, "threads": 1}
    setting = Setting()
    make = partial(Trainer, accelerator="cpu", max_steps=2, max_epochs=-1)
    fit(setting.data, setting.model, make, {}, RunSpec(tmp_path / "first", config=config))
    more = partial(make, max_steps=3)

    def on(name: str, **given: Any) -> None:
        spec = RunSpec(tmp_path / name, resume_from=tmp_path / "first", **given)
        fit(setting.data, setting.model, more, {}, spec)

    with pytest.raises(ResumeError, match=r"optimizer\.lr=0\.02, but .* has optimizer\.lr=0\.01; give the same"):
        on("second", config={**config, "optimizer": {"lr": 0.02}})
    with pytest.raises(ResumeError, match=r"seed=1, but .* has seed=0"):
        on("second", seed=1)
    on("third", config={**config, "trainer": {"max_steps": 3}, "dataset": {"root": "b"}, "threads": 2})


TOLD_ELSE = {
    "+optimizer.maximize=true": "given optimizer.maximize=True, but .* has no optimizer.maximize",
    "init=[orthogonal]": "given init.orthogonal._target_=.*, but .* has no init.orthogonal",
    "engine=torch": "given engine=torch, but .* has engine=auto",
    "+trainer.limit_train_batches=3": "given trainer.limit_train_batches=3, but .* has no trainer.limit_train_batches",
    "~optimizer.betas": r"given no optimizer.betas, but .* has optimizer.betas=\[",
    "clipping=global_norm": "given clipping.global_norm",
    "regularizer=orthogonality": "given regularizer.orthogonality",
    "structure=balanced": "given structure._target_=",
    "trainer.precision=64-true": "given trainer.precision=64-true, but .* has trainer.precision=32-true",
    "model.cell.bias=false": "given model.cell.bias=False",
    "seed=1": "seed=1, but .* has seed=0",
}
TOLD_THE_SAME = (
    "probe=[saturation]",
    "logger=csv",
    "threads=2",
    "stop_when_solved=true",
    "dataset.num_workers=1",
    "trainer.val_check_interval=3",
    "+trainer.limit_val_batches=1",
    "+trainer.min_steps=1",
)


@pytest.fixture(scope="module")
def commanded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commanded") / "first"
    ended = rnn_train(*SMALL, f"hydra.run.dir={folder}")
    assert ended.code == 0, ended.err
    return folder


def test_what_makes_the_training_another_is_refused_and_the_rest_is_not(commanded: Path) -> None:
    """By the config in the checkpoint: keys that both have, and those that one has."""
    config = state(commanded)[resume.PLACE]["config"]
    assert config == runs.read(commanded).config
    for given, message in TOLD_ELSE.items():
        other = recorded(composed(*last([*SMALL, given, "trainer.max_steps=4"])))
        with pytest.raises(ResumeError, match=f"^resume: .*{message}"):
            resumable.check_config(commanded, config, other)
    for given in ("engine=torch", "seed=1"):
        ended = rnn_train(*SMALL, given, "trainer.max_steps=4", f"resume={commanded}", f"hydra.run.dir={commanded}2")
        assert ended.code == 2, (given, ended)
        assert re.search(rf"^rnn-train: resume: .*{TOLD_ELSE[given]}", ended.err), ended.err
        assert ended.err.count("\n") == 1
        assert not Path(f"{commanded}2").exists()
    ended = rnn_train(
        *SMALL, *TOLD_THE_SAME, "trainer.max_steps=4", f"resume={commanded}", f"hydra.run.dir={commanded}2"
    )
    assert ended.code == 0, ended.err


def test_another_key_is_refused_unless_the_table_says_that_it_may_differ(commanded: Path) -> None:
    config = state(commanded)[resume.PLACE]["config"]
    for key in leaves(config):
        other = json.loads(json.dumps(config))
        *above, leaf = key.split(".")
        node = other
        for name in above:
            node = node[name]
        node[leaf] = "other"
        may = may_differ(key)
        with contextlib.nullcontext() if may else pytest.raises(ResumeError, match=f"given {key}=other, but"):
            resumable.check_config(commanded, config, other)


@pytest.mark.parametrize("name", ["clipping", "answers", "regularizer"])
def test_a_probe_named_as_a_table_of_the_run_is_refused(name: str, tmp_path: Path) -> None:
    setting = Setting()
    setting.probes[name] = GradientNorm()  # type: ignore[assignment]
    with pytest.raises(ValueError, match=f"^probe.{name}: {name} is a table of the run's own"):
        setting.fit(tmp_path / "run", 2)
    assert not (tmp_path / "run").exists()
    own = f"+probe.{name}={{_target_:rnn_research.probes.gradient_norm.GradientNorm}}"
    ended = rnn_train(*SMALL, own, f"hydra.run.dir={tmp_path / 'run'}")
    assert ended.code == 2
    assert ended.err.startswith(f"rnn-train: probe.{name}: {name} is a table of the run's own")


@pytest.mark.parametrize(
    ("limits", "message"),
    [({"max_steps": 2}, "at step 2, and trainer.max_steps=2"), ({"max_epochs": 0}, "0 epochs behind it")],
)
def test_limits_that_leave_nothing_to_train_are_refused(
    limits: dict[str, Any], message: str, two_steps: Path, tmp_path: Path
) -> None:
    with pytest.raises(ResumeError, match=message):
        Setting().fit(tmp_path / "second", resume_from=two_steps, **limits)
    assert not (tmp_path / "second").exists()


class Pickled:
    """Would run code when unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:2000])


def _of_another(path: Path) -> None:
    checkpoint = state(path.parent)
    del checkpoint[resume.PLACE]
    torch.save(checkpoint, path)
    seal.seal(path)


def _code(path: Path) -> None:
    torch.save({**state(path.parent), "extra": Pickled()}, path)
    seal.seal(path)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "no run's folder with a checkpoint.ckpt"),
    "empty": (lambda path: path.write_bytes(b""), "can't be read"),
    "cut off": (_cut, "can't be read"),
    "no checkpoint": (lambda path: path.write_text("hello"), "can't be read"),
    "of another program": (_of_another, "does not say where training stood"),
    "with code": (_code, r"can't be read \(it names \w+\.mkdir, expected tensors"),
    "no record": (lambda path: (path.parent / "run.json").unlink(), "run.json: damaged"),
    "a damaged table": (lambda path: (path.parent / "probes/clipping.npy").write_text("x"), "clipping.npy: damaged"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_what_is_damaged_is_one_error_and_nothing_is_run(
    case: str, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    damage, message = DAMAGES[case]
    damage(first / "checkpoint.ckpt")
    with pytest.raises(ResumeError, match=message) as refused:
        Setting().fit(tmp_path / "second", 4, first)
    assert "\n" not in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first"]


def test_no_changed_bit_of_a_checkpoint_is_trained_on_from(first: Path, tmp_path: Path) -> None:
    """Wherever it is: also in what torch would read without a word. Moving and copying change nothing."""
    path = first / "checkpoint.ckpt"
    whole = path.read_bytes()
    assert state(first)  # torch reads it as ever
    for place in range(0, len(whole), len(whole) // 36):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        with pytest.raises(ResumeError, match=r"checkpoint\.ckpt can't be read") as refused:
            resume._read(path)
        assert "\n" not in str(refused.value)
    path.write_bytes(whole)
    resume._read(path)
