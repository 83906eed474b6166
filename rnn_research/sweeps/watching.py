"""What happens to a sweep's runs, seen from outside: by their records, whoever trains them and wherever."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime

from rnn_research.records import runs
from rnn_research.records.runs import RunRecord
from rnn_research.sweeps import store
from rnn_research.sweeps.store import QueuedRun
from rnn_research.sweeps.worker import Event


class Watch:
    """Tells of runs that end, each time that one does.

    Args:
        todo: the runs that others train.
        retry: how often a run that failed is tried again.
    """

    def __init__(self, todo: Collection[QueuedRun], retry: int = 0) -> None:
        self.left = {run.digest: run for run in todo}
        """The runs that a worker would take, or has."""
        self.retry = retry
        self._failures = {run.digest: store.failures(run.folder) for run in todo}

    def look(self) -> Iterator[Event]:
        """What has ended since the last look."""
        for run in list(self.left.values()):
            try:
                state = store.recorded(run.folder)
            except runs.DamagedRecord as error:
                yield self._ended(run, Event("unwritten", run, error=OSError(str(error))))
                continue
            if state in store.FINAL:
                yield self._ended(run, _event(run))
            elif state == "failed" and (count := store.failures(run.folder)) > self._failures[run.digest]:
                self._failures[run.digest] = count
                yield self._ended(run, _event(run)) if count > self.retry else _event(run)

    def drop(self, digest: str) -> QueuedRun | None:
        """Look no more at a run, such as one that was refused. Returns it, if it was looked at."""
        return self.left.pop(digest, None)

    def _ended(self, run: QueuedRun, event: Event) -> Event:
        self.drop(run.digest)
        return event


def _event(run: QueuedRun) -> Event:
    record = runs.read(run.folder)
    return Event("ended", run, record, seconds=_seconds(record))


def _seconds(record: RunRecord) -> float:
    """How long a run took, by its own clock."""
    try:
        return (datetime.fromisoformat(record.end or "") - datetime.fromisoformat(record.start)).total_seconds()
    except ValueError:
        return 0.0
