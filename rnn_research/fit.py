"""Train live objects and leave a run record: callable from the command line, a test or a notebook."""

from __future__ import annotations

import csv
import logging
import math
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.profilers import PassThroughProfiler
from tqdm import tqdm

from rnn_research import provenance, runs
from rnn_research.datasets.base import DataModule
from rnn_research.models.model import Model, count_parameters
from rnn_research.probes.base import Probe
from rnn_research.probes.clipping import clipping_table
from rnn_research.probes.regularizer import regularizer_table

log = logging.getLogger(__name__)


class Diverged(Exception):
    """The loss became NaN or infinite at `step`."""

    def __init__(self, step: int, loss: float) -> None:
        super().__init__(f"the loss became {loss} at step {step}")
        self.step = step


def fit(
    data: DataModule,
    model: Model,
    trainer: Callable[..., Trainer],
    probes: Mapping[str, Probe],
    folder: Path,
    *,
    loggers: Mapping[str, Callable[..., Any]] | None = None,
    name: str = "",
    factors: Mapping[str, str] | None = None,
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> runs.RunRecord:
    """Train, then measure the last weights on the validation and the test set; leave everything in `folder`.

    Args:
        data: with its `layout` set.
        model: made for `data.task`.
        trainer: makes lightning's Trainer, given callbacks, loggers and a folder.
        probes: by the name under which each is stored.
        folder: the run's own folder; see `runs`.
        loggers: make further loggers, given `save_dir`.
        name, factors, seed, config: kept in the record.
        progress: show a bar with the time left.

    Returns:
        The record, as written: `done`, or `diverged` where the loss became NaN or infinite.

    Raises:
        FileExistsError: the folder already holds a run.
        KeyboardInterrupt: after an `interrupted` record is written.
        Exception: whatever training raised, after a `failed` record is written.
    """
    if found := runs.in_use(folder):
        raise FileExistsError(f"{folder}: already holds a run ({found}); nothing was written")
    _seed(seed)
    record = runs.RunRecord(
        name=name or folder.name,
        status="running",
        factors=dict(factors or {}),
        seed=seed,
        config=dict(config or {}),
        parameters=count_parameters(model),
        data={"name": type(data).__name__, "fingerprint": data.fingerprint},
        versions=provenance.versions(),
        commit=provenance.commit(),
        machine=provenance.machine(),
        start=_now(),
        baselines=data.baselines(),
    )
    recorder = Recorder(record, folder, probes, progress)
    live = trainer(
        callbacks=[*probes.values(), recorder],
        logger=[make(save_dir=folder) for make in (loggers or {}).values()] or False,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    live.precision_plugin.convert_input = lambda data: data  # the model does it; lightning can't with a frozen Batch
    if type(live.profiler) is PassThroughProfiler:  # type: ignore[attr-defined]
        live.profiler = _Unprofiled()  # type: ignore[attr-defined]
    runs.write(record, folder)  # not before: nothing is left of a Trainer that can't be made
    return recorder.run(live, model, data)


class Recorder(Callback):
    """Writes a run's record, metrics and tables while it trains, and stops it when the loss is not finite."""

    FLUSH_EVERY = 10.0  # seconds between writes of the probes' tables: a killed run loses at most that much,
    FLUSH_SHARE = 20  # or this many times what a write takes, where that is longer: tables grow

    def __init__(self, record: runs.RunRecord, folder: Path, probes: Mapping[str, Probe], progress: bool) -> None:
        self.record, self.folder, self.probes, self.progress = record, folder, probes, progress
        self.losses: list[tuple[int, torch.Tensor]] = []
        self.bar: tqdm[Any] | None = None
        self._steps = 0
        self._logged = 0
        self._validated = -1
        self._flush_at = time.monotonic() + self.FLUSH_EVERY

    def run(self, trainer: Trainer, model: Model, data: DataModule) -> runs.RunRecord:
        """Fit and test; whatever happens, the record says so."""
        try:
            trainer.fit(model, datamodule=data)
            if self._validated != trainer.global_step:
                trainer.validate(model, datamodule=data, verbose=False)
            trainer.test(model, datamodule=data, verbose=False)
            self._close(trainer, model, "done")
        except Diverged as diverged:
            log.warning("%s", diverged)
            with suppress(OSError):  # as the tables: the record matters more
                self._row(trainer, model, "train")
            self._close(trainer, model, "diverged", diverged_step=diverged.step)
        except BaseException as error:
            if _stopped(error):
                self._close(trainer, model, "interrupted", error="stopped by a signal")
                raise KeyboardInterrupt from error
            with suppress(OSError):  # a full disk is what is to be told
                self._close(trainer, model, "failed", error=f"{type(error).__name__}: {error}")
            log.exception("the run failed")
            raise
        finally:
            if self.bar is not None:
                self.bar.close()
        return self.record

    def on_train_start(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        if self.progress and sys.stderr is not None:
            total = trainer.estimated_stepping_batches
            self.bar = tqdm(
                total=None if math.isinf(total) else int(total),
                desc=self._label(),
                unit="step",
                mininterval=0.2 if sys.stderr.isatty() else 60,
                maxinterval=1 if sys.stderr.isatty() else 120,
                **_width(),
            )

    def _label(self) -> str:
        """Short: the run's name may be long."""
        factors = self.record.factors
        named = [factors[key] for key in ("model", "dataset", "clipping") if key in factors]
        return "-".join([*named, f"seed{self.record.seed}"]) if named else self.record.name

    def on_train_batch_end(self, trainer: Trainer, pl_module: Model, outputs: Any, *rest: Any) -> None:  # type: ignore[override]
        interval = trainer.log_every_n_steps  # type: ignore[attr-defined]
        self.losses.append((self._steps, outputs["loss"]))
        if pl_module.device.type == "cpu" or len(self.losses) >= interval:  # elsewhere a look costs a wait
            self._check_losses()
        if trainer.global_step == self._steps:
            return  # accumulating
        self._steps = trainer.global_step
        if not self.record.engine:
            self._engine(pl_module)
        if self.bar is not None:
            self.bar.update(1)
        if self._steps % interval == 0:
            self._row(trainer, pl_module, "train")
        if time.monotonic() > self._flush_at:
            self._tables(pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        row = self._row(trainer, pl_module, "val")
        self._validated = trainer.global_step
        best = dict(self.record.best)
        for name, value in row.items():
            pick = max if name.endswith("accuracy") else min
            if math.isfinite(value):
                best[f"val_{name}"] = pick(best.get(f"val_{name}", value), value)
        self.record = replace(self.record, best=best)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        self._row(trainer, pl_module, "test")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        self._check_losses()
        self._checkpoint(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        self._check_losses()
        if self._logged != self._steps:
            self._row(trainer, pl_module, "train")
        self._checkpoint(trainer)

    def on_exception(self, trainer: Trainer, pl_module: Model, exception: BaseException) -> None:  # type: ignore[override]
        if isinstance(exception, KeyboardInterrupt | SystemExit | Diverged) and trainer.training:
            self._checkpoint(trainer)

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
                    raise Diverged(step, loss)

    def _row(self, trainer: Trainer, model: Model, split: str) -> dict[str, float]:
        """One dense row of metrics.csv, and the same to the loggers."""
        found = model.measured(split)
        with (self.folder / runs.METRICS).open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            if file.tell() == 0:
                writer.writerow(["step", "epoch", "split", *found])
            writer.writerow([trainer.global_step, trainer.current_epoch, split, *map(repr, found.values())])
        named = {f"{split}_{name}": value for name, value in found.items()}
        self.record = replace(self.record, final={**self.record.final, **named})
        if split == "train":
            self._logged = self._steps
        for logger in trainer.loggers:
            logger.log_metrics(named, step=trainer.global_step)
        return found

    def _tables(self, model: Model) -> None:
        start = time.monotonic()
        for name, probe in self.probes.items():
            runs.write_table(self.folder, name, probe.table())
        runs.write_table(self.folder, "clipping", clipping_table(model))
        if model.regularizers:
            runs.write_table(self.folder, "regularizer", regularizer_table(model))
        end = time.monotonic()
        self._flush_at = end + max(self.FLUSH_EVERY, self.FLUSH_SHARE * (end - start))

    def _checkpoint(self, trainer: Trainer) -> None:
        temporary = self.folder / f".{runs.CHECKPOINT}"
        try:
            trainer.save_checkpoint(temporary)
            os.replace(temporary, self.folder / runs.CHECKPOINT)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _close(self, trainer: Trainer, model: Model, status: str, **changes: Any) -> None:
        """The last tables and the record. Tables that can't be written stop only a run that is done."""
        self.record = replace(
            self.record,
            status=status,
            end=_now(),
            steps=trainer.global_step,
            epochs=trainer.current_epoch,
            **changes,
        )
        unwritable = () if status == "done" else (OSError,)
        with _undisturbed():
            with suppress(*unwritable):
                self._tables(model)
            runs.write(self.record, self.folder)


class _Unprofiled(PassThroughProfiler):
    """No profiler, as lightning's own, which makes a context of a generator for each of some 40 hooks a step."""

    NOTHING = nullcontext()

    def profile(self, action_name: str) -> Any:
        return self.NOTHING


def _width() -> dict[str, Any]:
    """For the bar: as wide as the terminal, where that tells (some have 0 by 0)."""
    with suppress(OSError, ValueError):
        if os.get_terminal_size(sys.stderr.fileno()).columns:
            return {"dynamic_ncols": True}
    return {"ncols": 100, "nrows": 20}


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C, or a worker that a signal killed as well, must not cost the record: neither is heard here."""
    calm = {signal.SIGINT: signal.SIG_IGN, signal.SIGTERM: signal.SIG_IGN, signal.SIGCHLD: signal.SIG_DFL}
    calm = calm if threading.current_thread() is threading.main_thread() else {}
    before = {number: signal.signal(number, handler) for number, handler in calm.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _stopped(error: BaseException | None) -> bool:
    """Whether a signal stopped training: lightning makes a SystemExit of it, and a worker that the signal killed too
    may add another error."""
    return error is not None and (isinstance(error, KeyboardInterrupt | SystemExit) or _stopped(error.__context__))


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (what other libraries draw from)
    torch.manual_seed(seed)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
