"""Intervals of a share of runs, k of n, and of the difference of two: never of no width, not even of 3 of 3."""

from __future__ import annotations

import math

from rnn_research.checks import integer
from rnn_research.statistics.intervals import CLOPPER_PEARSON, CONFIDENCE, NAN, NEWCOMBE, SEEDS, WILSON, Interval


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


def share_difference(ours: tuple[int, int], theirs: tuple[int, int], confidence: float = CONFIDENCE) -> Interval | None:
    """The share of `ours` less that of `theirs`, each (k, n) of runs of their own, with Newcombe's interval.

    With Wilson's intervals [l, u] of both shares p and q: from d - sqrt((p - l)² + (u' - q)²) to
    d + sqrt((u - p)² + (q - l')²), d = p - q (Newcombe 1998, method 10). For runs that aren't paired; of pairs,
    `signed_rank` of the differences is McNemar's exact test. As Wilson's, nominal on average over the shares: of 3, 5
    and 10 runs a side it calls equal shares different at most 3%, 6% and 4% of the time. Of 2 it would 12%, so that
    there is no interval below 3. None where a side has no runs; `n` is the fewer.

    Raises:
        ValueError: a k is no count from 0 to its n.
    """
    one, other = wilson(*ours, confidence), wilson(*theirs, confidence)
    if one is None or other is None:
        return None
    n = min(one.n, other.n)
    if n < SEEDS:
        return Interval(one.mean - other.mean, NAN, NAN, n, f"{n} run{'s' if n > 1 else ''}", NEWCOMBE)
    down = math.hypot(one.mean - one.low, other.high - other.mean)
    up = math.hypot(one.high - one.mean, other.mean - other.low)
    between = one.mean - other.mean
    return Interval(between, between - down, between + up, n, method=NEWCOMBE)


def _counts(k: int, n: int) -> None:
    integer("n", n, least=0)
    integer("k", k, least=0, most=n)
