"""Differences between two conditions, pair by pair."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

import numpy as np

from rnn_research.statistics.intervals import Interval, interval


def paired_difference(
    treated: Iterable[tuple[Hashable, float]], control: Iterable[tuple[Hashable, float]], resolution: float = 0.0
) -> Interval | None:
    """The mean of `treated` less `control` over the pairs that both have, with its interval; None where there is none.

    Args:
        treated, control: (pair, value); of several values of one pair their mean counts.
        resolution: differences that differ by less are equal.
    """
    ours, theirs = (_means(values) for values in (treated, control))
    return interval([ours[pair] - theirs[pair] for pair in ours if pair in theirs], resolution)


def _means(values: Iterable[tuple[Hashable, float]]) -> Mapping[Hashable, float]:
    by_pair: dict[Hashable, Sequence[float]] = {}
    for pair, value in values:
        by_pair[pair] = [*by_pair.get(pair, ()), value]
    return {pair: float(np.mean(of_pair)) for pair, of_pair in by_pair.items()}
