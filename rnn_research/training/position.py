"""Where training stands, between two steps of the optimiser."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from rnn_research.models.model import Model
from rnn_research.training import resume
from rnn_research.training.resume import ResumedRun, TrainingPosition
from rnn_research.training.signals import DeferredSignals

log = logging.getLogger(__name__)


@dataclass
class BatchCounter:
    """Batches of training: in all epochs, in this one, and whether one is being taken."""

    batches: int = 0
    in_epoch: int = 0
    inside: bool = False
    validated: int = 0
    """The batches in all epochs at the last validation while training."""


class PositionTracker(Callback):
    """Keeps where training stands, and goes on from where an earlier run stood.

    Signals that come within a step of the optimiser wait for its end.

    Args:
        signals: those of this process, while the run trains.
        earlier: the run whose checkpoint training goes on from.
    """

    def __init__(self, signals: DeferredSignals, earlier: ResumedRun | None = None) -> None:
        self.signals, self.earlier = signals, earlier
        self.place: TrainingPosition | None = None
        """None before the first step."""
        self.counted = BatchCounter()
        self.counters: dict[str, torch.Tensor] = {}
        """What strategies and regularizers had counted there."""
        self._counting: list[tuple[str, torch.nn.Module]] = []
        self.step = 0
        """The steps that are done."""
        self.before = 0
        """The same before the last batch."""
        self.over = False
        """Whether the run was stopped after its last step."""

    @property
    def stepped(self) -> bool:
        """Whether the last batch completed a step."""
        return self.step != self.before

    def on_train_start(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        self._counting = resume.counting(pl_module)
        if self.earlier is None:
            self.place = TrainingPosition(generators=resume.generators(pl_module.device))
            self.counters = resume.counters(self._counting)
        else:
            self._go_on(self.earlier, trainer, pl_module)

    def _go_on(self, earlier: ResumedRun, trainer: Trainer, model: Model) -> None:
        """Lightning has restored the weights, the optimiser and its loops; the rest is here."""
        self.place = place = earlier.place
        self.step = self.before = place.step
        validated = -1 if place.pending else place.batches  # stopped in that validation again, it is pending still
        self.counted = BatchCounter(place.batches, earlier.next[1], validated=validated)
        if earlier.tally is not None:
            model.tallies["train_"].restore(earlier.tally, model.device)
        if place.pending:
            trainer.validating = True
            trainer.fit_loop.epoch_loop.val_loop.run()
            trainer.training = True
        resume.restore(place, model.device)
        model.carried.restore("train", place.carried, list(model.cells), model.device)
        self.counters = resume.counters(self._counting)
        log.info("resumed at step %d of %s", place.step, earlier.folder)

    def after_the_last_step(self, earlier: ResumedRun) -> None:
        """The run was stopped after its last step: lightning does nothing, and training stands where it stood."""
        self.place, self.counters, self.over = earlier.place, {}, True
        self.step = self.before = earlier.place.step

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        self.counted.in_epoch = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: Model, *rest: Any) -> None:  # type: ignore[override]
        self.counted.inside = self.signals.holding = True  # until the step is done and written down: `StepEnd`

    def on_train_batch_end(self, trainer: Trainer, pl_module: Model, *rest: Any) -> None:  # type: ignore[override]
        self.counted.batches += 1
        self.counted.in_epoch += 1
        self.counted.inside = False
        self.before = self.step
        if (step := trainer.global_step) != self.step:
            self._here(step, trainer, pl_module)

    def _here(self, step: int, trainer: Trainer, model: Model) -> None:
        """Training stands between two steps."""
        self.step, counted = step, self.counted
        epoch, drawn = trainer.current_epoch, resume.generators(model.device)
        carried = model.carried.parts("train")
        self.place = TrainingPosition(
            self.step, epoch, counted.in_epoch, counted.batches, generators=drawn, carried=carried
        )
        self.counters = resume.counters(self._counting)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        self.signals.holding = True  # until all have looked at it: `CheckpointWriter` is the last

    def validated(self) -> None:
        """The validation at this place is written down."""
        self.counted.validated = self.counted.batches

    @property
    def between(self) -> bool:
        """Whether no batch has been taken since the last step."""
        return not self.counted.inside and self.place is not None and self.counted.batches == self.place.batches

    def epoch(self, trainer: Trainer) -> int:
        """Lightning counts an epoch that the last step cut short as one; where no step was left to take, as it did."""
        earlier = self.earlier
        if self.over and earlier is not None:
            return earlier.place.epoch + 1
        if earlier is not None and (self.place is None or (self.step == earlier.place.step and trainer.should_stop)):
            return earlier.place.epoch + 1
        return trainer.current_epoch


class StepEnd(Callback):
    """The last callback of a batch: where a step is done and all have written down what they saw of it, signals are
    heard, and a checkpoint may be written.

    Args:
        signals: those of this process, while the run trains.
        position: where training stands.
        checkpoint: writes one, if it is time.
    """

    def __init__(
        self, signals: DeferredSignals, position: PositionTracker, checkpoint: Callable[[Trainer, Model], None]
    ) -> None:
        self.signals, self.position, self.checkpoint = signals, position, checkpoint

    def on_train_batch_end(self, trainer: Trainer, pl_module: Model, *rest: Any) -> None:  # type: ignore[override]
        if self.position.stepped:
            self.checkpoint(trainer, pl_module)
            self.signals.release()
