"""The metrics of a run: rows of metrics.csv, the last and the best values in the record, the loggers, and the bar."""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import math
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from rnn_research.datasets.task import less_is_better
from rnn_research.models.model import Model
from rnn_research.records import runs
from rnn_research.sweeps import heart
from rnn_research.training.live_record import LiveRecord
from rnn_research.training.loggers import RunLoggers
from rnn_research.training.position import PositionTracker
from rnn_research.training.progress import Bar
from rnn_research.training.resume import ResumedRun

log = logging.getLogger(__name__)


class MetricsWriter(Callback):
    """Writes what the model has measured, and says how far training is.

    Args:
        live: the run's record.
        position: where training stands.
        progress: show a bar with the time left.
        earlier: the run whose checkpoint training goes on from.
        loggers: get the same rows.
    """

    def __init__(
        self,
        live: LiveRecord,
        position: PositionTracker,
        progress: bool = False,
        earlier: ResumedRun | None = None,
        loggers: RunLoggers | None = None,
    ) -> None:
        self.live, self.position, self.loggers = live, position, loggers
        self.bar = Bar(live.record, progress)
        self.rows = earlier.rows if earlier else 0
        self.tested = "test"
        """The set that is being tested."""
        self.validated = earlier.validated if earlier else -1
        """The step of the last validation."""
        self.late = False
        """Whether a validation is made up for, which was due while training."""
        self.at: tuple[int, int] | None = None
        """The step and the epoch of the weights that are measured; None: the trainer's."""
        self.logged = earlier.logged if earlier else 0
        """The step of the last row of training."""
        self.digest = hashlib.sha256(earlier.metrics().encode() if earlier else b"")
        """Of the rows so far."""

    def on_train_start(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        self.bar.open(trainer)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Model, *rest: Any) -> None:  # type: ignore[override]
        if not self.position.stepped:
            return
        if not self.live.record.engine:
            self._engine(pl_module)
        self.bar.update()
        if self.position.step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self.row(trainer, pl_module, "train")

    def on_train_end(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        if self.logged != self.position.step:
            self.row(trainer, pl_module, "train")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        fitting, place = trainer.state.fn == TrainerFn.FITTING or self.late, self.position.place
        row = self.row(trainer, pl_module, "val", "", place.epoch if fitting and place is not None else None)
        self.validated = trainer.global_step
        self.position.validated()
        best = dict(self.live.record.best)
        for name, value in row.items():
            pick = min if less_is_better(name) else max
            if math.isfinite(value):
                best[f"val_{name}"] = pick(best.get(f"val_{name}", value), value)
        self.live.change(best=best)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        self.row(trainer, pl_module, "test", self.tested)

    def row(
        self, trainer: Trainer, model: Model, split: str, name: str = "", epoch: int | None = None
    ) -> dict[str, float]:
        """One dense row of metrics.csv, and the same to the loggers; with the learning rate `lr` that the next update
        takes, where a scheduler changes it. `name`: of the set, where that is not `split`."""
        found, name, rate = model.measured(split), name or split, learning_rate(trainer)
        step, ended = self.at or (trainer.global_step, self.position.epoch(trainer))
        epoch = ended if epoch is None else epoch
        heart.confirm(self.live.folder)
        with (self.live.folder / runs.METRICS).open("a", newline="", encoding="utf-8") as file:
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            if file.tell() == 0:
                writer.writerow(["step", "epoch", "split", *found, *rate])
            writer.writerow([step, epoch, name, *map(repr, (found | rate).values())])
            file.write(text.getvalue())
        self.digest.update(text.getvalue().encode())
        self.rows += 1
        named = {f"{name}_{metric}": value for metric, value in found.items()}
        self.live.change(final={**self.live.record.final, **named})
        if split == "train":
            self.logged = self.position.step
        if self.loggers:
            self.loggers.metrics(named | rate, step)
        return found

    def _engine(self, model: Model) -> None:
        """What folds the cells, known after the first batch: in the log and the record."""
        for text in dict.fromkeys(map(str, model.engines)):
            log.info("%s", text)
        said = [(one.asked, one.used, one.why) for one in dict.fromkeys(model.engines)]
        asked, used, why = ("; ".join(dict.fromkeys(parts)) for parts in zip(*said, strict=True))
        self.live.change(engine={"asked": asked, "used": used, "why": why})
        self.live.write()


def learning_rate(trainer: Trainer) -> dict[str, float]:
    """`lr`, the learning rate that the next update takes; empty where no scheduler changes it."""
    configs = trainer.lr_scheduler_configs
    return {"lr": configs[0].scheduler.optimizer.param_groups[0]["lr"]} if configs else {}
