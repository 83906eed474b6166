"""What is judged of a curve: the typical sample from distance 1 on, how much of its gradient arrives far away, and how
many samples fall, keep and rise.

At distance 0 a norm is the readout's own gradient, which no recurrence has touched: an LSTM whose cell keeps everything
drops there once, by what its output gate lets back. So all is relative to distance 1.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from rnn_research.curves.bounds import DOUBLE, HALF, TRIMMED
from rnn_research.curves.norms import Curve, linked
from rnn_research.curves.samples import SampleGroup, apart, group
from rnn_research.statistics.slopes import nanmedian, theil_sen, thinned

RESAMPLES = 400
TENTH = 0.1
FLOOR = 1e-36
"""What is below has lost digits: float32 does from 1.2e-38 on, and single units before."""
FAR_PAIRED = 16
"""So many distances of a far end are paired, each with each."""
FEWEST = 3
"""So many distances, from distance 1 on, make a curve; and so many at least its far end."""
REACHED, FEW_SAMPLES = 0.25, 5
"""A distance is judged that this share of the samples reaches, and at least so many (all, where there are fewer)."""


@dataclass(frozen=True, eq=False)
class Typical:
    """The typical curve of one run, its far end, and its samples.

    `log` is log(n_d / n_1) over `distance`, of the middle half of the samples that reach the farthest distance judged:
    ordered by their own slope, a quarter at each end is left out, so that up to a quarter of odd ones don't move it.
    -inf where more than half of the samples are exactly zero, inf where more than half are infinite.
    """

    distance: np.ndarray
    log: Float[np.ndarray, " distance"]
    origin: int
    """Where `distance` 1 is (or the first beyond, where that is zero or was not recorded)."""
    last: int
    """Where the farthest distance is that is judged; before `origin` where there is none."""
    weight: Float[np.ndarray, " sample"]
    """How much each sample counts."""
    score: Float[np.ndarray, " sample"]
    """Each sample's own log far ratio per application, by which they are ordered; NaN where it ends before."""
    far: float
    """log F: the typical norm at the farthest distance judged over that at distance 1, by the median of the last tenth
    of the distances (at least 3) along its own slope. -inf: exactly zero; NaN: there is none."""
    low: float
    high: float
    """Its 95% interval over samples (bootstrap); NaN for one sample."""
    error: float
    """Its standard error over samples; 0 where there is none."""
    spread: float
    """The standard error of `log` over samples, root of the mean square over the distances judged (of many, some)."""
    under: bool
    """Whether the norms have sunk below what float32 holds at the far end: `far` is only a bound then."""
    gone: float
    """The share of samples whose norms are exactly zero over the whole last tenth."""
    falls: SampleGroup
    keeps: SampleGroup
    rises: SampleGroup
    """Samples that reach the farthest distance judged, by their own far ratio there: below 1/2, between, above 2."""
    differ: bool
    """Whether two of these are a quarter of the samples or more, and apart: with no samples between them."""

    @property
    def judged(self) -> slice:
        """The distances from 1 to the farthest judged."""
        return slice(self.origin, self.last + 1)

    @property
    def length(self) -> int:
        """Applications from distance 1 to the farthest judged."""
        return int(self.distance[self.last] - self.distance[self.origin]) if self.last > self.origin else 0

    @property
    def zero_from(self) -> int | None:
        """The distance from which on the typical norm is exactly zero, to the farthest there is; None if it isn't."""
        log = self.log[self.origin :]
        alive = np.flatnonzero(~np.isneginf(log))
        start = alive[-1] + 1 if len(alive) else 0
        return int(self.distance[self.origin :][start]) if start < len(log) else None


def typical(curve: Curve, resamples: int = RESAMPLES) -> Typical:
    """The typical curve of `curve`."""
    origin, last = _ends(curve)
    own, score = _of_samples(curve, origin, last)
    weight = central(score, np.ones(len(score)))
    log = relative(curve, curve.log_norm, weight, origin)
    start = _start(np.atleast_2d(_level(curve, weight)[origin : last + 1]))[0] if last >= origin else 0.0
    gone = np.isneginf(own)
    known = ~np.isnan(own)
    share = float(gone.sum() / max(known.sum(), 1))
    far = far_end(curve.distance[origin : last + 1], log[origin : last + 1])
    low, high, error, spread = _over_samples(curve, score, origin, last, resamples)
    value = -np.inf if share > 0.5 else float(far)
    under = _sinks(curve.distance[origin : last + 1], log[origin : last + 1], start, value)
    if under:  # what it is at most; the samples' interval is of rounding
        value, low, high, error = float(np.log(FLOOR) - start), np.nan, np.nan, 0.0
    classes = np.where(np.isnan(own), -1, np.searchsorted(np.log([HALF, DOUBLE]), own))
    groups = [group(own, score, classes == number, known) for number in range(3)]
    return Typical(
        curve.distance, log, origin, last, weight, score, value, low, high, error, spread, under, share, *groups,
        differ=apart(own, score, classes),
    )  # fmt: skip


