"""Signals while a run trains: heard between two steps of the optimiser, and not while the record is written."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR2") if hasattr(signal, name))
"""Ctrl-C, what a batch system sends, what a terminal sends as it is closed, and what Slurm may be told to send."""

AGAIN = 0.5
"""Seconds after which another Ctrl-C is meant: a terminal and a wrapper may both pass on the first."""


class DeferredSignals:
    """Signals that come while `holding` wait for `release`: weights are never left half updated."""

    def __init__(self) -> None:
        self.holding = False
        self._waiting: list[tuple[Callable[..., Any], int]] = []
        self._last = signal.SIGINT.value
        self._since = 0.0
        self._stopped = False
        self.owed: list[int] = []
        """Signals that came while the record of a run that is over was written: answered when all is written."""

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Stand before the handlers of `STOPPING`, where they are functions and this is the main thread. The handler
        that torch sets for processes that make batches goes with the training."""
        before, main = {}, threading.current_thread() is threading.main_thread()
        children = signal.getsignal(signal.SIGCHLD)
        if main:
            before = {number: signal.getsignal(number) for number in STOPPING}
        before = {number: handler for number, handler in before.items() if callable(handler) or _ends(number, handler)}
        for number, handler in before.items():
            signal.signal(number, self._before(handler if callable(handler) else signal.default_int_handler))
        try:
            with insisting(lambda: self._last):
                yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if main:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL if children is None else children)
            for number in self.owed:
                signal.raise_signal(number)

    def release(self) -> None:
        """Answer what came meanwhile."""
        self.holding = False
        while self._waiting:
            handler, number = self._waiting.pop(0)
            handler(number, None)

    def stopped(self, error: BaseException) -> bool:
        """Whether a signal stopped training: it is the error, or it ended a worker and is here too, or on its way. Of
        another error it is forgotten what came meanwhile, which would only hide it."""
        if _ended_a_worker(error) and not self._stopped:
            self.holding, end = True, time.monotonic() + 0.5
            while not self._waiting and time.monotonic() < end:
                time.sleep(0.01)
            self._stopped = bool(self._waiting)
            with suppress(KeyboardInterrupt):  # its handler notes which it was
                self.release()
        self.holding = False
        self._waiting.clear()
        return self._stopped or stopped(error)

    def _before(self, handler: Callable[..., Any]) -> Callable[[int, Any], None]:
        def hear(number: int, frame: Any) -> None:
            self._last = number
            if self.holding and self._waiting and time.monotonic() - self._since > AGAIN and number == signal.SIGINT:
                os._exit(128 + number)  # a second Ctrl-C: the checkpoint of before is there
            if self.holding:
                self._since = self._since if self._waiting else time.monotonic()
                self._waiting.append((handler, number))
            else:
                handler(number, frame)

        return hear


@contextmanager
def insisting(last: Callable[[], int]) -> Iterator[None]:
    """An interrupt is never lost: one that python drops, since it came in a `__del__` or a callback, comes again a
    moment later; another error that takes its place, in a clean-up, is an interrupt too. What torch tells of the end of
    a worker, in a `__del__`, is dropped: it notices that again where the next batch is waited for.

    Args:
        last: the number of the last signal.
    """
    told = sys.unraisablehook

    def tell(found: Any) -> None:
        error = found.exc_value
        if isinstance(error, KeyboardInterrupt):
            again = threading.Timer(0.02, os.kill, (os.getpid(), last()))
            again.daemon = True
            again.start()
        elif not (isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker")):
            told(found)

    sys.unraisablehook = tell
    try:
        with interrupts_first():
            yield
    finally:
        sys.unraisablehook = told


@contextmanager
def interrupts_first() -> Iterator[None]:
    """An error that took the place of an interrupt, in a clean-up on its way, is the interrupt."""
    try:
        yield
    except Exception as error:
        if stopped(error):
            raise KeyboardInterrupt from error
        raise


@contextmanager
def undisturbed() -> Iterator[list[int]]:
    """A second Ctrl-C, or a worker that a signal killed as well, must not cost the record: neither is answered here.
    Yields the signals that come."""
    heard: list[int] = []
    note = lambda number, frame: heard.append(number)  # noqa: E731
    calm: dict[int, Any] = {**dict.fromkeys(STOPPING, note), signal.SIGCHLD: signal.SIG_DFL}
    calm = calm if threading.current_thread() is threading.main_thread() else {}
    before = {number: signal.signal(number, handler) for number, handler in calm.items()}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _ends(number: int, handler: Any) -> bool:
    """Whether a signal would end this process in the midst of a step: SIGTERM, where nobody answers it."""
    return number == signal.SIGTERM and handler == signal.SIG_DFL


def _ended_a_worker(error: BaseException | None) -> bool:
    names = "|".join(re.escape(signal.strsignal(number) or "") for number in STOPPING)
    killed = re.match(rf"DataLoader worker .* (is killed by signal: ({names})|exited unexpectedly)", str(error))
    return error is not None and (killed is not None or _cut_off(error) or _ended_a_worker(error.__context__))


def _cut_off(error: BaseException) -> bool:
    """Whether a worker was gone before the batch that it announced was read."""
    if not isinstance(error, OSError | EOFError):
        return False
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__") == "torch.utils.data.dataloader" for frame, _ in frames)


def stopped(error: BaseException | None) -> bool:
    """Whether a signal stopped training: lightning makes a SystemExit of the interrupt, and a worker that the signal
    killed too may add another error. A SystemExit that a user's code raises is none."""
    if error is None:
        return False
    of_lightning = type(error).__name__ == "SIGTERMException"  # by its name: commands import this module, and not it
    return isinstance(error, KeyboardInterrupt) or of_lightning or stopped(error.__context__)
