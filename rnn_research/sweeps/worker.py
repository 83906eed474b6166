"""A worker: it takes the runs of a sweep's folder one after the other, until none is left for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from rnn_research.errors import Incompatible, UsageError
from rnn_research.records import runs
from rnn_research.records.runs import RunRecord
from rnn_research.sweeps import claims, heart, links, store
from rnn_research.sweeps.folders import first_missing, remove_empty
from rnn_research.sweeps.observer import Observer
from rnn_research.sweeps.store import QueuedRun

MOST_DEATHS = 4
"""Processes that a run may take with it, without getting further, before it counts as failed."""
LOOK_AGAIN = 0.5
"""Seconds between looks at runs that others have."""


class Trainer(Protocol):
    """What a worker is given to train a run, and to write that one can't be."""

    def __call__(self, run: QueuedRun) -> RunRecord:
        """Train it in its folder, from its checkpoint where there is one; raises UsageError where it is refused."""
        ...

    def give_up(self, run: QueuedRun, reason: str) -> RunRecord:
        """Leave the record of a run that failed."""
        ...


@dataclass(frozen=True)
class Rules:
    """How a worker works.

    Attributes:
        only: the digests of the runs that it takes; None: all.
        retry: how often a run that failed is tried again.
        fail_fast: stop at the first failure.
        limit: the most runs that it trains; None: all.
        wait: wait for the runs that others have, and take them up where their processes end.
        patience: seconds after which a claim from another machine that doesn't grow is that of a process that is gone.
    """

    only: frozenset[str] | None = None
    retry: int = 0
    fail_fast: bool = False
    limit: int | None = None
    wait: bool = False
    patience: float = 60.0


@dataclass(frozen=True)
class Event:
    """What happened to a run.

    Attributes:
        what: `began`; `ended`, with its record; `refused`, where what it asks for can't be had; `unwritten`, where its
            folder can't be written.
        error: why, of the last two.
    """

    what: str
    run: QueuedRun
    record: RunRecord | None = None
    error: Exception | None = None
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether the run is to be mended."""
        if self.what == "began" or self.left_out:
            return False
        return self.record is None or self.record.status == "failed"

    @property
    def left_out(self) -> bool:
        """Whether it was refused for options that can't work together: a sweep over all pairs has some."""
        return isinstance(self.error, Incompatible)


def work(todo: Collection[QueuedRun], train: Trainer, rules: Rules, tell: Callable[[Event], None]) -> int:
    """Train the runs that are left, and return how many were.

    Args:
        todo: the runs of the sweep's folder.
        train: trains one.
        rules: which runs, and until when.
        tell: is told what happens.

    Raises:
        KeyboardInterrupt: a signal ended it; the run that was trained has left its record, and is free.
    """
    observer = Observer(rules.patience)
    left = [run for run in todo if rules.only is None or run.digest in rules.only]
    trained = 0
    while left:
        others: list[QueuedRun] = []
        again: list[QueuedRun] = []
        for run in sorted(left, key=_killed_before):
            if rules.limit is not None and trained >= rules.limit:
                return trained
            try:
                event = _take(run, train, rules, observer, tell)
            except claims.Claimed:
                others.append(run)
                continue
            if event is None:
                continue
            trained += event.record is not None
            tell(event)
            if event.failed and rules.fail_fast:
                return trained
            if event.record is not None and _is_left(run, rules):
                again.append(run)
        others = [run for run in others if _may_come(run, rules, observer)]
        if others and not again:
            time.sleep(LOOK_AGAIN)
        left = again + others
    return trained


def _killed_before(run: QueuedRun) -> bool:
    """Runs with which a process died come last: one that needs more memory than there is must not end every worker
    before the others are done."""
    return bool(claims.deaths(run.folder, store.progress(run.folder)))


def _may_come(run: QueuedRun, rules: Rules, observer: Observer) -> bool:
    """Whether a run that another has may still be this worker's: it waits for all, or does not know yet if the other's
    process is there."""
    if not _is_left(run, rules):
        return False
    return rules.wait or not claims.holder(run.folder, observer) or observer.undecided(run.folder)


def _is_left(run: QueuedRun, rules: Rules) -> bool:
    try:
        status = store.recorded(run.folder)
    except runs.DamagedRecord:
        return False
    if status == "failed":
        return store.failures(run.folder) <= rules.retry
    return status not in store.FINAL


def _take(
    run: QueuedRun, train: Trainer, rules: Rules, observer: Observer, tell: Callable[[Event], None]
) -> Event | None:
    """Claim a run and train it; None where nothing is left to do of it.

    Raises:
        Claimed: another has it.
    """
    if not _is_left(run, rules):
        return None
    try:
        links.check_inside(run)
    except UsageError as error:
        return Event("refused", run, error=error)
    top, start = first_missing(run.folder), time.monotonic()
    mark = store.progress(run.folder)
    claims.claim(run.folder, observer, mark)
    heart.watch(run.folder)
    event: Event | None = None
    try:
        if _is_left(run, rules) and run.path.exists():  # not done meanwhile, nor taken out of the queue
            tell(Event("began", run))
            record = _trained(run, train, mark)
            if record.status == "failed":
                store.note_failure(run.folder)
            event = Event("ended", run, record, seconds=time.monotonic() - start)
    except OSError as error:
        event = Event("unwritten", run, error=error)
    except store.DamagedQueue as error:
        if run.path.exists():  # else it was taken out of the queue just now
            event = Event("refused", run, error=UsageError(str(error)))
    except UsageError as error:
        event = Event("refused", run, error=error)
    finally:
        heart.forget(run.folder)
        claims.release(run.folder)
        if event is None or event.record is None:
            # One that was there may have been another worker's, which has removed it since: it is the sweep's own.
            remove_empty(run.folder, top or run.folder.absolute())
    return event


def _trained(run: QueuedRun, train: Trainer, mark: str) -> RunRecord:
    dead = claims.deaths(run.folder, mark)
    if dead >= MOST_DEATHS:
        reason = f"{dead} processes were killed while they trained it, and it got no further; is the memory enough?"
        return train.give_up(run, reason)
    return train(run)
