"""A training whose loop calls only the hooks that do something is lightning's own, bit by bit and hook by hook."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from small import STEPS, Given, model_of, run, sequences

import rnn_research.training.fit
from rnn_research.cells import LSTM
from rnn_research.clipping.global_norm import GlobalNorm
from rnn_research.probes.adjoint import Adjoint
from rnn_research.probes.gradient_norm import GradientNorm
from rnn_research.records import runs

PER_BATCH = (
    "on_train_epoch_start",
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
    "on_validation_start",
    "on_validation_end",
    "on_train_epoch_end",
)


class Watch(Callback):
    """Notes each call of a hook, and what a method of the model's own would see there."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def _note(self, name: str, trainer: Any, model: Any, *arguments: Any) -> None:
        numbers = [one for one in arguments if isinstance(one, int)]
        self.seen.append((name, trainer.global_step, model._current_fx_name, *numbers))
        if name == "on_train_batch_end":
            self.seen.append(("loss", float(arguments[0]["loss"])))


for hook in PER_BATCH:
    setattr(Watch, hook, lambda self, *arguments, _name=hook: self._note(_name, *arguments))


class Logs(Callback):
    """A user's, that logs."""

    def on_train_batch_end(self, trainer: Any, model: Any, outputs: Any, *rest: Any) -> None:  # type: ignore[override]
        model.log("mine", outputs["loss"])


def trained(folder: Path, callbacks: tuple[Callback, ...], **limits: Any) -> dict[str, Any]:
    data = Given(STEPS, sequences(10, steps=True))
    model = model_of(data, LSTM, clipping=GlobalNorm(0.1))
    probes = {"adjoint": Adjoint(2), "gradient_norm": GradientNorm(1)}
    logged: dict[str, float] = {}

    class Last(Callback):
        def on_train_end(self, trainer: Any, *rest: Any) -> None:  # type: ignore[override]
            logged.update({name: float(value) for name, value in trainer.callback_metrics.items()})

    run(data, model, folder, probes, (*callbacks, Last()), **limits)
    tables = {name: runs.read_table(folder, name) for name in ("adjoint", "gradient_norm", "clipping")}
    return {"weights": model.state_dict(), "metrics": (folder / "metrics.csv").read_text(), "logged": logged, **tables}


@pytest.mark.parametrize(
    "limits",
    [
        {"precision": "64-true", "accumulate_grad_batches": 2},
        {"precision": "bf16-mixed"},
        {"precision": "32-true"},
        {"precision": "32-true", "accumulate_grad_batches": 2, "val_check_interval": 1.0, "max_steps": 3},
        {"check_val_every_n_epoch": None, "val_check_interval": 3, "limit_train_batches": 4},
    ],
)
def test_it_is_lightnings_own_training(limits: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, seen = [], []
    for lean in (True, False):
        if not lean:
            monkeypatch.setattr(rnn_research.training.fit, "make_lean", lambda trainer: None)
        watch = Watch()
        found.append(
            trained(tmp_path / str(lean), (watch, Logs()), **{"max_epochs": 2, "val_check_interval": 2, **limits})
        )
        seen.append(watch.seen)
    ours, theirs = found
    assert seen[0] == seen[1]
    assert ours["logged"] == theirs["logged"]
    assert "mine" in ours["logged"]
    assert ours["metrics"] == theirs["metrics"]
    assert all(torch.equal(value, theirs["weights"][name]) for name, value in ours["weights"].items())
    for table in ("adjoint", "gradient_norm", "clipping"):
        np.testing.assert_array_equal(ours[table], theirs[table])


def test_a_step_calls_little_of_lightnings(tmp_path: Path) -> None:
    """Hooks aside: what does not change within an epoch is not looked up at every step, which made some 280 calls."""
    calls: list[str] = []

    def count(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and "/lightning/" in frame.f_code.co_filename.replace("\\", "/"):
            calls.append(frame.f_code.co_name)

    class Count(Callback):
        def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:  # type: ignore[override]
            sys.setprofile(count if trainer.global_step == 4 else None)

    try:
        trained(tmp_path, (Count(),), max_steps=6, log_every_n_steps=100, limit_val_batches=0)
    finally:
        sys.setprofile(None)
    assert len(calls) < 100


@pytest.mark.parametrize("profiler", [None, "simple"])
def test_a_profiler_is_asked_at_every_hook(profiler: str | None, tmp_path: Path) -> None:
    """Which is why lightning's own loop runs where there is one."""
    found = []

    class Look(Callback):
        def on_train_end(self, trainer: Any, *rest: Any) -> None:  # type: ignore[override]
            found.append((trainer.fit_loop.epoch_loop._lean, getattr(trainer.profiler, "recorded_durations", {})))

    trained(tmp_path, (Look(),), max_steps=2, profiler=profiler)
    ((lean, durations),) = found
    assert lean == (profiler is None)
    assert any(name.endswith("on_train_batch_start") for name in durations) == (profiler is not None)


def test_stop_iteration_in_a_step_is_an_error(tmp_path: Path) -> None:
    """Lightning would take it for the end of the epoch, and the run for one that is done."""

    class Stops(Callback):
        def on_train_batch_end(self, *arguments: Any) -> None:  # type: ignore[override]
            next(iter(()))

    with pytest.raises(RuntimeError, match=r"StopIteration, in a step of training"):
        trained(tmp_path, (Stops(),), max_steps=4)
    assert runs.read(tmp_path).status == "failed"
