"""One training in any process: `run_one`."""

from __future__ import annotations

import logging
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from rnn_research.config.compose import ComposedRun, in_hydra
from rnn_research.config.environment import recorded
from rnn_research.errors import FolderInUse, UsageError
from rnn_research.records import runs
from rnn_research.records.identity import identity_of
from rnn_research.records.sources import sources
from rnn_research.sweeps import claims
from rnn_research.sweeps.folders import first_missing, remove_empty
from rnn_research.training.logs import LOG, logged

if TYPE_CHECKING:
    from rnn_research.training.spec import Pruning

_one_at_a_time = threading.RLock()
"""torch's and numpy's generators are the process's: of two runs at once, neither would draw what it draws alone."""


def run_one(
    spec: ComposedRun,
    folder: Path,
    *,
    progress: bool = False,
    go_on: bool = False,
    extends: Path | None = None,
    prune: Pruning | None = None,
) -> runs.RunRecord:
    """Train what `spec` says, leave everything in `folder`, and return the record.

    Reads no argv, prints nothing, and ends no process. May be called in a notebook, a thread or a process pool; of one
    process's threads, one trains at a time. The user's config folders become importable.

    Args:
        spec: composed; see `config.compose`.
        folder: the run's own, made where it is not there.
        progress: show a bar with the time left.
        go_on: the folder may hold this very run, stopped or killed earlier: it is trained on from its checkpoint, in
            its folder, and from the start where there is none.
        extends, prune: see `RunSpec`.

    Returns:
        The record as it is in the folder: `done` or `diverged`, or `failed` where anything but a mistake in what was
        asked for was raised; the traceback is in the folder's run.log.

    Raises:
        UsageError: what is asked for can't be had, or the folder holds a run. Nothing is left of it.
        KeyboardInterrupt: after an `interrupted` record is written.
        OSError: the folder can't be written.
    """
    with _one_at_a_time:
        top = first_missing(folder)
        try:
            with claims.claimed(folder):
                return _trained(
                    spec, folder, {"progress": progress, "go_on": go_on, "extends": extends, "prune": prune}
                )
        except (UsageError, OmegaConfBaseException, OSError, KeyboardInterrupt):
            remove_empty(folder, top)
            raise


def _trained(spec: ComposedRun, folder: Path, how: dict[str, Any]) -> runs.RunRecord:
    """`how`: further arguments of `RunSpec`."""
    from rnn_research.datasets.transfer import shows_bar
    from rnn_research.training.resume import ResumeError

    shows_bar.set(how["progress"])
    if not how["go_on"] and (found := runs.in_use(folder, LOG)):
        raise FolderInUse(f"{folder}: already holds {found}, nothing was written over")
    try:
        with logged(folder, spec.config.hydra.verbose):
            return _built_and_fitted(spec, folder, how)
    except (UsageError, ResumeError, OmegaConfBaseException, KeyboardInterrupt) as error:
        if not (folder / runs.RECORD).exists():
            (folder / LOG).unlink(missing_ok=True)
        if isinstance(error, ResumeError):
            raise UsageError(str(error)) from error
        raise
    except OSError:
        if not (folder / runs.RECORD).exists():
            (folder / LOG).unlink(missing_ok=True)
        raise
    except (Exception, SystemExit) as error:
        if (folder / runs.RECORD).exists() and (record := runs.read(folder)).status in ("failed", "done", "diverged"):
            return record
        return failed(spec, folder, f"{type(error).__name__}: {error}")


def failed(spec: ComposedRun, folder: Path, error: str) -> runs.RunRecord:
    """Write the record of a run that failed, and return it: that of one which could not be built, or was killed."""
    from rnn_research.training import provenance

    now = datetime.now(UTC).isoformat()
    if (folder / runs.RECORD).exists():
        record = replace(runs.read(folder), status="failed", end=now, error=error)
        runs.write(record, folder)
        return record
    cfg = spec.task
    record = runs.RunRecord(
        name=folder.name,
        status="failed",
        seed=cfg.seed,
        **_identity(spec, cfg, None),
        parameters=0,
        data={},
        versions=provenance.versions(),
        commit=provenance.commit(),
        sources=sources(spec.folders),
        machine=provenance.machine(),
        start=now,
        end=now,
        error=error,
    )
    runs.write(record, folder)
    return record


def _built_and_fitted(spec: ComposedRun, folder: Path, how: dict[str, Any]) -> runs.RunRecord:
    from rnn_research.checks import path_of
    from rnn_research.config.build import build
    from rnn_research.config.check import checkpoint_every, early_ending
    from rnn_research.training.fit import fit
    from rnn_research.training.signals import interrupts_first
    from rnn_research.training.spec import RunSpec

    cfg = spec.task
    for path in map(str, spec.folders):
        if path not in sys.path:
            sys.path.append(path)  # last: its modules hide none of python's
    with in_hydra(spec.config), interrupts_first():
        try:
            parts = build(cfg, spec.folders)
        except Exception:
            logging.getLogger(__name__).exception("the run could not start")
            raise
        identity = _identity(spec, cfg, parts.layout.name)
    run = RunSpec(
        folder,
        name=folder.name,
        seed=cfg.seed,
        loggers=parts.loggers,
        folders=spec.folders,
        resume_from=cfg.resume and path_of("resume", cfg.resume),
        checkpoint_every=checkpoint_every(cfg),
        **how,
        **early_ending(cfg),
        **identity,
    )
    return fit(parts.data, parts.model, parts.trainer, parts.probes, run)


def _identity(spec: ComposedRun, cfg: DictConfig, structure: str | None) -> dict[str, Any]:
    """What a record holds of the command."""
    folders = [str(folder) for folder in spec.folders]
    return identity_of(recorded(cfg), spec.choices, spec.typed, structure=structure, config_dirs=folders)
