"""Workers on this machine: processes that take the runs of a sweep's folder, begun with everything imported.

This process trains nothing. It passes on what the workers say, begins another where one was killed, and ends them where
it is told to end. A worker whose parent was killed stops as if it were told to.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from rnn_research.errors import UsageError
from rnn_research.sweeps import heart
from rnn_research.sweeps.worker import Event, Rules
from rnn_research.training.signals import STOPPING

TICK = 1.0
"""Seconds between two calls of `tick`."""
TO_STOP = 30.0
"""Seconds that workers have to write their checkpoints, once they are told to stop, before they are killed."""

MOST_STOPPED = 8
"""Workers in a row, without a run that ends meanwhile, that a signal may stop before no other is begun."""
SIGNALLED = 128
"""A worker that a signal has stopped ends with this code and the signal's number, as a shell says it."""


class Pool:
    """A few workers.

    Args:
        sweep: the sweep's folder.
        rules: what each worker does.
        count: how many there are.
        devices: the GPU of each, by its number; empty: as the environment says.
        tell: is told what happens to runs.
        lost: is told of a worker that ended before its work: the run that it had, if any, and how.
        tick: is called every second while they work; None: nothing is.
    """

    def __init__(
        self,
        sweep: Path,
        rules: Rules,
        count: int,
        devices: list[str],
        tell: Callable[[Event], None],
        lost: Callable[[Event | None, str], None],
        tick: Callable[[], None] | None = None,
    ) -> None:
        self.sweep, self.rules, self.devices, self.tell, self.lost = sweep, rules, devices, tell, lost
        self.tick = tick
        self.workers: dict[int, tuple[BaseProcess, Connection]] = {}
        self.has: dict[int, Event] = {}
        """What each worker trains."""
        kinds = multiprocessing.get_all_start_methods()
        self.stopped = 0
        self._context = multiprocessing.get_context("fork" if "fork" in kinds and sys.platform == "linux" else "spawn")
        for number in range(count):
            self._begin(number)

    def run(self) -> None:
        """Wait until every worker has ended.

        Raises:
            KeyboardInterrupt: a signal came; all workers have stopped.
            UsageError: a worker can't work.
        """
        try:
            while self.workers:
                ready = wait([line for _, line in self.workers.values()], TICK if self.tick else None)
                if self.tick:
                    self.tick()
                for number, (process, line) in list(self.workers.items()):
                    if line in ready:
                        self._hear(number, process, line)
        finally:
            self._end()

    def _begin(self, number: int) -> None:
        here, there = self._context.Pipe()
        others = [line for _, line in self.workers.values()]
        device = self.devices[number % len(self.devices)] if self.devices else None
        process = self._context.Process(target=_work, args=(self.sweep, self.rules, device, there, [here, *others]))  # type: ignore[attr-defined]
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()  # or the worker would write it again
        process.start()
        there.close()
        self.workers[number] = process, here

    def _hear(self, number: int, process: BaseProcess, line: Connection) -> None:
        """One message of a worker, or its end."""
        try:
            event = line.recv()
        except (EOFError, OSError):
            self._ended(number, process, line)
            return
        self._told(number, event)
        if event.failed and self.rules.fail_fast:
            self._end()

    def _ended(self, number: int, process: BaseProcess, line: Connection) -> None:
        process.join()
        line.close()
        del self.workers[number]
        had, code = self.has.pop(number, None), process.exitcode or 0
        if code == 0 and had is None:
            return
        if code < 0 or code > SIGNALLED:
            how = f"by {signal.Signals(abs(code) % SIGNALLED).name}"
        else:
            how = "by a lost claim" if code == heart.LOST else f"with code {code}"
        self.lost(had, how)
        self.stopped += code > SIGNALLED  # those that are killed are counted with the run
        if self.stopped <= MOST_STOPPED:
            self._begin(number)

    def _told(self, number: int, event: Event | UsageError) -> None:
        """Raises the error of a worker that can't work."""
        if isinstance(event, UsageError):
            raise event
        if event.what == "began":
            self.has[number] = event
        else:
            self.has.pop(number, None)
            self.stopped = 0
            self.tell(event)

    def _end(self) -> None:
        """Tell all workers to stop, and wait; a further signal kills them."""
        for process, _ in self.workers.values():
            process.terminate()
        end = time.monotonic() + TO_STOP
        try:
            for process, _ in self.workers.values():
                process.join(max(0.0, end - time.monotonic()))
        finally:
            for number, (process, line) in self.workers.items():
                process.kill()
                process.join()
                self._drain(number, line)
            self.workers.clear()

    def _drain(self, number: int, line: Connection) -> None:
        """What a worker that has ended had still said."""
        with contextlib.suppress(EOFError, OSError, UsageError):
            while line.poll():
                self._told(number, line.recv())
        line.close()


def _work(sweep: Path, rules: Rules, device: str | None, line: Connection, others: list[Connection]) -> None:
    """The worker."""
    from rnn_research.cli.process import stop
    from rnn_research.config.queue import work

    with contextlib.suppress(OSError):
        os.setpgid(0, 0)  # Ctrl-C is the parent's to hear, and to pass on
    for other in others:
        other.close()
    for name in ("stdout", "stderr"):  # the table is the parent's to draw
        stream = getattr(sys, name)
        setattr(sys, name, getattr(stream, "rich_proxied_file", stream))
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    heard: list[int] = []
    for number in STOPPING:
        signal.signal(number, lambda number, frame: stop(number, frame, heard))
    threading.Thread(target=_follow, args=(line,), daemon=True).start()

    def tell(event: Event) -> None:
        with contextlib.suppress(OSError):  # the parent is gone
            try:
                line.send(event)
            except (TypeError, AttributeError):  # an error that can't be handed over
                line.send(Event(event.what, event.run, event.record, OSError(str(event.error)), event.seconds))

    try:
        work(sweep, rules=rules, trust=True, tell=tell)
    except KeyboardInterrupt:
        if heard:
            sys.exit(SIGNALLED + heard[-1])
        line.send(UsageError("a worker can't work: its run raised KeyboardInterrupt, and there was no signal"))
    except Exception as error:
        if not isinstance(error, UsageError):
            traceback.print_exc()
        line.send(UsageError(f"a worker can't work: {' '.join(f'{error}'.split()) or type(error).__name__}"))


def _follow(line: Connection) -> None:
    """Stop this process when its parent is gone."""
    with contextlib.suppress(EOFError, OSError):
        line.recv()
    os.kill(os.getpid(), signal.SIGTERM)
