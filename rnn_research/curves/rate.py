"""How fast a vanishing curve decays: one rate in nats per cell application, with what it can't say said."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from rnn_research.curves.norms import Curve, linked

FLOOR = 1e-36
"""Norms below this are left out of the fit, and distances whose typical norm is: float32 loses digits from
1.2e-38 on, and single units before."""
CEILING = float(np.finfo(np.float32).max)
RESOLUTION = 1e-6
"""Nats per application that one float32 application can't resolve: no interval is narrower than ± this."""
FRACTION = 1e-2
FEWEST = 3
PERSISTENT = 3
"""So many distances in a row whose typical norm is exactly zero are a gradient that is gone: see `isolated`."""
PAIRED = 48
RESAMPLES = 400


@dataclass(frozen=True)
class Decay:
    """The fit log n_d = a + b d of one curve, or of a condition's seeds together.

    `rate` is b, in nats per cell application, `low` and `high` its 95% interval. Everything is NaN where
    the curve is too short to fit. Where it leaves the range of float32 before three distances, `rate` is
    only a bound (`bounded`): an upper one where it falls, a lower one where it rises.
    """

    rate: float
    low: float
    high: float
    bounded: bool
    r_squared: float
    """Of the line; NaN where the curve is flat to within `RESOLUTION`, since there is nothing to explain."""
    horizon: int | None
    """The first d with n_d / n_0 < `fraction`; None if never."""
    fraction: float
    far_ratio: float
    """n at the largest distance that isn't `isolated` over n at the smallest."""
    used: int
    """Distances in the fit."""
    left_out: str
    """Which distances are not, in words."""
    power: float
    """p of the power law log n_d = a - p log(1 + d)."""
    aic_exponential: float
    aic_power: float

    @property
    def gamma(self) -> float:
        """e^b: the factor per cell application."""
        return float(np.exp(self.rate))

    @property
    def half_life(self) -> float:
        """-ln 2 / b, in applications: negative where the norm doubles instead, inf where b is 0."""
        return float("inf") if self.rate == 0 else -float(np.log(2)) / self.rate

    @property
    def moves(self) -> bool:
        """Whether the rate differs from zero: zero is outside its interval, or it has none."""
        return not (self.low <= 0 <= self.high)

    @property
    def better(self) -> str:
        """Which law fits better by more than 2 in AIC: `exponential`, `power law` or `either`.

        Neighbouring distances are not independent, so this ranks the two and is no test.
        """
        gap = self.aic_power - self.aic_exponential
        return "exponential" if gap > 2 else "power law" if gap < -2 else "either"


def decay(curve: Curve, fraction: float = FRACTION, resamples: int = RESAMPLES) -> Decay:
    """The decay of `curve`: b is the Theil-Sen slope of its `log_ratio` over what float32 can measure.

    The median of all pairwise slopes (Theil 1950, Sen 1968) because a readout's own first step, or one odd
    depth, may be far off the line, and up to 29% of such distances don't move it; of at most 48 evenly
    spread distances. The interval is the percentile bootstrap over samples (Efron 1979; fixed seed), since
    samples are independent and distances are not; NaN for a single sample, or with `resamples=0`. Left
    out, and said in `left_out`: distances whose typical norm is zero, infinite or under `FLOOR`. At the
    others a sample with a norm under `FLOOR`, which has lost digits, counts as not measured. A few exact
    zeros (dead units) do no harm: the slope is of the samples that are alive at both of two distances.
    """
    kept = np.flatnonzero(_usable(curve))
    ends = {
        "horizon": horizon(curve.distance, curve.log_ratio, fraction),
        "fraction": fraction,
        "far_ratio": far_ratio(curve.log_ratio),
        "used": len(kept),
        "left_out": _left_out(curve),
    }
    if len(kept) < FEWEST:
        nan = float("nan")
        fit = {"r_squared": nan, "power": nan, "aic_exponential": nan, "aic_power": nan}
        return Decay(*_bound(curve), **fit, **ends)
    x, y = curve.distance[kept].astype(np.float64), linked(_measured(curve))[kept]
    thin = np.unique(np.linspace(0, len(kept) - 1, min(len(kept), PAIRED)).round().astype(int))
    rate = float(theil_sen(x[thin], y[thin]))
    low, high = _bootstrap(curve, kept[thin], rate, resamples)
    return Decay(rate, low, high, False, **_fit(x, y, rate), **ends)


def theil_sen(x: Float[np.ndarray, " n"], y: Float[np.ndarray, "... n"]) -> Float[np.ndarray, ...]:
    """The median over pairs i < j of (y_j - y_i) / (x_j - x_i), for each row of `y`."""
    i, j = np.triu_indices(len(x), k=1)
    slopes = (y[..., j] - y[..., i]) / (x[j] - x[i])
    return np.asarray(np.nanmedian(slopes, axis=-1) if np.isnan(slopes).any() else np.median(slopes, axis=-1))


