"""What writes a run's record while lightning trains."""

from __future__ import annotations

import csv
import logging
import math
import os
import re
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from rnn_research.datasets.base import DataModule, SolvedCriterion
from rnn_research.models.model import Model
from rnn_research.probes.base import Probe
from rnn_research.probes.clipping import clipping_table
from rnn_research.probes.regularizer import regularizer_table
from rnn_research.records import runs
from rnn_research.records.checksum import seal
from rnn_research.training import resume
from rnn_research.training.answers import answers_of, together
from rnn_research.training.progress import Bar
from rnn_research.training.resume import ResumedRun, TrainingPosition
from rnn_research.training.signals import DeferredSignals, undisturbed

log = logging.getLogger(__name__)


class Diverged(Exception):
    """The loss became NaN or infinite at `step`, or with `detect_anomaly` a gradient did."""

    def __init__(self, step: int, what: str) -> None:
        super().__init__(f"{what} at step {step}")
        self.step = step


@contextmanager
def _anomalies_diverge(trainer: Trainer) -> Iterator[None]:
    """What `detect_anomaly` raises becomes `Diverged`; torch has told the log where the operation was called."""
    try:
        yield
    except RuntimeError as error:
        if not re.fullmatch(r"Function '\w+' returned nan values in its \d+th output\.", str(error)):
            raise
        log.warning("detect_anomaly: %s", error)
        raise Diverged(trainer.global_step, "a gradient became NaN") from error


@dataclass
class BatchCounter:
    """Batches of training: in all epochs, in this one, and whether one is being taken."""

    batches: int = 0
    in_epoch: int = 0
    inside: bool = False
    validated: int = 0
    """The batches in all epochs at the last validation while training."""


