"""How fast a vanishing curve decays: one rate in nats per cell application, with what it can't say said."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from rnn_research.curves.far_ratio import FarRatio
from rnn_research.curves.laws import Law, law, smoothed
from rnn_research.curves.norms import Curve, linked
from rnn_research.curves.typical import (
    FEWEST,
    FLOOR,
    RESAMPLES,
    Typical,
    central,
    drawn,
    typical,
    window,
)
from rnn_research.statistics.slopes import median, theil_sen, thinned

CEILING = float(np.finfo(np.float32).max)
RESOLUTION = 1e-6
"""Nats per application that one float32 application can't resolve: no interval is narrower than ± this."""
FRACTION = 1e-2
PERSISTENT = 4
"""A horizon is where the norm has fallen below the fraction and most of so many distances beyond are below too."""


@dataclass(frozen=True)
class Decay:
    """The fit log n_d = a + b d of one curve from distance 1 on, or of a condition's seeds together, and where it ends.

    `rate` is b, in nats per cell application, `low` and `high` its 95% interval. It says what the curve does only
    where `law` is the exponential. Everything is NaN where the curve is too short to fit. Where it leaves the range of
    float32 before three distances, `rate` is only a bound (`bounded`): an upper one where it falls, a lower one where
    it rises.
    """

    rate: float
    low: float
    high: float
    bounded: bool
    r_squared: float
    """Of the line; NaN where the curve is flat to within `RESOLUTION`, since there is nothing to explain."""
    horizon: int | None
    """The first distance d with n_d / n_1 < `fraction`, from which on it stays so; None if there is none."""
    fraction: float
    far: FarRatio
    law: Law
    used: int
    """Distances in the fit."""
    left_out: str
    """Which distances are not, in words."""
    power: float
    """p of the power law log n_d = a - p log(1 + d)."""
    aic_exponential: float
    aic_power: float
    beyond: dict[str, int] = field(default_factory=dict)
    """Of several seeds, how many are `gone` or `overflowed`: they are not in the mean rate of those that arrive."""
    seeds: int = 1
    sunk: int = 0
    """Of several seeds, how many sink below what float32 holds, so that F is of the others."""

    @property
    def far_ratio(self) -> float:
        """F, the typical norm at the farthest distance judged over that at distance 1."""
        return self.far.ratio

    @property
    def gamma(self) -> float:
        """e^b: the factor per cell application."""
        return float(np.exp(self.rate))

    @property
    def half_life(self) -> float:
        """-ln 2 / b, in applications: negative where the norm doubles instead, inf where b is 0 to `RESOLUTION`."""
        return float("inf") if self.still else -float(np.log(2)) / self.rate

    @property
    def still(self) -> bool:
        """Whether the rate is zero as far as float32 can tell."""
        return abs(self.rate) < RESOLUTION

    @property
    def moves(self) -> bool:
        """Whether the rate differs from zero: it is not that, and zero is outside its interval, if it has one."""
        return not self.still and not (self.low <= 0 <= self.high)

    @property
    def holds(self) -> bool:
        """Whether one rate, which is no bound, says what the curve does, what the samples do, and how much arrives."""
        one = self.law.exponential and not self.bounded and not self.far.differ and bool(np.isfinite(self.rate))
        return one and self.agrees

    @property
    def agrees(self) -> bool:
        """Whether the rate over the whole length gives about as much as arrives: it does not where the norm drops once
        and is flat then. Within a factor of 2, or 15% of log F."""
        measured = 0 < self.far.ratio < np.inf and not self.far.under
        missed = abs(self.far.log - self.rate * self.far.length) if measured else 0.0
        return bool(missed <= max(np.log(2), 0.15 * abs(self.far.log)))

    @property
    def better(self) -> str:
        """Which law fits better by more than 2 in AIC: `exponential`, `power law` or `either`.

        Neighbouring distances are not independent, so this ranks the two and is no test.
        """
        gap = self.aic_power - self.aic_exponential
        return "exponential" if gap > 2 else "power law" if gap < -2 else "either"


