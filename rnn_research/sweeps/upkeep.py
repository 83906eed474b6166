"""Runs of a sweep's folder that are tried again, begun anew, or tidied up. Each is planned first, then done."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path

from rnn_research.records import runs
from rnn_research.records.half_written import half_written
from rnn_research.sweeps import claims, links, store
from rnn_research.sweeps.export import contents, pack
from rnn_research.sweeps.store import QueuedRun


def to_retry(sweep: Path) -> list[QueuedRun]:
    """The runs that failed.

    Raises:
        UsageError: a run's folder is a link.
    """
    return [run for run in _own(sweep) if _state(run) == "failed"]


def retry(run: QueuedRun) -> None:
    """Let a run that failed be trained again, from its checkpoint where it has one."""
    (run.folder / store.FAILURES).unlink(missing_ok=True)


def to_reset(sweep: Path, all_of: bool = False) -> list[QueuedRun]:
    """The runs to begin anew: that failed, diverged or stopped, or whose record is damaged; or all.

    Raises:
        UsageError: a run's folder is a link.
    """
    states = (*store.STATES, "damaged") if all_of else ("failed", "diverged", "interrupted", "damaged")
    found = [run for run in _own(sweep) if _state(run) in states]
    return [run for run in found if run.folder.exists() and not claims.holder(run.folder)]


def keep(sweep: Path, replaced: Collection[QueuedRun]) -> Path:
    """Pack the records and tables of runs that are to be trained anew, and return where: a file that `find` finds no
    run in."""
    found = contents(sweep, only={run.folder for run in replaced})
    out = sweep / f"replaced-{datetime.now(UTC):%Y-%m-%d_%H-%M-%S}-{secrets.token_hex(2)}.zip"
    pack(found, out)
    return out


def reset(run: QueuedRun, still: Callable[[], bool] = lambda: True) -> bool:
    """Remove all that a run has left, so that it is pending again: of links in its folder, the links. Returns False
    where another has it just now.

    Args:
        still: whether it is to be done, asked when nobody else has the run.

    Raises:
        UsageError: its folder is a link; nothing was removed.
    """
    links.check_way(run)
    try:
        with claims.claimed(run.folder):
            if not still():
                return False
            for path in run.folder.iterdir():
                if not path.name.startswith(".claim-"):
                    _remove(path)
    except claims.Claimed:
        return False
    if run.folder.exists() and not any(run.folder.iterdir()):
        run.folder.rmdir()
    return True


def to_collect(sweep: Path, checkpoints: bool = False) -> Iterator[Path]:
    """Files that nothing needs any more: half written, claims of processes that are gone, the older checkpoint of runs
    that are done; with `checkpoints`, all checkpoints of these, after which they can't be trained on.

    Raises:
        UsageError: a run's folder is a link, or has one that leads out of it.
    """
    todo = _own(sweep)
    yield from (sweep / store.QUEUE).glob(".*.json.*")
    for run in todo:
        links.check_inside(run)
        if not run.folder.exists() or claims.holder(run.folder):
            continue
        yield from half_written(run.folder)
        if _state(run) in store.FINAL:
            yield from run.folder.glob(claims.NAME.format("*"))
            kept = (runs.PREVIOUS, runs.CHECKPOINT) if checkpoints else (runs.PREVIOUS,)
            yield from (run.folder / name for name in kept if (run.folder / name).exists())


def _own(sweep: Path) -> list[QueuedRun]:
    """The runs of a sweep, none of whose folders is a link."""
    found = store.listed(sweep)
    for run in found:
        links.check_way(run)
    return found


def _state(run: QueuedRun) -> str:
    try:
        return store.state(run)
    except runs.DamagedRecord:
        return "damaged"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
