"""Workers elsewhere: started by a launcher, and watched from here by what they leave in the sweep's folder.

This process trains nothing and hands nothing out. It says how runs ended, starts other workers where some were lost,
and stops all where it is told to stop. It may be killed meanwhile: the workers go on, and the same command watches
again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rnn_research.cli import telling
from rnn_research.cli.remote_worker import WorkerReport
from rnn_research.cli.sweeping import Sweep
from rnn_research.errors import Incompatible, UsageError
from rnn_research.sweeps import claims
from rnn_research.sweeps.observer import Observer
from rnn_research.sweeps.watching import Watch
from rnn_research.sweeps.worker import Event, Rules

EVERY = 0.5
MOST = 10.0
"""Seconds between two looks at the runs: at least, at most; in between twenty times what a look takes."""
TO_END = 10.0
"""Seconds that workers have to end by themselves, once all runs have ended."""
MOST_LOST = 3
"""Workers, for each that is wanted, that may be lost without a run getting done before the sweep is given up."""


@dataclass(frozen=True)
class Lost:
    """A worker that ended without a report: it was killed, or its machine is gone."""

    why: str


class Workers(Protocol):
    """What a launcher does for a sweep."""

    def start(self, count: int) -> None:
        """Start so many workers more."""
        ...

    def ended(self) -> list[WorkerReport | Lost]:
        """Those that have ended since this was asked last."""
        ...

    @property
    def running(self) -> int:
        """How many have not ended, or not begun yet."""
        ...

    def stop(self) -> None:
        """Let all write their checkpoints and end, and wait for that."""
        ...


class Supervisor:
    """Keeps workers at work until a sweep is done.

    Args:
        sweep: is told what happens.
        rules: what the workers do.
        workers: starts them.
        count: how many are wanted.
    """

    def __init__(self, sweep: Sweep, rules: Rules, workers: Workers, count: int) -> None:
        self.sweep, self.rules, self.workers, self.count = sweep, rules, workers, count
        todo = [run for run in sweep.runs if rules.only is None or run.digest in rules.only]
        self.watch = Watch(todo, rules.retry)
        self.observer = Observer(rules.patience)
        self.fruitless = 0
        self._claims: dict[str, int] = {}
        """The most claims that lay in each run's folder: one more was made by a worker that had got so far."""
        self._took = 0.0

    def run(self) -> None:
        """Wait until every run has ended.

        Raises:
            UsageError: workers are lost again and again, or can't work.
            KeyboardInterrupt: a signal came; all workers have stopped.
        """
        try:
            self._start()
            while self._look():
                time.sleep(min(max(EVERY, 20 * self._took), MOST))
            self._let_end()
        finally:
            self.workers.stop()
            self._tell()

    def _let_end(self) -> None:
        """Workers that find nothing left end by themselves; those that did not begin yet are called off."""
        end = time.monotonic() + TO_END
        while self.workers.running and not self.watch.left and time.monotonic() < end:
            self.workers.ended()
            time.sleep(0.1)

    def _look(self) -> bool:
        """Whether something is left to wait for."""
        start = time.monotonic()
        go_on = self._tell()
        self._took = time.monotonic() - start
        for end in self.workers.ended():
            self._hear(end)
        if not go_on or not self.watch.left:
            return False
        if not self.workers.running:
            self._tell()  # what the last of them did
            if self.watch.left and not all(
                claims.holder(run.folder, self.observer) for run in self.watch.left.values()
            ):
                self._start()
        return bool(self.watch.left)

    def _start(self, most: int | None = None) -> None:
        wanted = min(self.count, len(self.watch.left)) - self.workers.running
        if (wanted := wanted if most is None else min(wanted, most)) > 0:
            self.workers.start(wanted)

    def _tell(self) -> bool:
        """Whether to go on, after what has happened."""
        for event in self.watch.look():
            self.fruitless = 0
            self.sweep.tell(event)
            if event.failed and self.rules.fail_fast:
                return False
        return True

    def _hear(self, end: WorkerReport | Lost) -> None:
        if isinstance(end, Lost):
            telling.say(f"a worker is lost: {end.why}; another takes up what it left")
            fruitless, why = not self._claimed(), end.why  # those that a run takes with it are counted with the run
        elif end.error:
            raise UsageError(f"a worker can't work: {end.error}")
        else:
            self._leave_out("refused", end.refused, UsageError)
            self._leave_out("refused", end.left_out, Incompatible)
            self._leave_out("unwritten", end.unwritten, OSError)
            fruitless, why = not end.trained, "they end without training what is left"
        self.fruitless = self.fruitless + 1 if fruitless else 0
        if self.fruitless > MOST_LOST * self.count and self.watch.left:
            raise UsageError(f"{self.fruitless} workers in a row got no run done: {why}")
        if isinstance(end, Lost):
            self._start(1)

    def _claimed(self) -> bool:
        """Whether a worker has claimed a run since, beside the claims of those that are lost."""
        before, found = self._claims, {digest: claims.made(run.folder) for digest, run in self.watch.left.items()}
        self._claims = {digest: max(count, before.get(digest, 0)) for digest, count in found.items()}
        return any(count > before.get(digest, 0) for digest, count in found.items())

    def _leave_out(self, what: str, found: dict[str, str], error: Callable[[str], Exception]) -> None:
        for digest, why in found.items():
            run = self.watch.drop(digest)
            if run is not None:
                self.sweep.tell(Event(what, run, error=error(why)))