def central(score: Float[np.ndarray, " sample"], count: Float[np.ndarray, "... sample"]) -> np.ndarray:
    """The weight of each sample in the middle half of those ordered by `score`, where it is there `count` times;
    samples without a score have none."""
    order = np.argsort(score, kind="stable")
    counted = np.where(np.isnan(score), 0.0, count)[..., order]
    top = np.cumsum(counted, axis=-1)
    whole = top[..., -1:] if len(score) else top
    inside = np.minimum(top, (1 - TRIMMED) * whole) - np.maximum(top - counted, TRIMMED * whole)
    weight = np.zeros_like(counted)
    weight[..., order] = np.maximum(inside, 0.0)
    return weight


def relative(curve: Curve, log_norm: np.ndarray, weight: np.ndarray, origin: int) -> np.ndarray:
    """log(n_d / n_1) of the samples by `weight`; -inf and inf where most samples are."""
    log = linked(log_norm, weight)
    if origin < log.shape[-1]:
        log = log - log[..., origin : origin + 1]
    if curve.whole:
        return log
    count = np.maximum(curve.there.sum(0), 1)
    log = np.where(curve.infinite_samples / count > 0.5, np.inf, log)
    return np.where(curve.zero_samples / count > 0.5, -np.inf, log)


def far_end(distance: np.ndarray, log: Float[np.ndarray, "... distance"]) -> np.ndarray:
    """The value at the end of each row of `log`: the median over its last tenth (at least 3 distances), each moved to
    the end along the median slope there. Exact for an exponential, and deaf to single distances.

    What is not finite is left out; -inf where all that is left is, NaN where there is nothing.
    """
    end = _end(len(distance))
    return _moved(distance[end], log[..., end])


def window(count: int) -> int:
    """So many of the last distances are a far end: a tenth, and at least 3."""
    return max(FEWEST, int(np.ceil(TENTH * count)))


def _end(count: int) -> np.ndarray:
    """The last tenth of so many indices, at least 3; of many a few, evenly spread."""
    first = max(count - window(count), 0)
    return first + thinned(count - first, FAR_PAIRED) if count else np.arange(0)


def _moved(distance: np.ndarray, y: Float[np.ndarray, "... distance"]) -> np.ndarray:
    """The median over the last axis of `y`, each value moved along the median slope to the last distance."""
    x = distance.astype(np.float64)
    if not len(x):
        return np.full(y.shape[:-1], np.nan)
    known = np.isfinite(y)
    finite = y if known.all() else np.where(known, y, np.nan)
    slope = np.nan_to_num(theil_sen(x, finite)) if len(x) > 1 else np.zeros(y.shape[:-1])
    value = nanmedian(finite + np.expand_dims(slope, -1) * (x[-1] - x))
    if finite is y:
        return value
    lost = np.where(np.isposinf(y).any(-1), np.inf, np.where(np.isneginf(y).any(-1), -np.inf, np.nan))
    return np.where(np.isposinf(y).mean(-1) > 0.5, np.inf, np.where(np.isnan(value), lost, value))


def _ends(curve: Curve) -> tuple[int, int]:
    """Where the first and the farthest distance are that are judged."""
    most = len(curve.log_norm)
    reach = np.full(len(curve.distance), most) if curve.whole else curve.there.sum(0)
    enough = reach >= max(min(most, FEW_SAMPLES), REACHED * most)
    beyond = np.flatnonzero((curve.distance >= 1 + curve.above) & enough)
    if not len(beyond):
        return len(curve.distance), -1
    alive = beyond[curve.zero_samples[beyond] <= 0.5 * reach[beyond]]
    if not len(alive):
        return int(beyond[0]), int(beyond[-1])
    dead = int(np.sum(beyond > alive[-1]))  # too few to say that the gradient is gone: it is judged where it still is
    last = alive[-1] if dead < window(len(beyond)) else beyond[-1]
    return int(alive[0]), int(last)


