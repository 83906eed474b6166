"""Where the answers are right: accuracy by what is known of each sample, such as its length or the depth of its tree.

A run's table of answers is grouped by value when it is read, so that many runs fit in memory; values are put in the
same bins for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped

from rnn_research.compare.scales import MetricScale, scaled_interval
from rnn_research.records.printable import printable_values
from rnn_research.statistics.intervals import Interval

SET = "set"
SAID = ("predicted", "true", "correct", "loss")
MOST_VALUES = 12
"""A feature with more values is binned."""
BINS = 10


@dataclass(frozen=True, eq=False)
class AnswersByValue:
    """One run's answers by the values of one feature, numbers ascending, names as they come: how many samples
    have each, and the sum of what was measured over them."""

    value: Shaped[np.ndarray, " value"]
    count: Int[np.ndarray, " value"]
    total: Float[np.ndarray, " value"]


@dataclass(frozen=True, eq=False)
class Bins:
    """Ranges of a feature's values, both ends included; each value lies in one."""

    low: Shaped[np.ndarray, " bin"]
    high: Shaped[np.ndarray, " bin"]

    @property
    def labels(self) -> tuple[str, ...]:
        """`7`, `8 to 12`, or a set's name."""
        pairs = zip(map(_short, self.low), map(_short, self.high), strict=True)
        return tuple(low if low == high else f"{low} to {high}" for low, high in pairs)

    @property
    def named(self) -> bool:
        """Whether the values are names, and no numbers."""
        return self.low.dtype.kind == "U"


@dataclass(frozen=True, eq=False)
class Breakdown:
    """One condition's answers by one feature: in each bin the mean over seeds with its interval (None where no seed has
    a sample), and the samples of a seed."""

    bins: Bins
    mean: tuple[Interval | None, ...]
    samples: tuple[int, ...]


def measure(table: np.ndarray) -> str:
    """What is averaged: `accuracy`, or `loss` where nothing says what is correct."""
    return "accuracy" if "correct" in (table.dtype.names or ()) else "loss"


def answers_by_feature(table: np.ndarray) -> dict[str, AnswersByValue]:
    """A run's table of answers by each feature; samples without a value of it are left out.

    Raises:
        ValueError: it lacks a column, or one is of another kind.
    """
    names = table.dtype.names or ()
    said = table["correct" if "correct" in names else "loss"].astype(np.float64)
    found = {name: _grouped(table[name], said) for name in names if name not in SAID}
    if SET not in found or not len(table):
        raise ValueError("lacks the column set" if len(table) else "has no rows")
    return {name: group for name, group in found.items() if len(group.value)}


def _grouped(values: np.ndarray, said: np.ndarray) -> AnswersByValue:
    if values.dtype.kind not in "Ubiuf":
        raise ValueError("has a column that is neither numbers nor names")
    there = np.isfinite(values) if values.dtype.kind == "f" else np.ones(len(values), dtype=bool)
    value, first, where = np.unique(values[there], return_index=True, return_inverse=True)
    if values.dtype.kind == "U" and not all(map(str.isprintable, value.tolist())):
        return _grouped(np.array(printable_values(value.tolist()))[where], said)
    order = np.argsort(first) if values.dtype.kind == "U" else np.arange(len(value))
    count, total = np.bincount(where, minlength=len(value)), np.bincount(where, said[there], minlength=len(value))
    return AnswersByValue(value[order], count[order], total[order])


def bins(runs: Sequence[Mapping[str, AnswersByValue]]) -> dict[str, Bins]:
    """For each feature that has several values among the runs, the bins for all of them.

    Up to 12 values have one each. More are put in at most 10 bins with about as many samples each.
    """
    found = {}
    for name in dict.fromkeys(name for run in runs for name in run):
        groups = [run[name] for run in runs if name in run]
        if len({group.value.dtype.kind == "U" for group in groups}) == 1:
            among = _binned([group.value for group in groups], [group.count for group in groups])
            if len(among.low) > 1:
                found[name] = among
    return found


def _binned(values: Sequence[np.ndarray], counts: Sequence[np.ndarray]) -> Bins:
    joined = np.concatenate(values)
    if joined.dtype.kind == "U":
        names = np.array(list(dict.fromkeys(joined.tolist())))
        return Bins(names, names)
    value, where = np.unique(joined, return_inverse=True)
    if len(value) <= MOST_VALUES:
        return Bins(value, value)
    count = np.bincount(where, np.concatenate(counts))
    middle = (np.cumsum(count) - count / 2) / count.sum()
    number = np.minimum((middle * BINS).astype(np.int64), BINS - 1)
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    ends = np.append(starts[1:], len(value)) - 1
    return Bins(value[starts], value[ends])


def breakdown(
    seeds: Sequence[Sequence[Mapping[str, AnswersByValue]]],
    name: str,
    among: Bins,
    scale: MetricScale = MetricScale.PLAIN,
) -> Breakdown | None:
    """The runs of one condition, those of each seed together, by one feature; None where none has it. Of a seed's
    runs, which differ in what is pooled, the mean counts. `scale` is that of the means."""
    found = [[_means(run[name], among) for run in runs if name in run] for runs in seeds]
    found = [of_seed for of_seed in found if of_seed]
    if not found:
        return None
    means = [_of_seed(np.array([mean for mean, _ in of_seed])) for of_seed in found]
    samples = np.max([count for of_seed in found for _, count in of_seed], axis=0)
    return Breakdown(among, tuple(scaled_interval(own, scale) for own in np.array(means).T), tuple(samples.tolist()))


def _of_seed(means: Float[np.ndarray, "run bin"]) -> Float[np.ndarray, " bin"]:
    """The mean over a seed's runs that have a sample in the bin; NaN where none has."""
    there = np.isfinite(means)
    with np.errstate(invalid="ignore"):
        return np.where(there, means, 0.0).sum(axis=0) / there.sum(axis=0)


def _means(group: AnswersByValue, among: Bins) -> tuple[np.ndarray, np.ndarray]:
    if among.named:
        where = np.flatnonzero(group.value[:, None] == among.low[None]) % len(among.low)
    else:
        where = np.searchsorted(among.low, group.value, side="right") - 1
    count = np.bincount(where, group.count, minlength=len(among.low))
    with np.errstate(invalid="ignore"):
        return np.bincount(where, group.total, minlength=len(among.low)) / count, count.astype(np.int64)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
