"""What a command does with its process: how it answers signals, and where its log goes."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rnn_research.records.printable import printable
from rnn_research.training.signals import STOPPING

LOG = "run.log"
SAID = tuple(f"rnn_research.{part}" for part in ("clipping", "config", "regularizers", "unroll.compiled"))
"""Loggers whose warnings are of what the user asked for, or waits for."""
stopped: list[int] = []
"""The signals that stopped training."""


@contextlib.contextmanager
def answering(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Answer the signals of `STOPPING` with `handler`; one that is ignored stays so: Ctrl-C in a process that a shell
    started in the background, SIGHUP under nohup."""
    found = {}
    if threading.current_thread() is threading.main_thread():
        found = {number: signal.getsignal(number) for number in STOPPING}
    before = {number: old for number, old in found.items() if old not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def leave(number: int, _: Any, discard: Callable[[], None] | None = None) -> None:
    """End the process. While nothing trains: an exception in the midst of an import may be swallowed, or become
    another."""
    if discard is not None:
        discard()
    with contextlib.suppress(OSError):  # the terminal may be gone
        os.write(2, b"rnn-train: interrupted\n")
    os._exit(128 + number)


def stop(number: int, _: Any) -> None:
    """Raise KeyboardInterrupt. While a run trains: it leaves its record."""
    stopped.append(number)
    raise KeyboardInterrupt


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage meanwhile. What imports make stays, and python looks through all of it again and again: a
    sixth of the time that lightning takes to import."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class _LogFile(logging.FileHandler):
    """A log that can't be written stops nothing, and says nothing: the run's other files will."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))

    def handleError(self, record: logging.LogRecord) -> None:
        pass

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


class _Terminal(logging.Handler):
    """Beside the progress bar: what the user may not have meant."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        with contextlib.suppress(OSError):
            tqdm.write(printable(f"rnn-train: {record.getMessage()}"), file=sys.stderr)


@contextlib.contextmanager
def logged(folder: Path) -> Iterator[None]:
    """Log to `folder/run.log`: ours, lightning's, and python's warnings. The terminal gets those of `SAID` alone."""
    handler = _LogFile(folder / LOG, delay=True, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    terminal = _Terminal(logging.WARNING)
    for name in SAID:
        logging.getLogger(name).addHandler(terminal)
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.setLevel(level)
        root.removeHandler(handler)
        for name in SAID:
            logging.getLogger(name).removeHandler(terminal)
        handler.close()
