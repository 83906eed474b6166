"""The interval of a share of runs, k of n: never of no width, not even of 3 of 3."""

from __future__ import annotations

from rnn_research.checks import integer
from rnn_research.statistics.intervals import CLOPPER_PEARSON, CONFIDENCE, Interval


def clopper_pearson(k: int, n: int, confidence: float = CONFIDENCE) -> Interval | None:
    """The share k / n with the exact interval of Clopper and Pearson; None where n = 0.

    From the a/2 quantile of Beta(k, n - k + 1) to the 1 - a/2 quantile of Beta(k + 1, n - k), a = 1 - confidence
    (Clopper and Pearson 1934): the p that two one-sided binomial tests at a/2 don't reject. It covers at least its
    rate at every p and n, and more at most of them. Runs are independent and equally likely to succeed.

    Raises:
        ValueError: k is no count from 0 to n.
    """
    _counts(k, n)
    if n == 0:
        return None
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))
    high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - tail))
    return Interval(k / n, low, high, n, method=CLOPPER_PEARSON)


def _counts(k: int, n: int) -> None:
    integer("n", n, least=0)
    integer("k", k, least=0, most=n)
