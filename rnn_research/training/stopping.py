"""When training ends before its limits: its loss is not finite, the task is solved, or a metric gets no better."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from rnn_research.datasets.base import SolvedCriterion
from rnn_research.models.model import Model
from rnn_research.records.metrics_file import values_at_validations
from rnn_research.training.live_record import LiveRecord
from rnn_research.training.position import PositionTracker
from rnn_research.training.resume import ResumedRun
from rnn_research.training.spec import RunSpec
from rnn_research.training.watched import BestValue

log = logging.getLogger(__name__)


class Diverged(Exception):
    """The loss became NaN or infinite at `step`, or with `detect_anomaly` a gradient did."""

    def __init__(self, step: int, what: str) -> None:
        super().__init__(f"{what} at step {step}")
        self.step = step


@contextmanager
def anomalies_diverge(trainer: Trainer) -> Iterator[None]:
    """What `detect_anomaly` raises becomes `Diverged`; torch has told the log where the operation was called."""
    try:
        yield
    except RuntimeError as error:
        if not re.fullmatch(r"Function '\w+' returned nan values in its \d+th output\.", str(error)):
            raise
        log.warning("detect_anomaly: %s", error)
        raise Diverged(trainer.global_step, "a gradient became NaN") from error


class StopRules(Callback):
    """Raises `Diverged` where the loss is not finite. Notes the first step at which the task is found solved, and ends
    training there where that is asked for, or where a metric gets no better. Tells the learning rate's
    schedule of validations.

    Args:
        live: the run's record, which says when the task is solved.
        position: where training stands.
        run: what ends training before its limits.
        earlier: the run whose checkpoint training goes on from.
    """

    def __init__(
        self, live: LiveRecord, position: PositionTracker, run: RunSpec, earlier: ResumedRun | None = None
    ) -> None:
        self.live, self.position, self.run, self.earlier = live, position, run, earlier
        self.watched = None if run.stop_when is None else BestValue(run.stop_when.metric, run.stop_when.min_delta)
        if self.watched is not None and earlier is not None:
            self.watched.go_on(earlier.missed)
        self.losses: list[tuple[int, torch.Tensor]] = []
        """Of the batches that were not looked at yet, with the step of each."""

    def on_train_start(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        """A run that was to end, and was stopped before it had measured its weights, takes no further step."""
        if self.earlier is not None and self.earlier.record.status != "done" and self._why(trainer.global_step):
            trainer.should_stop = True

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: Model, outputs: Mapping[str, torch.Tensor], *rest: object
    ) -> None:
        if pl_module.device.type == "cpu":
            _check(self.position.before, float(outputs["loss"]))
            return
        self.losses.append((self.position.before, outputs["loss"]))  # here a look costs a wait
        if len(self.losses) >= trainer.log_every_n_steps:  # type: ignore[attr-defined]
            self._check_losses()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        self._check_losses()

    def on_train_end(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        self._check_losses()

    def on_validation_end(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        """After the validation's row is in the record."""
        self._look(trainer)
        if trainer.state.fn != TrainerFn.FITTING:
            return
        values = {name: self.live.record.final[f"val_{name}"] for name in pl_module.tallies["val_"].names}
        for config in trainer.lr_scheduler_configs:
            pl_module.scheduler.validated(config.scheduler, values)  # type: ignore[arg-type]
        if self.watched is not None:
            self.watched.look(values[self.watched.metric])
        if why := self._why(trainer.global_step):
            log.info("training ends at step %d: %s", trainer.global_step, why)
            trainer.should_stop = True

    def state(self) -> dict[str, Any] | None:
        """What a checkpoint keeps of early stopping."""
        return None if self.watched is None else self.watched.state()

    def _why(self, step: int) -> str:
        """Why training is to end; empty where it is not."""
        if self.run.stop_when_solved and self.live.record.success.get("step") is not None:
            return "the task is solved"
        if self.run.stop_when and self.watched and self.watched.missed >= self.run.stop_when.patience:
            return f"val_{self.watched.metric} got no better than {self.watched.value} in {self.watched.missed} looks"
        if self.run.prune and self.run.prune.ends(values_at_validations(self.run.folder, self.run.prune.metric)):
            self.live.change(actual={**self.live.record.actual, "pruned": step})
            return f"val_{self.run.prune.metric} is worse than the study's median, {self.run.prune.bounds[step]}"
        return ""

    def _look(self, trainer: Trainer) -> None:
        """Keep the first step at which the task was found solved."""
        rule = self.live.record.success
        if not rule or rule["step"] is not None:
            return
        criterion = SolvedCriterion(rule["metric"], rule["bound"], rule["above"])
        if criterion.met(self.live.record.final[f"val_{rule['metric']}"]):
            log.info("solved at step %d", trainer.global_step)
            self.live.change(success={**rule, "step": trainer.global_step})
            self.live.write()

    def _check_losses(self) -> None:
        if self.losses:
            steps, losses = zip(*self.losses, strict=True)
            self.losses.clear()
            for step, loss in zip(steps, torch.stack(losses).tolist(), strict=True):
                _check(step, loss)


def _check(step: int, loss: float) -> None:
    if not math.isfinite(loss):
        raise Diverged(step, f"the loss became {loss}")
