"""What several seeds say together: means with Student's interval, a common curve, a common word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from jaxtyping import Float, Shaped

from rnn_research.curves.norms import Curve
from rnn_research.curves.rate import RESOLUTION, Decay, far_ratio, horizon
from rnn_research.curves.words import Verdict, reason

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """The mean over `n` seeds and its 95% interval, NaN where n = 1 gives none."""

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


@dataclass(frozen=True, eq=False)
class Reading:
    """The vanishing curve of one condition at one step.

    `curve` is the mean over seeds of `Curve.log_ratio` against distance, and `depth_sum`, in trees, of
    log(`Curve.depth_sum`) less its value at the smallest distance. `decay` has the mean rate with its
    interval over seeds (with one seed: over samples), and the horizon and far ratio of the mean curve.
    `words` are the seeds' own.
    """

    curve: Band
    depth_sum: Band | None
    decay: Decay
    verdict: Verdict
    words: tuple[str, ...]


def interval(values: Sequence[float] | np.ndarray) -> Interval | None:
    """The mean of the finite `values` and its 95% interval by Student's t; None where there is none."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return None
    mean, half = float(finite.mean()), float(_half_width(finite))
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
        mean, half = rows.mean(0), _half_width(rows)
        return Band(x, mean, mean - half, mean + half, len(rows))


def together(curves: Sequence[Curve], decays: Sequence[Decay], verdicts: Sequence[Verdict]) -> Reading | None:
    """The reading of a condition from its seeds'; None where there is no seed, or they share no distance.

    A seed without any gradient counts with its word alone; the curve is of the others.
    """
    speaking = [index for index, curve in enumerate(curves) if len(curve.distance)] or list(range(len(curves)))
    distances = [curves[index].distance for index in speaking]
    shared = band(distances, [curves[index].log_ratio for index in speaking])
    if shared is None:
        return None
    branching = any(curve.branching for curve in curves)
    depth_sum = band(distances, [_log_depth_sum(curves[index]) for index in speaking]) if branching else None
    words = tuple(verdict.word for verdict in verdicts)
    if len(curves) == 1 or not len(shared.x):
        return Reading(shared, depth_sum, decays[0], verdicts[0], words)
    common = _decay(shared, [decays[index] for index in speaking])
    return Reading(shared, depth_sum, common, _verdict(shared, common, verdicts), words)


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


_t = cache(t_quantile)


def _half_width(rows: np.ndarray) -> np.ndarray:
    """t s / sqrt(n) over axis 0; NaN for one row."""
    if len(rows) < 2:
        return np.full(rows.shape[1:], np.nan)
    return np.asarray(_t(len(rows) - 1) * rows.std(axis=0, ddof=1) / np.sqrt(len(rows)))


def _decay(shared: Band, decays: Sequence[Decay]) -> Decay:
    first, nan = decays[0], float("nan")
    rates = interval([decay.rate for decay in decays]) or Interval(nan, nan, nan, 0)
    return replace(
        first,
        rate=rates.mean,
        low=min(rates.low, rates.mean - RESOLUTION) if rates.n > 1 else nan,
        high=max(rates.high, rates.mean + RESOLUTION) if rates.n > 1 else nan,
        bounded=any(decay.bounded for decay in decays),
        r_squared=_mean([decay.r_squared for decay in decays]),
        horizon=horizon(shared.x, shared.mean, first.fraction),
        far_ratio=far_ratio(shared.mean),
        used=min(decay.used for decay in decays),
        left_out="; ".join(dict.fromkeys(decay.left_out for decay in decays if decay.left_out)),
        power=_mean([decay.power for decay in decays]),
        aic_exponential=float(np.sum([decay.aic_exponential for decay in decays])),
        aic_power=float(np.sum([decay.aic_power for decay in decays])),
    )


def _log_depth_sum(curve: Curve) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(curve.depth_sum)
        return log - log[:1]


def _mean(values: Sequence[float]) -> float:
    whole = interval(values)
    return whole.mean if whole else float("nan")


def _verdict(shared: Band, decay: Decay, verdicts: Sequence[Verdict]) -> Verdict:
    """The seeds' common word; where they disagree `mixed`, with the counts."""
    counts = Counter(verdict.word for verdict in verdicts).most_common()
    said = reason(shared.x, shared.mean, decay) if np.isfinite(decay.rate) else verdicts[0].reason
    if len(counts) == 1:
        return Verdict(counts[0][0], said)
    return Verdict("mixed", f"seeds disagree: {', '.join(f'{n} {word}' for word, n in counts)}; on average {said}")