def decay(curve: Curve, fraction: float = FRACTION, resamples: int = RESAMPLES, seen: Typical | None = None) -> Decay:
    """The decay of `curve`: b is the Theil-Sen slope of its typical curve, over what float32 can measure.

    The median of all pairwise slopes (Theil 1950, Sen 1968) because one odd depth may be far off the line, and up to
    29% of such distances don't move it; of at most 48 evenly spread distances. The interval is the percentile
    bootstrap over samples (Efron 1979; fixed seed), since samples are independent and distances are not; NaN for a
    single sample, or with `resamples=0`. Left out, and said in `left_out`: distances whose typical norm is zero,
    infinite or under `FLOOR`. At the others a sample with a norm under `FLOOR`, which has lost digits, counts as not
    measured. A few exact zeros (dead units) do no harm: the slope is of the samples that are alive at both of two
    distances.
    """
    seen = typical(curve, resamples) if seen is None else seen
    usable = _usable(curve, seen)
    kept = np.flatnonzero(usable)
    ends = {
        "horizon": horizon(seen.distance[seen.judged], seen.log[seen.judged], fraction, seen.far),
        "fraction": fraction,
        "far": far(seen),
        "used": len(kept),
        "left_out": _left_out(seen, usable),
    }
    if len(kept) < FEWEST:
        nan = float("nan")
        fit = {"r_squared": nan, "power": nan, "aic_exponential": nan, "aic_power": nan}
        return Decay(*_bound(curve, seen), law=Law("unknown"), **fit, **ends)
    x, y = curve.distance[kept].astype(np.float64), linked(_measured(curve), seen.weight)[kept]
    thin = thinned(len(kept))
    rate = float(theil_sen(x[thin], y[thin]))
    low, high = _bootstrap(curve, seen, kept[thin], rate, resamples)
    return Decay(rate, low, high, False, law=law(x, y, seen.spread), **_fit(x, y, rate), **ends)


def far(seen: Typical) -> FarRatio:
    """The far end of one run's typical curve."""
    there = seen.last >= seen.origin
    return FarRatio(
        *map(ratio, (seen.far, seen.low, seen.high)),
        error=seen.error,
        below=_open(seen.far - seen.low),
        above=_open(seen.high - seen.far),
        under=seen.under,
        first=int(seen.distance[seen.origin]) if there else 0,
        last=int(seen.distance[seen.last]) if there else 0,
        **extremes(seen.distance[seen.judged], seen.log[seen.judged], seen.far),
        gone=seen.gone,
        zero_from=seen.zero_from if there else None,
        falls=seen.falls,
        keeps=seen.keeps,
        rises=seen.rises,
        differ=seen.differ,
    )


def _open(gap: float) -> float:
    return max(float(gap), 0.0) if np.isfinite(gap) else 0.0


def extremes(distance: np.ndarray, log: np.ndarray, far: float) -> dict[str, tuple[int, float]]:
    """The `lowest` and the `highest`, each (distance, ratio): of the start, of what is finite on the way after a
    running median of five distances, and of the far end, where `far` stands for the whole last tenth. So a distance or
    two that their neighbours don't follow are none, near the ends as between them."""
    kept = np.isfinite(log)
    if not kept.any():
        return {"lowest": (0, float("nan")), "highest": (0, float("nan"))}
    x, y = distance[kept], smoothed(log[kept])
    ended = kept[-1] and np.isfinite(far)
    full = np.arange(2, min(len(x) - 2, int(kept[: -window(len(log))].sum()) if ended else len(x)))
    if ended:
        y[-1] = far
    way = np.concatenate([[0], full, [len(x) - 1]])
    low, high = (int(way[find(y[way])]) for find in (np.argmin, np.argmax))
    return {"lowest": (int(x[low]), ratio(y[low])), "highest": (int(x[high]), ratio(y[high]))}


def horizon(distance: np.ndarray, log: np.ndarray, fraction: float, far: float) -> int | None:
    """The first distance whose norm is below `fraction` of that at distance 1, and most of the next four are too; None
    if never, or if the norm comes back until the far end (`far`, its log)."""
    below = (log < np.log(fraction)).astype(float)
    if not far < np.log(fraction):
        return None
    for start in np.flatnonzero(below):
        beyond = below[start + 1 : start + 1 + PERSISTENT]
        if not len(beyond) or beyond.mean() > 0.5:
            return int(distance[start])
    return None


