"""A run that goes on in its own folder, after it was stopped or killed: from which checkpoint, or from the start."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rnn_research.datasets.base import DataModule
from rnn_research.models.model import Model
from rnn_research.records import runs
from rnn_research.records.half_written import half_written
from rnn_research.records.sources import changed, sources
from rnn_research.sweeps import claims
from rnn_research.training import resume
from rnn_research.training.spec import RunSpec

log = logging.getLogger(__name__)
notices = logging.getLogger(f"{__name__}.code")
"""Shown on the terminal: the user named the run to go on from."""


def find_earlier(run: RunSpec, data: DataModule, model: Model, facts: Mapping[str, Any]) -> resume.ResumedRun | None:
    """The run to go on from: itself, where it was stopped in its folder; or the one that `resume_from` names; or the
    shorter one that it extends.

    Raises:
        ResumeError: it is of another training, or the named one can't be read.
    """
    if run.go_on and (run.folder / runs.RECORD).exists():
        for path in (run.folder / name for name in (runs.CHECKPOINT, runs.PREVIOUS)):
            if not path.exists():
                continue
            try:
                found = resume.load(path, data, model, run.seed, run.config, facts)
                found.check_tables()
            except resume.NoCheckpoint as error:
                log.warning("%s; taking the one before it", error)
                continue
            log.info("going on from step %d", found.place.step)
            _say_other_code(found, run)
            return replace(found, own=True)
        log.warning("there is no checkpoint to go on from: training from the start")
    if run.extends is not None:
        return _extended(run, data, model, facts)
    if run.resume_from is not None:
        _check_over(run.resume_from)
        try:
            found = resume.load(run.resume_from, data, model, run.seed, run.config, facts)
        except resume.NoCheckpoint as error:
            previous = run.resume_from / runs.PREVIOUS
            if not previous.is_file():
                raise
            log.warning("%s; taking %s", error, previous)
            found = resume.load(previous, data, model, run.seed, run.config, facts)
        _say_other_code(found, run, notices)
        return found
    return None


def _extended(run: RunSpec, data: DataModule, model: Model, facts: Mapping[str, Any]) -> resume.ResumedRun | None:
    """The shorter run; None where this one would not have taken its steps, or it has gone since."""
    assert run.extends is not None
    try:
        if model.scheduler.spans_run:
            raise resume.ResumeError("the scheduler goes over the run's steps")
        _check_over(run.extends)
        found = resume.load(run.extends, data, model, run.seed, run.config, facts)
        found.check_tables()
    except resume.ResumeError as error:
        log.warning("it can't go on from %s (%s): training from the start", run.extends, error)
        return None
    _say_other_code(found, run)
    log.info("going on from step %d of %s", found.place.step, run.extends)
    return found


def _say_other_code(found: resume.ResumedRun, run: RunSpec, where: logging.Logger = log) -> None:
    if whose := changed(found.record.sources, sources(run.folders)):
        where.warning("%s code is another than at the steps before %d", " and ".join(whose), found.place.step)


def _check_over(given: Path) -> None:
    """Raise a ResumeError where a process still trains the run that is to be gone on from."""
    if owner := claims.holder(given if given.is_dir() else given.parent):
        raise resume.ResumeError(f"resume: given {given}, which {owner} is training; wait for its end, or stop it")


def remove_traces(folder: Path) -> None:
    """Remove what a run has left, but its record and its log: it begins anew."""
    shutil.rmtree(folder / runs.PROBES, ignore_errors=True)
    for name in (runs.METRICS, runs.CHECKPOINT, runs.PREVIOUS, runs.BEST):
        (folder / name).unlink(missing_ok=True)


def remove_half_written(folder: Path) -> None:
    """Remove what a process that was killed has left half written."""
    for path in half_written(folder):
        path.unlink(missing_ok=True)


def begin_metrics(folder: Path, lines: str) -> None:
    """Let metrics.csv hold these lines alone: those before the checkpoint; without any, there is no file."""
    if lines:
        runs.replace_atomically(folder / runs.METRICS, lambda file: file.write(lines))
    else:
        (folder / runs.METRICS).unlink(missing_ok=True)
