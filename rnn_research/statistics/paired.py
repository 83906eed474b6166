"""Differences between two conditions, pair by pair."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from rnn_research.statistics.intervals import NAN, no_interval


@dataclass(frozen=True)
class PairedTest:
    """A two-sided test that `n` paired differences lie about zero."""

    statistic: float
    p: float
    n: int
    why: str = ""
    """Why there is no p-value, such as `2 seeds`; `statistic` and `p` are then NaN."""


def pair_differences(
    treated: Iterable[tuple[Hashable, float]], control: Iterable[tuple[Hashable, float]]
) -> Float[np.ndarray, " pair"]:
    """`treated` less `control` for each pair that both have, in the order of `treated`.

    Args:
        treated, control: (pair, value); of several values of one pair their mean counts.
    """
    ours, theirs = (_means(values) for values in (treated, control))
    return np.array([ours[pair] - theirs[pair] for pair in ours if pair in theirs], dtype=np.float64)


def paired_t(differences: Sequence[float] | np.ndarray, resolution: float = 0.0) -> PairedTest:
    """The two-sided paired t-test that the mean of the finite `differences` is zero: P(|T| > |m| sqrt(n) / s).

    T is Student's with n - 1 degrees of freedom (Student 1908); exact for normal differences, and in accord with
    `interval`: p < .05 where its 95% interval leaves out zero. None is made for fewer than 3 pairs, nor where all
    differ by the same: that is no evidence of a spread of zero.

    Args:
        resolution: differences that differ by less are equal.
    """
    finite = np.asarray(differences, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    n = len(finite)
    if why := no_interval(finite, resolution):
        return PairedTest(NAN, NAN, n, why)
    from scipy.special import stdtr

    t = float(finite.mean()) * math.sqrt(n) / float(finite.std(ddof=1))
    return PairedTest(t, float(2 * stdtr(n - 1, -abs(t))), n)


def _means(values: Iterable[tuple[Hashable, float]]) -> Mapping[Hashable, float]:
    by_pair: dict[Hashable, Sequence[float]] = {}
    for pair, value in values:
        by_pair[pair] = [*by_pair.get(pair, ()), value]
    return {pair: float(np.mean(of_pair)) for pair, of_pair in by_pair.items()}
