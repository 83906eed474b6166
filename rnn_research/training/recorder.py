"""Carries a run out, and writes how it ended. What is written while it trains is in the four callbacks that it has."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from lightning.pytorch import Callback, Trainer

from rnn_research.datasets.base import DataModule
from rnn_research.models.model import Model
from rnn_research.probes.base import Probe
from rnn_research.records import runs
from rnn_research.training.answers import answers_of, together
from rnn_research.training.best_weights import BestWeights
from rnn_research.training.checkpoints import CheckpointWriter
from rnn_research.training.gradient_summary import gradient_summary
from rnn_research.training.live_record import LiveRecord, now
from rnn_research.training.loggers import RunLoggers
from rnn_research.training.metrics import MetricsWriter
from rnn_research.training.position import PositionTracker, StepEnd
from rnn_research.training.resume import ResumedRun
from rnn_research.training.signals import DeferredSignals, undisturbed
from rnn_research.training.spec import RunSpec
from rnn_research.training.stopping import Diverged, StopRules, anomalies_diverge
from rnn_research.training.tables import TableWriter
from rnn_research.training.translated import scores_of_set

log = logging.getLogger(__name__)


class Recorder:
    """One run from its first step to its last table.

    Args:
        record: the run's, which says when the task is solved.
        run: how it is carried out.
        probes: by the name under which each is stored.
        earlier: the run whose checkpoint training goes on from.
        metric: by which the best weights are kept; None: they are not.
        facts: what a run that goes on from this one's checkpoint must have in common.
    """

    def __init__(
        self,
        record: runs.RunRecord,
        run: RunSpec,
        probes: Mapping[str, Probe],
        earlier: ResumedRun | None = None,
        metric: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.live, self.earlier = LiveRecord(record, run.folder), earlier
        self.signals = DeferredSignals()
        self.position = PositionTracker(self.signals, earlier)
        self.stopping = StopRules(self.live, self.position, run, earlier)
        self.best = BestWeights(self.live, self.position, metric, earlier)
        self.loggers = RunLoggers(run.loggers, run.folder)
        self.metrics = MetricsWriter(self.live, self.position, run.progress, earlier, self.loggers)
        self.tables = TableWriter(self.live, self.position, probes, earlier)
        watching = (self.metrics, self.stopping, self.best, self.tables)
        self.checkpoints = CheckpointWriter(self.live, self.position, *watching, facts or {}, run.checkpoint_every)
        self.step_end = StepEnd(self.signals, self.position, self.checkpoints.if_due)

    @property
    def callbacks(self) -> list[Callback]:
        """In the order in which lightning must call them.

        The position comes first. After a batch, losses are looked at before a row is written. At the end, the
        checkpoint is written before the last row, which a run of more steps would not have. After a validation, the
        checkpoint comes last: it holds what the others have seen.
        """
        return [self.position, self.stopping, self.best, self.checkpoints, self.metrics, self.tables, self.step_end]

    def run(self, trainer: Trainer, model: Model, data: DataModule) -> runs.RunRecord:
        """Fit and test; whatever happens, the record says so. Where the best weights are kept the model has them in the
        end."""
        with self.signals.answering():
            try:
                self._begin_loggers(data)
                with anomalies_diverge(trainer):
                    self._fit(trainer, model, data)
                self._measure(trainer, model, data)
                self._close(trainer, model, "done")
            except Diverged as diverged:
                log.warning("%s", diverged)
                with suppress(OSError):  # as the tables: the record matters more
                    self.metrics.row(trainer, model, "train")
                self._close(trainer, model, "diverged", diverged_step=diverged.step)
            except BaseException as error:
                if self.signals.stopped(error):
                    self._close(trainer, model, "interrupted", error="stopped by a signal")
                    raise KeyboardInterrupt from error
                with suppress(OSError):  # a full disk is what is to be told
                    self._close(trainer, model, "failed", error=f"{type(error).__name__}: {error}")
                log.exception("the run failed")
                if isinstance(error, SystemExit):  # of a user's code: the run's end, and not the process's
                    raise RuntimeError(f"SystemExit: {error}") from error
                raise
            finally:
                self.metrics.bar.close()
                self.loggers.close(self.live.record.status)
        return self.live.record

    def _begin_loggers(self, data: DataModule) -> None:
        earlier = self.earlier
        lines = earlier.metrics() if earlier is not None else ""
        self.loggers.begin(self.live.record, lines, again=earlier is not None and earlier.own)
        if data.num_workers:
            self.loggers.wait()

    def _fit(self, trainer: Trainer, model: Model, data: DataModule) -> None:
        if self.earlier is None:
            trainer.fit(model, datamodule=data)
        else:
            with warnings.catch_warnings():  # it looks at the loader, and the place is kept by the data
                warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before")
                trainer.fit(model, datamodule=data, ckpt_path=self.earlier.path, weights_only=True)
            if self.position.place is None:  # there was no step left to take
                self._end_again(trainer, model, data, self.earlier)
        if self.metrics.validated != trainer.global_step:
            trainer.validate(model, datamodule=data, verbose=False)

    def _end_again(self, trainer: Trainer, model: Model, data: DataModule, earlier: ResumedRun) -> None:
        """What is left of a training that was stopped after its last step: a validation that was due, the last row of
        training, and what the record says of the engine."""
        kept = self.live.folder / runs.CHECKPOINT
        self.position.after_the_last_step(earlier)
        if earlier.path.resolve() != kept.resolve():
            self.tables.write(model)
            shutil.copyfile(earlier.path, kept)
        if earlier.tally is not None:
            model.tallies["train_"].restore(earlier.tally, model.device)
        if earlier.place.pending:
            self.metrics.late = self.best.late = True
            trainer.validate(model, datamodule=data, verbose=False)
            self.metrics.late = self.best.late = False
        if self.metrics.logged != earlier.place.step:
            self.metrics.row(trainer, model, "train")
        self.live.change(engine=earlier.engine or earlier.record.engine)

    def _measure(self, trainer: Trainer, model: Model, data: DataModule) -> None:
        """The test set and every further set, and the table of their answers: once, with the best weights where they
        are kept, which are validated again if others came after."""
        kept, self.best.looking = self.best.kept, False
        if self.best.restore(trainer, model):
            self.metrics.at = kept["step"], kept["epoch"]
            trainer.validate(model, datamodule=data, verbose=False)
        measured = runs.BEST if kept else runs.CHECKPOINT
        self.live.change(weights={**self.live.record.weights, "measured": measured})
        tables = []
        for name in data.evaluation_sets:
            self.metrics.tested = name
            loader = data.evaluation_dataloader(name)
            trainer.test(model, dataloaders=loader, verbose=False)
            if model.answered:  # the trainer's limits may leave none
                tables.append(answers_of(name, loader, model.answered, data.features(name)))
            if trainer.limit_test_batches == 1.0:  # all of it was measured
                self._translate(model, data, name)
        if tables:
            runs.write_table(self.live.folder, runs.ANSWERS, together(tables))

    def _translate(self, model: Model, data: DataModule, name: str) -> None:
        """The scores of a set's translations, and how they were counted."""
        if (found := scores_of_set(model, data, name)) is not None:
            record, values = self.live.record, {f"{name}_{key}": value for key, value in found.values.items()}
            self.live.change(final={**record.final, **values}, actual={**record.actual, **found.signatures})

    def _close(self, trainer: Trainer, model: Model, status: str, **changes: Any) -> None:
        """The last tables and the record; of a run that is not done the record first, since it matters more, and tables
        that can't be written stop nothing."""
        steps, epochs = trainer.global_step, self.position.epoch(trainer)
        self.live.change(status=status, end=now(), steps=steps, epochs=epochs, **changes)
        with undisturbed() as heard:
            if status == "done":
                self.tables.write(model)
                self.live.write()
            else:
                self._write_somehow()
            if status == "done":
                (self.live.folder / runs.PREVIOUS).unlink(missing_ok=True)
            if status != "done":
                with suppress(OSError):
                    self.tables.write(model)
            if self.loggers and status in ("done", "diverged"):
                self.loggers.gradient(*gradient_summary(self.live.folder, self.live.record.diverged_step), step=steps)
        if status != "interrupted":  # the run is over; what trains it is to stop
            self.signals.owed += heard

    def _write_somehow(self) -> None:
        """Write the record, on a full disk in the place of what matters less: the older checkpoint, and tables that no
        checkpoint goes on with."""
        folder = self.live.folder
        for room in (None, folder / runs.PREVIOUS, folder / runs.PROBES):
            if room is not None and (room.name != runs.PROBES or not (folder / runs.CHECKPOINT).exists()):
                shutil.rmtree(room) if room.is_dir() else room.unlink(missing_ok=True)
            with suppress(OSError):
                self.live.write()
                return
        self.live.write()