class Recorder(Callback):
    """Writes a run's record, metrics and tables while it trains, and stops it when the loss is not finite.

    Args:
        record: the run's, which says when the task is solved.
        folder: the run's.
        probes: by the name under which each is stored.
        progress: show a bar with the time left.
        earlier: the run whose checkpoint training goes on from.
        stop_when_solved: end training at the first validation that finds the task solved.
        facts: what a run that goes on from this one's checkpoint must have in common.
    """

    FLUSH_EVERY = 10.0  # seconds between writes of the probes' tables: a killed run loses at most that much,
    FLUSH_SHARE = 20  # or this many times what a write takes, where that is longer: tables grow

    def __init__(
        self,
        record: runs.RunRecord,
        folder: Path,
        probes: Mapping[str, Probe],
        progress: bool,
        earlier: ResumedRun | None = None,
        stop_when_solved: bool = False,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.record, self.folder, self.probes, self.earlier = record, folder, probes, earlier
        self.stop_when_solved, self.facts = stop_when_solved, dict(facts or {})
        self.bar = Bar(record, progress)
        self.losses: list[tuple[int, torch.Tensor]] = []
        self.place: TrainingPosition | None = None
        self._tables_before = earlier.tables((*probes, "clipping", "regularizer")) if earlier else {}
        self._rows = earlier.rows if earlier else 0
        self._counted = BatchCounter()
        self._counters: dict[str, torch.Tensor] = {}
        self._held = DeferredSignals()
        self._set = "test"
        self._steps = 0
        self._logged = 0
        self._validated = -1
        self._flush_at = self._checkpoint_at = time.monotonic() + self.FLUSH_EVERY

    def run(self, trainer: Trainer, model: Model, data: DataModule) -> runs.RunRecord:
        """Fit and test; whatever happens, the record says so."""
        with self._held.answering():
            try:
                with _anomalies_diverge(trainer):
                    self._fit(trainer, model, data)
                self._measure(trainer, model, data)
                self._close(trainer, model, "done")
            except Diverged as diverged:
                log.warning("%s", diverged)
                with suppress(OSError):  # as the tables: the record matters more
                    self._row(trainer, model, "train")
                self._close(trainer, model, "diverged", diverged_step=diverged.step)
            except BaseException as error:
                if self._held.stopped(error):
                    self._close(trainer, model, "interrupted", error="stopped by a signal")
                    raise KeyboardInterrupt from error
                with suppress(OSError):  # a full disk is what is to be told
                    self._close(trainer, model, "failed", error=f"{type(error).__name__}: {error}")
                log.exception("the run failed")
                raise
            finally:
                self.bar.close()
        return self.record

    def _fit(self, trainer: Trainer, model: Model, data: DataModule) -> None:
        if self.earlier is None:
            trainer.fit(model, datamodule=data)
        else:
            with warnings.catch_warnings():  # it looks at the loader, and the place is kept by the data
                warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before")
                trainer.fit(model, datamodule=data, ckpt_path=self.earlier.path, weights_only=True)
            if self.place is None:  # there was no step left to take
                shutil.copyfile(self.earlier.path, self.folder / runs.CHECKPOINT)
        if self._validated != trainer.global_step:
            trainer.validate(model, datamodule=data, verbose=False)

    def _measure(self, trainer: Trainer, model: Model, data: DataModule) -> None:
        """The test set and every further set, and the table of their answers."""
        tables = []
        for self._set in data.evaluation_sets:
            loader = data.evaluation_dataloader(self._set)
            trainer.test(model, dataloaders=loader, verbose=False)
            if model.answered:  # the trainer's limits may leave none
                tables.append(answers_of(self._set, loader, model.answered, data.features(self._set)))
        if tables:
            runs.write_table(self.folder, runs.ANSWERS, together(tables))

    def on_train_start(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        if self.earlier is None:
            self.place = TrainingPosition(generators=resume.generators(pl_module.device))
            self._counters = resume.counters(pl_module)
        else:
            self._go_on(self.earlier, trainer, pl_module)
        self.bar.open(trainer)

    def _go_on(self, earlier: ResumedRun, trainer: Trainer, model: Model) -> None:
        """Lightning has restored the weights, the optimiser and its loops; the rest is here."""
        self.place = place = earlier.place
        self._steps = self._logged = place.step
        self._counted = BatchCounter(place.batches, earlier.next[1], validated=place.batches)
        if earlier.tally is not None:
            model.tallies["train_"].restore(earlier.tally, model.device)
        if place.pending:
            trainer.validating = True
            trainer.fit_loop.epoch_loop.val_loop.run()
            trainer.training = True
        resume.restore(place, model.device)
        self._counters = resume.counters(model)
        log.info("resumed at step %d of %s", place.step, earlier.folder)
        if len(self._tables_before.get("clipping", ())) != place.step:
            log.warning("%s was killed: its tables lack the last steps before its checkpoint", earlier.folder)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        self._counted.in_epoch = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: Model, *rest: Any) -> None:  # type: ignore[override]
        self._counted.inside = True

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Model, *rest: Any) -> None:  # type: ignore[override]
        self._held.holding = True  # until the batch's end

    def on_train_batch_end(self, trainer: Trainer, pl_module: Model, outputs: Any, *rest: Any) -> None:  # type: ignore[override]
        self._counted.batches += 1
        self._counted.in_epoch += 1
        self._counted.inside = False
        self.losses.append((self._steps, outputs["loss"]))
        stepped = trainer.global_step != self._steps
        if stepped:
            self._here(trainer, pl_module)
        self._held.release()
        if pl_module.device.type == "cpu" or len(self.losses) >= trainer.log_every_n_steps:  # type: ignore[attr-defined]
            self._check_losses()  # elsewhere than on a CPU a look costs a wait
        if stepped:
            self._stepped(trainer, pl_module)

    def _here(self, trainer: Trainer, model: Model) -> None:
        """Training stands between two steps."""
        self._steps, counted = trainer.global_step, self._counted
        epoch, drawn = trainer.current_epoch, resume.generators(model.device)
        self.place = TrainingPosition(self._steps, epoch, counted.in_epoch, counted.batches, generators=drawn)
        self._counters = resume.counters(model)

    def _stepped(self, trainer: Trainer, model: Model) -> None:
        if not self.record.engine:
            self._engine(model)
        self.bar.update()
        if self._steps % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._row(trainer, model, "train")
        if time.monotonic() > self._flush_at:
            self._tables(model)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        fitting = trainer.state.fn == TrainerFn.FITTING
        epoch = self.place.epoch if fitting and self.place is not None else None
        row = self._row(trainer, pl_module, "val", "", epoch)
        self._validated, self._counted.validated = trainer.global_step, self._counted.batches
        best = dict(self.record.best)
        for name, value in row.items():
            pick = max if name.endswith("accuracy") else min
            if math.isfinite(value):
                best[f"val_{name}"] = pick(best.get(f"val_{name}", value), value)
        self.record = replace(self.record, best=best)
        self._look(trainer, row)
        if fitting and self.stop_when_solved and self.record.success["step"] is not None:
            trainer.should_stop = True

    def _look(self, trainer: Trainer, row: Mapping[str, float]) -> None:
        """Keep the first step at which the task was found solved."""
        rule = self.record.success
        if (
            rule
            and rule["step"] is None
            and SolvedCriterion(rule["metric"], rule["bound"], rule["above"]).met(row[rule["metric"]])
        ):
            log.info("solved at step %d", trainer.global_step)
            self.record = replace(self.record, success={**rule, "step": trainer.global_step})
            runs.write(self.record, self.folder)

    def on_validation_end(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        """Within an epoch, now and then: it may be the only one."""
        if trainer.state.fn == TrainerFn.FITTING and time.monotonic() > self._checkpoint_at:
            self._checkpoint(trainer)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        self._row(trainer, pl_module, "test", self._set)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        self._check_losses()
        self._checkpoint(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        self._check_losses()
        self._checkpoint(trainer)  # before the last row, which a run of more steps would not have
        if self._logged != self._steps:
            self._row(trainer, pl_module, "train")

    def on_exception(self, trainer: Trainer, pl_module: Model, exception: BaseException) -> None:  # type: ignore[override]
        stops = self._held.stopped(exception) or isinstance(exception, Diverged)
        if stops and self.place is not None and trainer.state.fn == TrainerFn.FITTING:
            self._checkpoint(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: Model, checkpoint: dict[str, Any]) -> None:  # type: ignore[override]
        """Where training stands: at the last step, whatever has been begun since."""
        if self.place is None:
            return
        counted, place = self._counted, self.place
        between = not counted.inside and counted.batches == place.batches
        kept = {
            "batches_per_epoch": trainer.num_training_batches,
            "rows": self._rows,
            "best": self.record.best,
            "success": self.record.success,
            "config": runs.plain(self.record.config),
            "tally": pl_module.tallies["train_"].state() if between else None,
        }
        checkpoint["state_dict"].update(self._counters)
        pending = counted.validated != place.batches and _due(trainer, place)
        resume.save(checkpoint, replace(place, pending=pending), self.facts, kept)

    def _engine(self, model: Model) -> None:
        """What folds the cells, known after the first batch: in the log and the record."""
        for text in dict.fromkeys(map(str, model.engines)):
            log.info("%s", text)
        said = [(one.asked, one.used, one.why) for one in dict.fromkeys(model.engines)]
        asked, used, why = ("; ".join(dict.fromkeys(parts)) for parts in zip(*said, strict=True))
        self.record = replace(self.record, engine={"asked": asked, "used": used, "why": why})
        runs.write(self.record, self.folder)

    def _check_losses(self) -> None:
        if self.losses:
            steps, losses = zip(*self.losses, strict=True)
            self.losses.clear()
            for step, loss in zip(steps, torch.stack(losses).tolist(), strict=True):
                if not math.isfinite(loss):
                    raise Diverged(step, f"the loss became {loss}")

    def _row(
        self, trainer: Trainer, model: Model, split: str, name: str = "", epoch: int | None = None
    ) -> dict[str, float]:
        """One dense row of metrics.csv, and the same to the loggers. `name`: of the set, where that is not `split`."""
        found, name = model.measured(split), name or split
        epoch = self._epoch(trainer) if epoch is None else epoch
        with (self.folder / runs.METRICS).open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            if file.tell() == 0:
                writer.writerow(["step", "epoch", "split", *found])
            writer.writerow([trainer.global_step, epoch, name, *map(repr, found.values())])
        self._rows += 1
        named = {f"{name}_{metric}": value for metric, value in found.items()}
        self.record = replace(self.record, final={**self.record.final, **named})
        if split == "train":
            self._logged = self._steps
        for logger in trainer.loggers:
            logger.log_metrics(named, step=trainer.global_step)
        return found

    def _epoch(self, trainer: Trainer) -> int:
        """Lightning counts an epoch that the last step cut short as one; where no step was left to take, as it did."""
        if self.earlier is not None and self.place is None:
            return self.earlier.record.epochs
        return trainer.current_epoch

    def _tables(self, model: Model) -> None:
        start = time.monotonic()
        tables = {name: probe.table() for name, probe in self.probes.items()} | {"clipping": clipping_table(model)}
        if model.regularizers:
            tables["regularizer"] = regularizer_table(model)
        for name, table in tables.items():
            runs.write_table(self.folder, name, self._joined(name, table))
        end = time.monotonic()
        self._flush_at = end + max(self.FLUSH_EVERY, self.FLUSH_SHARE * (end - start))

    def _joined(self, name: str, table: np.ndarray) -> np.ndarray:
        """With the rows of the run that this one goes on from, where they have the same columns."""
        before = self._tables_before.get(name)
        if before is None or not len(table):
            return table if before is None else before
        if before.dtype != table.dtype:
            log.warning("%s: other columns than before; the rows of the earlier run are left in its own folder", name)
            del self._tables_before[name]
            return table
        return np.concatenate([before, table])

    def _checkpoint(self, trainer: Trainer) -> None:
        temporary = self.folder / f".{runs.CHECKPOINT}"
        try:
            trainer.save_checkpoint(temporary)
            seal(temporary)
            os.replace(temporary, self.folder / runs.CHECKPOINT)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self._checkpoint_at = time.monotonic() + self.FLUSH_EVERY

    def _close(self, trainer: Trainer, model: Model, status: str, **changes: Any) -> None:
        """The last tables and the record; of a run that is not done the record first, since it matters more, and tables
        that can't be written stop nothing."""
        self.record = replace(
            self.record,
            status=status,
            end=now(),
            steps=trainer.global_step,
            epochs=self._epoch(trainer),
            **changes,
        )
        with undisturbed():
            if status == "done":
                self._tables(model)
            runs.write(self.record, self.folder)
            if status != "done":
                with suppress(OSError):
                    self._tables(model)


def _due(trainer: Trainer, place: TrainingPosition) -> bool:
    """Whether lightning validates at this place."""
    every, interval = trainer.check_val_every_n_epoch, trainer.val_check_batch
    if not trainer.enable_validation or not place.batches or interval is None or math.isinf(interval):
        return False
    if every is None:
        return place.batches % interval == 0
    return (place.epoch + 1) % every == 0 and place.batch % interval == 0


def now() -> str:
    """The time, as records give it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
