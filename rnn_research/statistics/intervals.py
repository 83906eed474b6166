"""Means over seeds with Student's 95% interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from jaxtyping import Float, Shaped

CONFIDENCE = 0.95
EQUAL = 1e-9
"""Values that differ by less, in parts of the largest, are equal."""


@dataclass(frozen=True)
class Interval:
    """The mean over `n` seeds and its 95% interval.

    The ends are NaN where n = 1 gives none, and where all values are equal: seeds that agree by chance, or values that
    only come in steps, don't say how sure the mean is.
    """

    mean: float
    low: float
    high: float
    n: int

    def within(self, low: float, high: float) -> Interval:
        """The interval with its ends moved to where values can lie; NaN stays NaN."""
        return replace(self, low=max(self.low, low), high=min(self.high, high))

    def as_one_of(self, count: int) -> Interval:
        """The interval widened by Bonferroni, so that 95% of `count` such intervals at once hold all their means."""
        wider = t_quantile(self.n - 1, 1 - (1 - CONFIDENCE) / max(count, 1)) / t_quantile(self.n - 1)
        low, high = (self.mean + wider * (end - self.mean) for end in (self.low, self.high))
        return replace(self, low=low, high=high)


@dataclass(frozen=True, eq=False)
class Band:
    """`Interval` at each `x`: mean ± t s / sqrt(n) over the seeds, of what the field that holds it names."""

    x: Shaped[np.ndarray, " x"]
    mean: Float[np.ndarray, " x"]
    low: Float[np.ndarray, " x"]
    high: Float[np.ndarray, " x"]
    n: int


def interval(values: Sequence[float] | np.ndarray, resolution: float = 0.0) -> Interval | None:
    """The mean of the finite `values` and its 95% interval by Student's t; None where there is none.

    Args:
        resolution: values that differ by less are equal.
    """
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return None
    mean, half = float(finite.mean()), float(half_width(finite))
    if np.ptp(finite) <= max(resolution, EQUAL * float(np.abs(finite).max())):
        half = float("nan")
    return Interval(mean, mean - half, mean + half, len(finite))


def band(xs: Sequence[np.ndarray], ys: Sequence[np.ndarray]) -> Band | None:
    """The mean of the seeds' curves (x, y) at the x they share; None where they share none of what they have."""
    if not xs:
        return None
    x = xs[0]
    for other in xs[1:]:
        x = np.intersect1d(x, other)
    if not len(x) and any(map(len, xs)):
        return None
    rows = np.stack([y[np.searchsorted(own, x)] for own, y in zip(xs, ys, strict=True)]).astype(np.float64)
    with np.errstate(invalid="ignore"):  # a norm of exactly zero is a log of -inf, and stays one
        mean, half = rows.mean(0), half_width(rows)
        return Band(x, mean, mean - half, mean + half, len(rows))


def half_width(rows: np.ndarray) -> np.ndarray:
    """t s / sqrt(n) over axis 0; NaN for one row."""
    if len(rows) < 2:
        return np.full(rows.shape[1:], np.nan)
    return np.asarray(t_quantile(len(rows) - 1) * rows.std(axis=0, ddof=1) / np.sqrt(len(rows)))


def half_widths(rows: Float[np.ndarray, "row column"]) -> Float[np.ndarray, " column"]:
    """`half_width` of each column over its rows that are not NaN; NaN where there are fewer than two."""
    count = np.sum(~np.isnan(rows), axis=0)
    if len(rows) and count.min(initial=len(rows)) == len(rows):
        return half_width(rows)
    filled = np.where(np.isnan(rows), 0.0, rows)
    mean = filled.sum(0) / np.maximum(count, 1)
    squares = np.where(np.isnan(rows), 0.0, (filled - mean) ** 2).sum(0)
    t = np.array([np.nan, np.nan, *(t_quantile(n - 1) for n in range(2, len(rows) + 1))])[count]
    return t * np.sqrt(squares / np.maximum(count - 1, 1) / np.maximum(count, 1))


@cache
def t_quantile(df: int, confidence: float = CONFIDENCE) -> float:
    """t with P(|T| < t) = `confidence` for Student's T with `df` degrees of freedom."""
    # Here, since it takes longer than the help; and not scipy.stats, which takes six times as long.
    from scipy.special import stdtrit

    return float(stdtrit(df, (1 + confidence) / 2))