def ratio(log_ratio: float) -> float:
    """e^log_ratio, without a warning where that is beyond a float."""
    with np.errstate(over="ignore"):
        return float(np.exp(log_ratio))


def _measured(curve: Curve) -> np.ndarray:
    """`log_norm` of the samples whose every nonzero norm at a distance is at least `FLOOR`, else NaN."""
    low = curve.smallest < FLOOR
    return np.where(low, np.nan, curve.log_norm) if low.any() else curve.log_norm


def _usable(curve: Curve, seen: Typical) -> np.ndarray:
    """Where the typical curve can be fitted: of the distances judged, or fewer."""
    known = _measured(curve)
    measured = np.ones(len(curve.distance), dtype=bool)
    if known is not curve.log_norm or not curve.whole:
        measured = ~np.all(np.isnan(known[seen.weight > 0]), axis=0)
    judged = np.zeros(len(curve.distance), dtype=bool)
    judged[seen.judged] = True
    return judged & np.isfinite(seen.log) & (curve.geometric_mean >= FLOOR) & measured


def _left_out(seen: Typical, usable: np.ndarray) -> str:
    log, usable = seen.log[seen.judged], usable[seen.judged]
    counts = {
        "zero for most samples": np.sum(np.isneginf(log)),
        "infinite for most samples": np.sum(np.isposinf(log)),
        f"under {FLOOR:g}, where float32 underflows": np.sum(np.isfinite(log) & ~usable),
    }
    said = "; ".join(f"{count} {why}" for why, count in counts.items() if count)
    return f"of {len(log)} distances: {said}" if said else ""


def _bound(curve: Curve, seen: Typical) -> tuple[float, float, float, bool]:
    """(rate, low, high, bounded) of a curve that leaves float32 before it can be fitted; else NaN, False."""
    nan, inf = float("nan"), float("inf")
    log, norm, distance = (values[seen.judged] for values in (seen.log, curve.geometric_mean, seen.distance))
    gone = np.isneginf(seen.far) & np.isneginf(log)
    under, over = np.flatnonzero(gone | (norm < FLOOR)), np.flatnonzero(np.isposinf(log))
    for beyond, limit, low, high in ((under, FLOOR, -inf, nan), (over, CEILING, nan, inf)):
        if len(beyond) and beyond[0] > 0 and norm[0] > 0:
            gap = distance[beyond[0]] - distance[0]
            rate = float((np.log(limit) - np.log(norm[0])) / gap)
            return rate, rate if np.isnan(low) else low, rate if np.isnan(high) else high, True
    return nan, nan, nan, False


def _bootstrap(curve: Curve, seen: Typical, kept: np.ndarray, rate: float, resamples: int) -> tuple[float, float]:
    """The 95% percentile interval of the slope over resampled samples, with `rate` ± `RESOLUTION` inside."""
    samples = len(curve.log_norm)
    if samples < 2 or not resamples:
        return float("nan"), float("nan")
    weights = central(seen.score, drawn(samples, resamples))
    resampled = linked(_measured(curve)[:, kept], weights)
    slopes = theil_sen(curve.distance[kept].astype(np.float64), resampled)
    low, high = np.quantile(slopes[np.isfinite(slopes)], (0.025, 0.975))
    return min(float(low), rate - RESOLUTION), max(float(high), rate + RESOLUTION)


def _fit(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], rate: float) -> dict[str, float]:
    """R^2 of the Theil-Sen line, and by least squares the AIC of both laws."""
    residual = y - rate * x
    residual = residual - median(residual)
    total = float(np.sum((y - y.mean()) ** 2))
    flat = total <= len(x) * RESOLUTION**2
    power, aic_power = _least_squares(np.log1p(x), y)
    return {
        "r_squared": float("nan") if flat else 1 - float(np.sum(residual**2)) / total,
        "power": -power,
        "aic_exponential": _least_squares(x, y)[1],
        "aic_power": aic_power,
    }


def _least_squares(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The slope of y on x, and AIC = n ln(RSS / n) + 2 k, k = 3 (intercept, slope, variance)."""
    x, y = x - x.mean(), y - y.mean()
    slope = float(x @ y / (x @ x))
    mean_square = float(np.mean((y - slope * x) ** 2))
    return slope, len(x) * float(np.log(max(mean_square, RESOLUTION**2))) + 6
