"""What holds over many tasks at once: of each setting of the other factors, where at least 5 tasks share the metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from rnn_research.compare.comparison import Comparison
from rnn_research.compare.conditions import Condition
from rnn_research.compare.scales import MetricScale, less_is_better
from rnn_research.statistics.across_tasks import TASKS, Profile, pooled_improvement, pooled_mean, profile
from rnn_research.statistics.intervals import Interval

DATASET = "dataset"
BOUNDS = tuple(k / 20 for k in range(21))
NAN = float("nan")


@dataclass(frozen=True, eq=False)
class AcrossTasks:
    """One setting over its tasks, with stratified bootstrap intervals."""

    options: dict[str, str]
    """Of each factor that is none of the task's."""
    metric: str
    """That all of its tasks are compared by."""
    tasks: tuple[str, ...]
    seeds: int
    """Those that every task has."""
    mean: Interval | None
    """The interquartile mean of shares (accuracy, F1); None of other metrics, which have no one scale over tasks."""
    profile: Profile | None
    """The share of runs above each of 0, 0.05, ... 1; of shares alone."""
    improvement: Interval | None
    """The chance that a run is better than one of the baseline's in the same task; None for the baseline itself, and
    where there is none to compare with."""


Scores = dict[str, dict[int, float]]
"""The metric by task and seed."""


def across_tasks(comparison: Comparison) -> tuple[AcrossTasks, ...]:
    """Every setting with at least 5 tasks that are compared by one metric; empty where there is none."""
    if DATASET not in comparison.varying:
        return ()
    metrics = dict.fromkeys(c.metric_name for c in comparison.conditions if c.metric_name is not None)
    return tuple(one for metric in metrics for one in _by(comparison, metric))


def _by(comparison: Comparison, metric: str) -> list[AcrossTasks]:
    """Every setting over the tasks that are compared by this metric."""
    factors = _settings(comparison)
    groups: dict[tuple[str, ...], Scores] = {}
    conditions = [condition for condition in comparison.conditions if condition.metric_name == metric]
    for condition in conditions:
        own = groups.setdefault(tuple(condition.options[factor] for factor in factors), {})
        own[_task(condition)] = _by_seed(condition)
    many = {options: scores for options, scores in groups.items() if len(scores) >= TASKS}
    shares = all(condition.scale is MetricScale.SHARE for condition in conditions)
    sign = -1.0 if less_is_better(metric) else 1.0
    found = []
    for options, scores in many.items():
        named = dict(zip(factors, options, strict=True))
        against = many.get(_baseline(named, comparison.baseline))
        table = _table(scores, list(scores))
        found.append(
            AcrossTasks(
                named,
                metric,
                tuple(scores),
                len(table),
                pooled_mean(table) if shares else None,
                profile(table, BOUNDS) if shares else None,
                None if against is None or against is scores else _improvement(scores, against, sign),
            )
        )
    return found


def _settings(comparison: Comparison) -> list[str]:
    """The factors that vary within a task; those that go with it, such as the structure it needs, are the task's."""
    kept = []
    for factor in comparison.varying:
        of_task: dict[str, set[str]] = {}
        for condition in comparison.conditions:
            of_task.setdefault(_task(condition), set()).add(condition.options[factor])
        if not _of_the_task(factor) and any(len(options) > 1 for options in of_task.values()):
            kept.append(factor)
    return kept


def _of_the_task(factor: str) -> bool:
    return factor.partition(".")[0] == DATASET


def _task(condition: Condition) -> str:
    return ", ".join(option for factor, option in condition.options.items() if _of_the_task(factor))


def _by_seed(condition: Condition) -> dict[int, float]:
    """Each seed's mean; NaN where one of its runs diverged, or lacks the metric."""
    values: dict[int, list[float]] = {}
    for run in condition.runs:
        values.setdefault(run.record.seed, []).append(NAN if run.diverged else run.score)
    return {seed: float(np.mean(own)) for seed, own in values.items()}


def _table(scores: Scores, tasks: Sequence[str]) -> Float[np.ndarray, "seed task"]:
    """The scores of the seeds that all tasks have."""
    seeds = sorted(set.intersection(*(set(scores[task]) for task in tasks))) if tasks else []
    return np.array([[scores[task][seed] for task in tasks] for seed in seeds]).reshape(len(seeds), len(tasks))


def _baseline(options: Mapping[str, str], reference: Mapping[str, str]) -> tuple[str, ...]:
    """The same setting with the baseline's options, in the order of the factors."""
    return tuple(reference.get(factor, option) for factor, option in options.items())


def _improvement(ours: Scores, theirs: Scores, sign: float) -> Interval:
    shared = [task for task in ours if task in theirs]
    return pooled_improvement(sign * _table(ours, shared), sign * _table(theirs, shared))
