"""A paired test by ranks, for differences that are not near normal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnn_research.statistics.intervals import NAN
from rnn_research.statistics.paired import PairedTest

PAIRS = 6
"""From so many pairs on the smallest two-sided p-value, 2 / 2**n, is below .05."""


def signed_rank(differences: Sequence[float] | np.ndarray) -> PairedTest:
    """Wilcoxon's two-sided signed-rank test that the finite `differences` are symmetric about zero, exact.

    The statistic is the smaller of the sums of the ranks of |d| over d > 0 and d < 0; p = 2 P(W <= statistic), at
    most 1, over all 2**n signs (Wilcoxon 1945). Equal |d| share their mean rank, for which the same signs are counted;
    zeros are left out. No normal approximation at any n. None is made from fewer than 6 differences that are not zero:
    at 3 pairs the smallest p is .25, at 5 .06. Of solved-or-not (-1, 0, 1) it is McNemar's exact test.
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[np.isfinite(values)]
    values = np.round(
        values / (np.abs(values).max(initial=0.0) or 1.0), 9
    )  # .93 - .92 and .95 - .94 are one difference
    values = values[values != 0]
    n = len(values)
    if n < PAIRS:
        return PairedTest(NAN, NAN, n, f"{n} pair{'s' if n != 1 else ''} that differ, {PAIRS} needed")
    sizes, group = np.unique(np.abs(values), return_inverse=True)
    counts = np.bincount(group, minlength=len(sizes))
    twice = (2 * np.cumsum(counts) - counts + 1)[
        group
    ]  # twice the mean rank: a whole number also where ranks are shared
    smaller = int(min(twice[values > 0].sum(), twice[values < 0].sum()))
    return PairedTest(smaller / 2, min(1.0, 2 * float(_chances(twice, smaller).sum())), n)


def _chances(ranks: np.ndarray, most: int) -> np.ndarray:
    """P(W = w) for w = 0 ... `most`, where W is the sum of `ranks`, each counted with chance 1/2."""
    chances = np.zeros(most + 1)
    chances[0] = 1.0
    for rank in ranks:
        shifted = np.zeros_like(chances)
        shifted[rank:] = chances[: max(0, most + 1 - rank)]
        chances = (chances + shifted) / 2
    return chances