def horizon(distance: np.ndarray, log_ratio: np.ndarray, fraction: float) -> int | None:
    """The first distance whose norm is below `fraction` of that at the smallest, `isolated` zeros apart; None if
    never."""
    below = np.flatnonzero((log_ratio < np.log(fraction)) & ~isolated(log_ratio))
    return int(distance[below[0]]) if len(below) else None


def ratio(log_ratio: float) -> float:
    """e^log_ratio, without a warning where that is beyond a float."""
    with np.errstate(over="ignore"):
        return float(np.exp(log_ratio))


def far_ratio(log_ratio: np.ndarray) -> float:
    """n at the largest distance over that at the smallest, `isolated` zeros apart; NaN where there is none."""
    plain = log_ratio[~isolated(log_ratio)]
    return ratio(plain[-1]) if len(plain) else float("nan")


def isolated(log_ratio: np.ndarray) -> np.ndarray:
    """Where the typical norm is exactly zero (-inf) without the gradient having vanished: dead units at a
    distance or two, such as relus that see only the black margin of an image at their first pixels.

    Decay takes a norm below `FRACTION` before it takes it to zero, and a gradient that is gone stays gone. So
    a run of neighbouring zeros is isolated where the norm just before it is above `FRACTION`, it is shorter
    than `PERSISTENT`, and there are other distances than the smallest outside it.
    """
    zero = np.isneginf(log_ratio)
    edges = np.flatnonzero(np.diff(zero, prepend=False, append=False))
    found = np.zeros_like(zero)
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        short = stop - start < min(PERSISTENT, len(zero) - 1)
        found[start:stop] = start > 0 and short and log_ratio[start - 1] >= np.log(FRACTION)
    return found


def _measured(curve: Curve) -> np.ndarray:
    """`log_norm` of the samples whose every nonzero norm at a distance is at least `FLOOR`, else NaN."""
    return np.where(curve.smallest >= FLOOR, curve.log_norm, np.nan)


def _usable(curve: Curve) -> np.ndarray:
    measured = ~np.all(np.isnan(_measured(curve)), axis=0)
    return np.isfinite(curve.log_ratio) & (curve.geometric_mean >= FLOOR) & measured


def _left_out(curve: Curve) -> str:
    finite = np.isfinite(curve.log_ratio)
    counts = {
        "zero for most samples": np.sum(np.isneginf(curve.log_ratio)),
        "infinite for most samples": np.sum(np.isposinf(curve.log_ratio)),
        f"under {FLOOR:g}, where float32 underflows": np.sum(finite & ~_usable(curve)),
    }
    said = "; ".join(f"{count} {why}" for why, count in counts.items() if count)
    return f"of {len(curve.distance)} distances: {said}" if said else ""


def _bound(curve: Curve) -> tuple[float, float, float, bool]:
    """(rate, low, high, bounded) of a curve that leaves float32 before it can be fitted; else NaN, False."""
    nan, inf = float("nan"), float("inf")
    typical = curve.geometric_mean
    gone = np.isneginf(curve.log_ratio) & ~isolated(curve.log_ratio)
    under = np.flatnonzero(gone | (typical < FLOOR))
    over = np.flatnonzero(np.isposinf(curve.log_ratio))
    for beyond, limit, low, high in ((under, FLOOR, -inf, nan), (over, CEILING, nan, inf)):
        if len(beyond) and beyond[0] > 0 and typical[0] > 0:
            gap = curve.distance[beyond[0]] - curve.distance[0]
            rate = float((np.log(limit) - np.log(typical[0])) / gap)
            return rate, rate if np.isnan(low) else low, rate if np.isnan(high) else high, True
    return nan, nan, nan, False


def _bootstrap(curve: Curve, kept: np.ndarray, rate: float, resamples: int) -> tuple[float, float]:
    """The 95% percentile interval of the slope over resampled samples, with `rate` ± `RESOLUTION` inside."""
    samples = len(curve.log_norm)
    if samples < 2 or not resamples:
        return float("nan"), float("nan")
    draws = np.random.default_rng(0).multinomial(samples, np.full(samples, 1 / samples), size=resamples)
    resampled = linked(_measured(curve)[:, kept], draws.astype(np.float64))
    spread = np.sum(~np.isnan(resampled), axis=-1) >= 2
    low, high = np.quantile(theil_sen(curve.distance[kept].astype(np.float64), resampled[spread]), (0.025, 0.975))
    return min(float(low), rate - RESOLUTION), max(float(high), rate + RESOLUTION)


def _fit(x: np.ndarray, y: np.ndarray, rate: float) -> dict[str, float]:
    """R^2 of the Theil-Sen line, and by least squares the AIC of both laws."""
    residual = y - rate * x
    residual = residual - np.median(residual)
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
