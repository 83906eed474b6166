"""A comparison that is renewed while its runs are running."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rnn_research.compare import NothingToCompare
from rnn_research.compare.stamps import Stamp, run_stamps
from rnn_research.records import runs
from rnn_research.records.printable import printable
from rnn_research.sweeps import claims

QUIET = 10.0
"""For so many seconds nothing must be running: between two runs of a sweep there is none for a moment."""
FRESH = 60.0
"""Where a file was written within so many seconds, a sweep may be between two runs."""
STALE = 600.0
"""Seconds after which a run that nobody holds, and whose files stay as they are, counts as killed."""
NEVER = (0, 0, 0, 0)
CLEAR = "\x1b[2J\x1b[H"


def watch(folders: Sequence[Path], seconds: float, renew: Callable[[], object]) -> None:
    """Call `renew` now and whenever a run's files have changed, looking every `seconds`, until nothing is running.

    A look reads the status of the runs that have changed, and no table; what `renew` reads again is its affair.

    Raises:
        NothingToCompare: from `renew`, when nothing is running that could mend it.
    """
    files = RunFiles()
    before, quiet = None, 0.0
    while True:
        running = files.running(folders)  # first: what ends after this is seen in the next look
        if before is None and not running and not files.fresh():
            quiet = QUIET
        if files.stamps != before:
            before = files.stamps
            _renew(renew, running)
        if not running and quiet >= QUIET:
            return
        time.sleep(seconds)
        quiet = 0.0 if running else quiet + seconds


class RunFiles:
    """What is in the folders: the stamp of each file of each run, and the runs' statuses as far as they were read."""

    def __init__(self) -> None:
        self.stamps: dict[Path, dict[str, Stamp]] = {}
        self._statuses: dict[Path, tuple[Stamp, str]] = {}

    def running(self, folders: Iterable[Path]) -> list[Path]:
        """The runs that are running: their record says so, and somebody holds the folder or has just written there; or
        there is no record yet, and somebody holds the folder."""
        self.stamps = {folder: run_stamps(folder) for folder in runs.find(folders)}
        begun = {path.parent for folder in folders for path in folder.rglob(claims.NAME.format("*"))}
        begun = {folder for folder in begun if folder not in self.stamps and claims.holder(folder)}
        return [*(folder for folder, files in self.stamps.items() if self._is_running(folder, files)), *sorted(begun)]

    def fresh(self) -> bool:
        """Whether some file was written within the last minute."""
        return any(time.time() - _newest(files) < FRESH for files in self.stamps.values())

    def _is_running(self, folder: Path, files: dict[str, Stamp]) -> bool:
        stamp = files.get(runs.RECORD, NEVER)
        if folder not in self._statuses or self._statuses[folder][0] != stamp:
            try:
                self._statuses[folder] = stamp, runs.read(folder).status
            except runs.DamagedRecord:
                self._statuses[folder] = stamp, "damaged"
        if self._statuses[folder][1] != "running":
            return False
        return _is_alive(folder, files)


def stale(folders: Iterable[Path]) -> list[Path]:
    """Those of `folders`, runs whose records say that they are running, that nobody holds and whose files have not
    changed for 10 minutes."""
    return [folder for folder in folders if not _is_alive(folder, run_stamps(folder))]


def _is_alive(folder: Path, files: dict[str, Stamp]) -> bool:
    return time.time() - _newest(files) < STALE or bool(claims.holder(folder))


def _newest(files: dict[str, Stamp]) -> float:
    """When the last of them was written, in seconds."""
    return max((when for _, when, *_ in files.values()), default=0) / 1e9


def _renew(renew: Callable[[], object], running: Sequence[Path]) -> None:
    if sys.stdout.isatty():
        print(CLEAR, end="")
    try:
        renew()
    except NothingToCompare as error:
        if not running:
            raise
        print(printable(f"rnn-compare: waiting: {' '.join(str(error).split())}"), file=sys.stderr, flush=True)
    else:
        at = time.strftime("%H:%M:%S")
        print(f"rnn-compare: {at}, {len(running)} running", file=sys.stderr, flush=True)
