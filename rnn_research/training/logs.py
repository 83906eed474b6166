"""The log of a run, in its own folder."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rnn_research.records.printable import printable

LOG = "run.log"


class _LogFile(logging.FileHandler):
    """A log that can't be written stops nothing, and says nothing: the run's other files will. A link in its place is
    not followed."""

    def _open(self) -> Any:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        return os.fdopen(os.open(self.baseFilename, flags, 0o666), "a", encoding=self.encoding)

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


@contextlib.contextmanager
def logged(folder: Path, verbose: bool | str | Sequence[str] = False) -> Iterator[None]:
    """Log to `folder/run.log` meanwhile: what the package and lightning say, and python's warnings.

    Args:
        verbose: what is logged in detail besides: true, all; or the names of loggers.
    """
    handler = _LogFile(folder / LOG, delay=True, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    detailed = [verbose] if isinstance(verbose, str) else [] if isinstance(verbose, bool) else list(verbose)
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in detailed)]
    levels = [logger.level for logger in loggers]
    root = loggers[0]
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if verbose is True else logging.INFO)
    for logger in loggers[1:]:
        logger.setLevel(logging.DEBUG)
    logging.captureWarnings(True)
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        root.removeHandler(handler)
        handler.close()