def _of_samples(curve: Curve, origin: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Each sample's own log far ratio, and that per application; NaN where it ends before the farthest distance judged,
    or has fewer than two. Of ratios over different lengths one law gives as many: they tell no samples apart."""
    own = np.full(len(curve.log_norm), np.nan)
    score = own.copy()
    x = curve.distance[origin : last + 1].astype(np.float64)
    if curve.whole:  # as in a chain's table: no need to look for who reaches what
        log = curve.log_norm[:, origin : last + 1]
        if len(x) > 1:
            own = far_end(x, log) - _start(log[:, :1])
        return own, own / (x[-1] - x[0]) if len(x) > 1 else score
    there = curve.there[:, origin : last + 1]
    log = np.where(curve.zero, -np.inf, np.where(curve.infinite, np.inf, curve.log_norm))[:, origin : last + 1]
    long = curve.there[:, last:].any(1) if last >= 0 else np.zeros(len(own), dtype=bool)
    patterns, which = np.unique(there, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        rows = np.flatnonzero((which.ravel() == number) & long)
        if pattern.sum() < 2 or not len(rows):
            continue
        mine = log[rows][:, pattern]
        own[rows] = far_end(x[pattern], mine) - _start(mine)
        score[rows] = own[rows] / (x[pattern][-1] - x[pattern][0])
    return own, score


def _start(log: np.ndarray) -> np.ndarray:
    """The first finite value of each row; 0 where there is none."""
    finite = np.isfinite(log)
    first = log[np.arange(len(log)), finite.argmax(1)]
    return np.where(finite.any(1), first, 0.0)


def _over_samples(
    curve: Curve, score: np.ndarray, origin: int, last: int, resamples: int
) -> tuple[float, float, float, float]:
    """Of log F the 95% percentile interval and the standard error, and the curve's, by bootstrap over samples
    (fixed seed)."""
    samples, nan = len(curve.log_norm), float("nan")
    if samples < 2 or not resamples or last - origin < 1:
        return nan, nan, 0.0, 0.0
    weights = central(score, drawn(samples, resamples))
    judged = slice(origin, last + 1)
    distance = curve.distance[judged]
    if not curve.whole:
        logs = relative(curve, curve.log_norm, weights, origin)[:, judged]
        far = far_end(distance, logs)
    else:  # of the same samples everywhere, each distance is had without those before it
        end, some = _end(len(distance)), thinned(len(distance))
        values = curve.log_norm[:, judged][:, np.concatenate([[0], end, some])]
        logs = linked(values, weights)[:, 1:]
        far, logs = _moved(distance[end], logs[:, : len(end)]), logs[:, len(end) :]
    far = far[np.isfinite(far)]
    logs = np.where(np.isfinite(logs), logs, 0.0)
    spread = float(np.sqrt(np.mean(logs.var(0))))
    if len(far) < 2:
        return nan, nan, 0.0, spread
    low, high = np.quantile(far, (0.025, 0.975))
    return float(low), float(high), float(far.std(ddof=1)), spread


@functools.lru_cache(maxsize=8)
def drawn(samples: int, resamples: int) -> Float[np.ndarray, "resample sample"]:
    """How often each sample is drawn, in each resample (Efron 1979; the same each time)."""
    return np.random.default_rng(0).multinomial(samples, np.full(samples, 1 / samples), size=resamples).astype(float)


def _level(curve: Curve, weight: np.ndarray) -> np.ndarray:
    """The typical log n itself, not compared with anything."""
    if curve.whole and weight.any():
        return weight @ curve.log_norm / weight.sum()
    present = ~np.isnan(curve.log_norm)
    count = weight @ present
    total = weight @ np.where(present, curve.log_norm, 0.0)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def _sinks(distance: np.ndarray, log: np.ndarray, start: float, far: float) -> bool:
    """Whether the curve, `start` at distance 1, ends where float32 holds no norm: below `FLOOR`; or at zero, to which
    it was on its way at the slope of its last two distances."""
    alive = np.flatnonzero(np.isfinite(log))
    if not len(alive) or not (np.isneginf(far) or far + start < np.log(FLOOR)):
        return False
    end = start + log[alive[-1]]
    if np.isneginf(far) and len(alive) > 1:
        step = (log[alive[-1]] - log[alive[-2]]) / (distance[alive[-1]] - distance[alive[-2]])
        end += min(step, 0.0)
    return bool(end < np.log(FLOOR))
