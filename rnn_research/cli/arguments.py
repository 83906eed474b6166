"""What the smaller commands share: options whose mistakes are one line, and how a command ends."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable
from typing import NoReturn

from rnn_research.cli.console import forgiving, unwritable
from rnn_research.errors import UsageError
from rnn_research.records.printable import printable

INTERRUPTED = 130


class PlainParser(argparse.ArgumentParser):
    """A parser whose mistakes are one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Raise what the command says in one line."""
        raise UsageError(f"{message}; see {self.prog} --help")


def leaving(name: str, work: Callable[[], None]) -> int:
    """Do a command's work, and return its exit code: 0, 2 after one line on stderr, or 130 after Ctrl-C."""
    try:
        with forgiving():
            try:
                work()
            except UsageError as error:
                print(printable(f"{name}: error: {' '.join(str(error).split())}"), file=sys.stderr)
                return 2
            except KeyboardInterrupt:
                return INTERRUPTED
    except OSError as error:
        if not (said := unwritable(error)):
            raise
        with contextlib.suppress(OSError):
            print(f"{name}: error: {said}", file=sys.stderr)
        return 2
    return 0
