"""Which metric is compared: what was asked for, or what says most; and which tasks don't have it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from rnn_research.compare.reading import split_metric
from rnn_research.compare.refused import NothingToCompare, choice
from rnn_research.records.runs import RunRecord

MOST_SAID = 6
"""So many metrics of a task are named."""


@runtime_checkable
class HasRecord(Protocol):
    """A run with its record."""

    @property
    def record(self) -> RunRecord: ...


@dataclass(frozen=True)
class ChosenMetrics:
    """What the runs of each task are compared by: `<split>_<name>`, None where no record of the task has any."""

    of_task: Mapping[str, str | None]

    @property
    def shared(self) -> str | None:
        """The metric of all tasks; None where they are compared by different ones, or by none."""
        names = {name for name in self.of_task.values() if name is not None}
        return names.pop() if len(names) == 1 else None


def choose_metrics(found: Iterable[HasRecord], asked: str | None) -> ChosenMetrics:
    """For every task `<split>_<name>` for what was asked; by default of the test split what has a baseline, accuracy
    first.

    What only has a baseline is known too: where all runs diverged, none was tested. By default all tasks have the same
    metric where they share one that is no loss: losses of different tasks are different quantities. Else each task has
    that of its own which says most.

    Raises:
        NothingToCompare: as `choose_metric`.
    """
    found = list(found)
    tasks: dict[str, list[HasRecord]] = defaultdict(list)
    for item in found:
        tasks[task_of(item.record)].append(item)
    name = choose_metric(found, asked)
    if name is None or not lacking_task(found, name) or asked is not None:
        return ChosenMetrics(dict.fromkeys(tasks, name))
    return ChosenMetrics({task: next(iter(_ranked(own)), None) for task, own in tasks.items()})


def choose_metric(found: Iterable[HasRecord], asked: str | None) -> str | None:
    """The one metric of all runs, as `choose_metrics` says; where tasks share none, by default the one that says most,
    which some lack.

    Raises:
        NothingToCompare: no run has what was asked for, or the runs on some task have other metrics alone.
    """
    found = list(found)
    ranked = _ranked(found)
    if asked is None:
        shared = [key for key in ranked if not key.endswith("loss") and not lacking_task(found, key)]
        return next(iter(shared or ranked), None)
    matching = [key for key in ranked if key == asked or split_metric(key)[1] == asked]
    if not matching:
        names = dict.fromkeys(split_metric(key)[1] for key in ranked)
        raise NothingToCompare(choice("metric", asked, [*ranked, *names]))
    everywhere = [key for key in matching if not lacking_task(found, key)]
    if not everywhere:
        lacking = lacking_task(found, matching[0])
        tasks = "; ".join(f"{task} has {', '.join(own[:MOST_SAID])}" for task, own in lacking.items())
        raise NothingToCompare(
            f"metric: given {asked}, which not all tasks have: {tasks}; look at the others alone "
            f"(--where dataset!={next(iter(lacking))}), or leave --metric out"
        )
    return everywhere[0]


def lacking_task(found: Iterable[HasRecord], metric: str) -> dict[str, list[str]]:
    """The tasks whose runs have metrics, but none of them this one, and which they have instead. A task without any,
    as where all runs diverged, may still have it."""
    tasks: dict[str, dict[str, None]] = {}
    for item in found:
        record = item.record
        tasks.setdefault(task_of(record), {}).update(dict.fromkeys((*record.final, *record.baselines)))
    return {task: list(own) for task, own in tasks.items() if own and metric not in own}


def task_of(record: RunRecord) -> str:
    """The data set that a run learned."""
    return record.choices.get("dataset") or str(record.data.get("name"))


def _ranked(found: Sequence[HasRecord]) -> list[str]:
    """Every metric of the records: the test split's first, then what has a baseline, accuracies, and losses last."""
    baselines = {key for item in found for key in item.record.baselines}
    known = dict.fromkeys(key for item in found for key in (*item.record.final, *item.record.baselines))
    return sorted(
        known,
        key=lambda key: (
            not key.startswith("test_"),
            key not in baselines,
            not key.endswith("accuracy"),
            key.endswith("loss"),
        ),
    )
