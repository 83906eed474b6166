"""A table of what the workers of a sweep are at, where output is a terminal; lines that are printed stand above it."""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rnn_research.cli.console import on_terminal
from rnn_research.records.printable import printable
from rnn_research.sweeps import store
from rnn_research.sweeps.status import last_row
from rnn_research.sweeps.store import QueuedRun

if TYPE_CHECKING:
    from rich.table import Table

    from rnn_research.cli.sweeping import Sweep


class LiveTable:
    """What is trained now, how far it is, what it measured last, and about how long the rest takes.

    Args:
        sweep: the command's runs, and how they ended.
        workers: how many processes train.
        has: the runs that are trained now, by the worker's number.
    """

    def __init__(self, sweep: Sweep, workers: int, has: Callable[[], Mapping[int, QueuedRun]]) -> None:
        self.sweep, self.workers, self.has = sweep, workers, has
        self._since: dict[str, float] = {}
        self._alike = _in_all([run.label for run in sweep.runs])

    def table(self) -> Table:
        """The table as it is now."""
        from rich.table import Table

        found = Table(box=None, expand=True, header_style="dim", caption=self.summary(), caption_justify="left")
        found.add_column("run", ratio=1, no_wrap=True, overflow="ellipsis")
        for name in ("step", "last", "for"):
            found.add_column(name, no_wrap=True, justify="right")
        for _, run in sorted(self.has().items()):
            since = self._since.setdefault(run.digest, time.monotonic())
            found.add_row(*map(printable, (self._name(run), *_progress(run), _duration(time.monotonic() - since))))
        return found

    def summary(self) -> str:
        """How many runs have ended, and about how long the others take."""
        sweep = self.sweep
        counts = Counter(sweep.ended.values())
        over = sum(sweep.states[run.digest] in store.FINAL and run.digest not in sweep.ended for run in sweep.runs)
        counts["done"] += over
        said = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        left = len(sweep.runs) - counts.total()
        text = f"{said or 'none done'} of {len(sweep.runs)}"
        if sweep.seconds and left:
            text += f"; about {_duration(statistics.median(sweep.seconds) * left / min(self.workers, left))} left"
        return text

    def _name(self, run: QueuedRun) -> str:
        parts = [part for part in run.label.split(", ") if part not in self._alike]
        return f"#{self.sweep.places[run.digest]} {', '.join(parts)}"


def _in_all(labels: Sequence[str]) -> set[str]:
    """The parts that every label has: they tell no run from another."""
    return set.intersection(*(set(label.split(", ")) for label in labels)) if len(labels) > 1 else set()


def _progress(run: QueuedRun) -> tuple[str, str]:
    step, split, loss = last_row(run.folder)
    try:
        limit = (run.spec()["config"].get("trainer") or {}).get("max_steps")
    except (store.DamagedQueue, KeyError, AttributeError):
        limit = None
    of = f"/{limit}" if isinstance(limit, int) and limit > 0 else ""
    return f"{step}{of}", f"{split} loss {loss}" if split else ""


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextmanager
def live_table(
    sweep: Sweep, workers: int, has: Callable[[], Mapping[int, QueuedRun]]
) -> Iterator[Callable[[], None] | None]:
    """Show the table meanwhile, and give what renews it; None where output is no terminal.

    No thread renews it: workers are forked from this process, and a thread might hold a lock then.
    """
    if not on_terminal(sys.stdout):
        yield None
        return
    from rich.console import Console
    from rich.live import Live

    found = LiveTable(sweep, workers, has)
    console = Console(file=sys.stdout)  # type: ignore[arg-type]
    with Live(console=console, auto_refresh=False, transient=True, redirect_stderr=on_terminal(sys.stderr)) as live:
        yield lambda: live.update(found.table(), refresh=True)
