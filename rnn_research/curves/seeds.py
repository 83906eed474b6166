"""Means over seeds with Student's interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, Shaped

CONFIDENCE = 0.95
EQUAL = 1e-9
"""Values that differ by less, in parts of the largest, are equal."""


@dataclass(frozen=True)
class Interval:
    """The mean over `n` seeds and its 95% interval; NaN where n = 1 gives none, and where all are equal: seeds that
    agree by chance, or values that only come in steps, don't say how sure the mean is."""

    mean: float
    low: float
    high: float
    n: int


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
        resolution: what differs by less is equal.
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
    """The seeds' curves (x, y) together, at the x they share; None where they share none of what they have."""
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


def t_quantile(df: int, confidence: float = CONFIDENCE) -> float:
    """t with P(|T| < t) = `confidence` for Student's T with `df` degrees of freedom.

    With theta = atan(t / sqrt(df)) that probability is a finite sum of powers of cos theta (Abramowitz &
    Stegun 26.7.3 and 26.7.4), inverted by bisection.
    """
    low, high = 0.0, np.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_probability(middle, df) < confidence else (low, middle)
    return float(np.sqrt(df) * np.tan(low))


def _t_probability(theta: float, df: int) -> float:
    sine, cosine = np.sin(theta), np.cos(theta)
    k = np.arange(df % 2, df - 2, 2)
    factors = np.concatenate([[1.0], np.cumprod((k + 1) / (k + 2))])
    powers = factors * cosine ** np.arange(df % 2, df - 1 + df % 2, 2)[: len(factors)]
    if df % 2 == 0:
        return float(sine * powers.sum())
    return float(2 / np.pi * (theta + (sine * powers.sum() if df > 1 else 0.0)))


students = cache(t_quantile)


def half_width(rows: np.ndarray) -> np.ndarray:
    """t s / sqrt(n) over axis 0; NaN for one row."""
    if len(rows) < 2:
        return np.full(rows.shape[1:], np.nan)
    return np.asarray(students(len(rows) - 1) * rows.std(axis=0, ddof=1) / np.sqrt(len(rows)))
