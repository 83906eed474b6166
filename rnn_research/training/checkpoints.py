"""The checkpoint of a run: written at the end of each epoch, now and then within one, and where training stops."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from rnn_research.models.model import Model
from rnn_research.records import runs
from rnn_research.records.checksum import write_sealed
from rnn_research.sweeps import heart
from rnn_research.training import resume
from rnn_research.training.best_weights import BestWeights
from rnn_research.training.live_record import LiveRecord
from rnn_research.training.metrics import MetricsWriter
from rnn_research.training.position import PositionTracker
from rnn_research.training.resume import TrainingPosition
from rnn_research.training.stopping import Diverged, StopRules
from rnn_research.training.tables import TableWriter


class CheckpointWriter(Callback):
    """Writes the checkpoint, from which another run can go on.

    Args:
        live: the run's record.
        position: where training stands.
        metrics: what has been written of metrics.
        stopping: what ends training early.
        best: the best weights so far.
        tables: written before each checkpoint, which says how many rows they have.
        facts: what a run that goes on from here must have in common.
        every: seconds between checkpoints.
    """

    EVERY = 10.0  # seconds between checkpoints: a killed run loses about that much,
    SHARE = 20  # or this many times what one takes, where that is longer

    def __init__(
        self,
        live: LiveRecord,
        position: PositionTracker,
        metrics: MetricsWriter,
        stopping: StopRules,
        best: BestWeights,
        tables: TableWriter,
        facts: Mapping[str, Any],
        every: float | None = None,
    ) -> None:
        self.live, self.position, self.metrics, self.facts = live, position, metrics, dict(facts)
        self.stopping, self.best, self.tables = stopping, best, tables
        self.every = self.EVERY if every is None else every
        self._due_at = time.monotonic() + self.every
        self._rows: dict[str, int] = {}
        self._written = self._over = False

    def if_due(self, trainer: Trainer, model: Model) -> None:
        """Write one where the last is old enough."""
        if time.monotonic() > self._due_at and self.position.between:
            self._write(trainer, model)

    def on_validation_end(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        """After the others have looked at it."""
        if trainer.state.fn == TrainerFn.FITTING:
            self.if_due(trainer, pl_module)
        if self.position.between or trainer.state.fn != TrainerFn.FITTING:
            self.position.signals.release()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        """At the end of the first epoch, and then now and then: epochs may be short. The last of them ends the
        training, which writes its own."""
        last = trainer.global_step == trainer.max_steps or trainer.current_epoch + 1 == trainer.max_epochs
        if not self._written and not last:
            self._write(trainer, pl_module)
        self.if_due(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        """Before the last row of metrics, which a run of more steps would not have."""
        self._write(trainer, pl_module)
        self._over = True

    def on_exception(self, trainer: Trainer, pl_module: Model, exception: BaseException) -> None:  # type: ignore[override]
        stops = self.position.signals.stopped(exception) or isinstance(exception, Diverged)
        fitting = trainer.state.fn == TrainerFn.FITTING and not self._over
        if stops and self.position.place is not None and fitting:
            self._write(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: Model, checkpoint: dict[str, Any]) -> None:  # type: ignore[override]
        """Where training stands: at the last step, whatever has been begun since."""
        counted, place, record = self.position.counted, self.position.place, self.live.record
        if place is None:
            return
        kept = {
            "batches_per_epoch": trainer.num_training_batches,
            "rows": self.metrics.rows,
            "logged": self.metrics.logged,
            "engine": record.engine,
            "metrics_digest": self.metrics.digest.hexdigest(),
            "table_rows": self._rows,
            "final": record.final,
            "validated": self.metrics.validated,
            "best": record.best,
            "success": record.success,
            "missed": self.stopping.state(),
            "best_weights": self.best.state(),
            "config": runs.plain(record.config),
            "limits": {name: getattr(trainer, name) for name in ("max_steps", "max_epochs")},
            "tally": pl_module.tallies["train_"].state() if self.position.between else None,
        }
        checkpoint["state_dict"].update(self.position.counters)
        pending = counted.validated != place.batches and _due(trainer, place)
        resume.save(checkpoint, replace(place, pending=pending), self.facts, kept)

    def _write(self, trainer: Trainer, model: Model) -> None:
        """The tables, and then the checkpoint, which says how many rows they have."""
        start, folder = time.monotonic(), self.live.folder
        try:
            self._rows = self.tables.write(model)
            heart.confirm(folder)
            write_sealed(folder / runs.CHECKPOINT, trainer.save_checkpoint, folder / runs.PREVIOUS)
        except (OSError, RuntimeError):  # a full disk: the record needs room
            if (folder / runs.CHECKPOINT).exists():
                (folder / runs.PREVIOUS).unlink(missing_ok=True)
            raise
        end, self._written = time.monotonic(), True
        self._due_at = end + max(self.every, self.SHARE * (end - start))


def _due(trainer: Trainer, place: TrainingPosition) -> bool:
    """Whether lightning validates at this place."""
    every, interval = trainer.check_val_every_n_epoch, trainer.val_check_batch
    if not trainer.enable_validation or not place.batches or interval is None or math.isinf(interval):
        return False
    if every is None:
        return place.batches % interval == 0
    return (place.epoch + 1) % every == 0 and place.batch % interval == 0
