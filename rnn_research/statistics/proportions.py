"""Intervals of a share of runs, k of n: never of no width, not even of 3 of 3."""

from __future__ import annotations

import math

from rnn_research.checks import integer
from rnn_research.statistics.intervals import CLOPPER_PEARSON, CONFIDENCE, WILSON, Interval


def wilson(k: int, n: int, confidence: float = CONFIDENCE) -> Interval | None:
    """The share k / n with Wilson's score interval; None where n = 0.

    All p with |k/n - p| <= z sqrt(p (1 - p) / n): (k + z²/2 ± z sqrt(k (n - k) / n + z²/4)) / (n + z²) (Wilson 1927).
    Its coverage is nominal on average over p, not at each p: at n = 3, 5 and 10 it covers .96, .96 and .95 on average,
    and .83, .84 and .84 at the worst p, near 0 or 1. For a claim that must hold at every p, `clopper_pearson`.

    Raises:
        ValueError: k is no count from 0 to n.
    """
    _counts(k, n)
    if n == 0:
        return None
    from scipy.special import ndtri

    z = float(ndtri((1 + confidence) / 2))
    middle, half = k + z * z / 2, z * math.sqrt(k * (n - k) / n + z * z / 4)
    low = 0.0 if k == 0 else (middle - half) / (n + z * z)
    high = 1.0 if k == n else (middle + half) / (n + z * z)
    return Interval(k / n, low, high, n, method=WILSON)


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
