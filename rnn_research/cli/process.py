"""What a command does with its process: how it answers signals, and what it shows while it waits."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from rnn_research.records.printable import printable
from rnn_research.training.signals import STOPPING, insisting

PARTS = (
    "clipping",
    "config.estimate",
    "config.notices",
    "regularizers",
    "training.go_on.code",
    "training.loggers",
    "unroll.compiled",
)
SAID = tuple(f"rnn_research.{part}" for part in PARTS)
"""Loggers whose warnings are of what the user asked for, or waits for."""
TOLD = tuple(f"rnn_research.datasets.{part}" for part in ("download", "licences", "transfer"))
"""Loggers of which all is shown: a download is waited for."""


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


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Meanwhile SIGINT is not ignored, as it is in what a script has started in the background. What is started here
    does not ignore it either: Ray and submitit end their workers by it."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def leave(number: int, _: Any, discard: Callable[[], None] | None = None) -> None:
    """End the process. While nothing trains: an exception in the midst of an import may be swallowed, or become
    another."""
    if discard is not None:
        discard()
    with contextlib.suppress(OSError):  # the terminal may be gone
        os.write(2, b"rnn-train: interrupted\n")
    os._exit(128 + number)


def stop(number: int, _: Any, heard: list[int]) -> None:
    """Note the signal, and raise KeyboardInterrupt. While a run trains: it leaves its record."""
    heard.append(number)
    raise KeyboardInterrupt


@contextlib.contextmanager
def stopping(heard: list[int]) -> Iterator[None]:
    """Signals of `STOPPING` are noted in `heard`, and end what is done within by a KeyboardInterrupt."""
    with answering(partial(stop, heard=heard)), insisting(lambda: heard[-1] if heard else signal.SIGINT):
        yield


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Signals of `STOPPING` wait meanwhile. A process that is forked within begins so."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def listen() -> None:
    """Hear the signals of `STOPPING` from now on, in a process that began where they were `unheard`."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


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


class _Terminal(logging.Handler):
    """Beside the progress bar: what the user may not have meant."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        with contextlib.suppress(OSError):
            tqdm.write(printable(f"rnn-train: {record.getMessage()}"), file=sys.stderr)


@contextlib.contextmanager
def noticed() -> Iterator[None]:
    """Show on the terminal, meanwhile, what the user may not have meant, or waits for."""
    terminals = dict.fromkeys(SAID, _Terminal(logging.WARNING)) | dict.fromkeys(TOLD, _Terminal(logging.INFO))
    for name, terminal in terminals.items():
        logging.getLogger(name).addHandler(terminal)
    try:
        yield
    finally:
        for name, terminal in terminals.items():
            logging.getLogger(name).removeHandler(terminal)
