"""Further places that a run's metrics go to, beside metrics.csv: lightning's loggers, each in a thread of its own.

The run does not wait for them, and does not end with them: one that fails costs a line in the log, and is left alone
from then on. They get the rows of metrics.csv as they are written, and at the end what the gradient does. A run that
goes on from a checkpoint gives them first the rows before it, so that they lack none and have none twice.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnn_research.records import runs
from rnn_research.records.runs import RunRecord

log = logging.getLogger(__name__)

TO_END = {"done": 60.0, "diverged": 60.0}
"""Seconds that a logger has, at most, for what it has not passed on when the run ends so."""
TO_BEGIN = 30.0
"""Seconds that a run with data workers waits, at most, until its loggers have begun: a process that is forked while
another thread imports something may wait for ever for what that thread holds."""
TO_STOP = 2.0
"""Likewise, of a run that was stopped or failed."""


@dataclass(frozen=True)
class Beginning:
    """What a logger is told first.

    Attributes:
        name: of the run.
        identity: tells the run from every other one; the same where it goes on in its folder.
        config: the whole config.
        rows: of metrics, before those to come: (step, values).
        again: whether the run goes on in its own folder, so that the logger may have these rows.
    """

    name: str
    identity: str
    config: Mapping[str, Any]
    rows: Sequence[tuple[int, dict[str, float]]] = ()
    again: bool = False


class LoggerThread:
    """One logger, and the calls that wait for it.

    Args:
        name: of the option.
        make: makes lightning's Logger.
    """

    def __init__(self, name: str, make: Callable[[], Any]) -> None:
        self.name, self._make = name, make
        self._calls: queue.SimpleQueue[Callable[[Any], None] | None] = queue.SimpleQueue()
        self._failed = False
        self.begun = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name=f"logger {name}")
        self._thread.start()

    def call(self, what: Callable[[Any], None]) -> None:
        """Let the logger do something, after all that it was let to do before."""
        if not self._failed:
            self._calls.put(what)

    def close(self) -> None:
        """Take no more calls."""
        self._calls.put(None)

    def join(self, seconds: float) -> None:
        """Wait for the calls that are left, but not for ever."""
        self._thread.join(max(0.0, seconds))
        if self._thread.is_alive() and not self._failed:
            self._warn(f"has not passed on the last rows within {seconds:.0f} s")

    def _work(self) -> None:
        logger: Any = None
        try:
            logger = self._make()
            while (what := self._calls.get()) is not None:
                what(logger)
                self.begun.set()
        except BaseException as error:  # SystemExit of a library, too
            self._warn(f"failed, and is left alone: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
            if hasattr(logger, "abandon"):
                logger.abandon()
        finally:
            self.begun.set()

    def _warn(self, what: str) -> None:
        self._failed = True
        log.warning("logger.%s: %s; metrics.csv and the record have all", self.name, what)


class RunLoggers:
    """The loggers of a run.

    Args:
        makers: make each, given `save_dir`.
        folder: the run's own.
    """

    def __init__(self, makers: Mapping[str, Callable[..., Any]], folder: Path) -> None:
        self.makers, self.folder = makers, folder
        self._threads: list[LoggerThread] = []

    def __bool__(self) -> bool:
        return bool(self.makers)

    def begin(self, record: RunRecord, lines: str = "", again: bool = False) -> None:
        """Start them.

        Args:
            lines: of metrics.csv, before those to come.
            again: whether the run goes on in its own folder.
        """
        if not self.makers:
            return
        said = f"{record.name} {record.start} {record.machine.get('host', '')}"
        identity = hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        beginning = Beginning(record.name, identity, runs.plain(record.config), rows_of(lines), again)
        for name, make in self.makers.items():
            thread = LoggerThread(name, lambda make=make: make(save_dir=str(self.folder)))
            thread.call(lambda logger: _begin(logger, beginning))
            self._threads.append(thread)

    def wait(self) -> None:
        """Wait until they have begun: for runs that fork data workers."""
        end = time.monotonic() + TO_BEGIN
        for thread in self._threads:
            thread.begun.wait(max(0.0, end - time.monotonic()))

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """One row, with the set before each metric's name."""
        for thread in self._threads:
            thread.call(lambda logger: logger.log_metrics(dict(values), step=step))

    def gradient(self, values: Mapping[str, float], verdict: str, step: int) -> None:
        """What the gradient does at the end, in numbers and in words."""
        for thread in self._threads:
            thread.call(lambda logger: logger.log_metrics(dict(values), step=step))
            thread.call(lambda logger: _text(logger, "gradient_verdict", verdict, step))

    def close(self, status: str) -> None:
        """Let them end, and wait a while."""
        ended = "success" if status == "done" else status
        for thread in self._threads:
            thread.call(lambda logger: getattr(logger, "end", logger.finalize)(ended))
            thread.close()
        end = time.monotonic() + TO_END.get(status, TO_STOP)
        for thread in self._threads:
            thread.join(end - time.monotonic())
        self._threads = []


def rows_of(lines: str) -> list[tuple[int, dict[str, float]]]:
    """Lines of metrics.csv as loggers are given them: (step, values), each metric with the set before its name."""
    if not lines:
        return []
    header, *rows = csv.reader(lines.splitlines())
    found = []
    for row in rows:
        cells = dict(zip(header, row, strict=False))
        step, split = int(cells.pop("step")), cells.pop("split")
        cells.pop("epoch", None)
        named = {name if name == "lr" else f"{split}_{name}": float(value) for name, value in cells.items() if value}
        found.append((step, named))
    return found


def _begin(logger: Any, beginning: Beginning) -> None:
    """Tell a logger what run it is. One of lightning's own is told the config and the rows."""
    if hasattr(logger, "begin"):
        logger.begin(beginning)
        return
    logger.log_hyperparams(dict(beginning.config))
    for step, values in beginning.rows:
        logger.log_metrics(values, step=step)


def _text(logger: Any, name: str, text: str, step: int) -> None:
    """Words, where a logger takes any."""
    if hasattr(logger, "text"):
        logger.text(name, text, step)
