"""Which law a curve follows: one exponential, a power, one bend, or none of these.

One rate says what a curve does where one exponential fits, and nothing where it doesn't: "-1 for 6 applications, then
flat" has no half-life. Least squares on log n, after a running median that takes out single distances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from rnn_research.statistics.slopes import median, thinned

CLOSE = 0.02
"""A misfit below so many nats, below so much of the range of the line, or below the curve's own error, is none."""
ROUGH = 0.25
"""Nats: a line that misses no more than this, in the root of the mean square, says what the curve does."""
EXPLAINED = 0.9
"""The share of the variance that a law must explain."""
BETTER = 0.5
"""Another law is named than the exponential where its misfit is at most this of it."""
FLAT = 0.1
"""A piece is flat where its slope is at most this of the other piece's."""
MOST = 96
SMOOTHED = 5


@dataclass(frozen=True)
class Law:
    """The law of a curve over distance from 1 on.

    `name`: `exponential`; `power law`, n ~ (1 + d)^-p; with one bend `plateau, then decay` (or growth), `decay, then
    plateau` (or growth), `fall and rise`, `rise and fall`, `two rates`; `none`, where none of these holds; `unknown`
    where there is too little to fit. `slopes` are those before and after the bend, in nats per application.
    """

    name: str
    bend: int | None = None
    slopes: tuple[float, float] = (float("nan"), float("nan"))
    power: float = float("nan")
    misfit: float = float("nan")
    """In nats, the root of the mean square."""

    @property
    def exponential(self) -> bool:
        """Whether one rate says what the curve does."""
        return self.name == "exponential"


def law(distance: np.ndarray, log: Float[np.ndarray, " distance"], error: float = 0.0) -> Law:
    """The law of a curve whose own error (over samples or seeds) is `error`, in nats.

    The exponential, unless another misses by at most half as much and the exponential by more than the error; then
    the best by BIC of the power law and one bend. A law that explains less than 0.9 of the variance is none, except
    that a line which misses by less than a quarter of a nat says enough.
    """
    kept = np.isfinite(log)
    x, y = distance[kept].astype(np.float64), smoothed(log[kept])
    if len(x) < 3:
        return Law("unknown")
    if len(x) >= 2 * SMOOTHED:  # the ends have no neighbours on both sides to be smoothed by
        x, y = x[1:-1], y[1:-1]
    line = _fit(y, np.ones_like(x), x)
    found = Law("exponential", misfit=line[1])
    close = max(CLOSE, error, CLOSE * abs(float(line[0][1])) * float(np.ptp(x)))
    if line[1] > close and len(x) > 4:
        others = _others(x, y, close)
        if others.misfit <= BETTER * line[1]:
            found = others
    explained = 1 - found.misfit**2 / max(float(y.var()), 1e-300)
    enough = explained >= EXPLAINED or (found.exponential and found.misfit <= max(ROUGH, error))
    return found if enough else Law("none", misfit=found.misfit)


def smoothed(log: Float[np.ndarray, "... distance"], width: int = SMOOTHED) -> np.ndarray:
    """The running median over `width` distances, fewer towards the ends, evenly on both sides: what is monotone stays
    as it is."""
    count = log.shape[-1]
    found = log.copy()
    most = min(width // 2, (count - 1) // 2)
    for reach in range(1, most + 1):
        # by fewer than the most where there are no more on one side
        places = [reach, count - 1 - reach] if reach < most else range(reach, count - reach)
        windows = np.asarray(places)[:, None] + np.arange(-reach, reach + 1)
        found[..., places] = median(log[..., windows])
    return found


def _others(x: np.ndarray, y: np.ndarray, close: float) -> Law:
    """The best by BIC of the laws that are no exponential."""
    power, misfit = _fit(y, np.ones_like(x), np.log1p(x))
    found = [(_bic(len(x), misfit, 2, close), Law("power law", power=-float(power[1]), misfit=misfit))]
    for free, columns in ((3, _after), (3, _before), (4, _both)):
        bend, coefficients, misfit = _bent(x, y, columns)
        slopes = {_after: (0.0, *coefficients[1:]), _before: (*coefficients[1:], 0.0)}.get(columns)
        pair = slopes or (coefficients[1], coefficients[1] + coefficients[2])
        first, second = map(float, pair)
        found.append(
            (_bic(len(x), misfit, free, close), Law(_shape(first, second), bend, (first, second), misfit=misfit))
        )
    return min(found, key=lambda item: item[0])[1]


def _bic(count: int, misfit: float, free: int, close: float) -> float:
    """Misfits that are none don't count, so that of two laws that fit the simpler is taken."""
    return count * float(np.log(misfit**2 + close**2)) + (free + 1) * float(np.log(count))


Columns = Callable[[np.ndarray, float], tuple[np.ndarray, ...]]


def _after(x: np.ndarray, bend: float) -> tuple[np.ndarray, ...]:
    return (np.maximum(x - bend, 0.0),)


def _before(x: np.ndarray, bend: float) -> tuple[np.ndarray, ...]:
    return (np.minimum(x, bend),)


def _both(x: np.ndarray, bend: float) -> tuple[np.ndarray, ...]:
    return x, np.maximum(x - bend, 0.0)


def _bent(x: np.ndarray, y: np.ndarray, columns: Columns) -> tuple[int, np.ndarray, float]:
    """(bend, coefficients, misfit) of two lines that meet at the distance where they miss least."""

    def misfit(bend: float, points: np.ndarray) -> float:
        return _fit(y[points], np.ones(len(points)), *columns(x[points], bend))[1]

    thin = thinned(len(x), MOST)
    inner = thin[1:-1]
    coarse = inner[int(np.argmin([misfit(float(x[at]), thin) for at in inner]))]
    step = int(np.ceil(len(x) / MOST))
    near = np.arange(max(coarse - step, 1), min(coarse + step, len(x) - 2) + 1) if step > 1 else np.array([coarse])
    everything = np.arange(len(x))
    best = near[int(np.argmin([misfit(float(x[at]), everything) for at in near]))]
    return int(x[best]), *_fit(y, np.ones_like(x), *columns(x, float(x[best])))


def _fit(y: np.ndarray, *columns: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients and root mean square residual of least squares, by the normal equations of scaled columns."""
    design = np.stack(columns, axis=1)
    scale = np.maximum(np.abs(design).max(0), 1e-300)
    design = design / scale
    coefficients = np.linalg.lstsq(design, y, rcond=None)[0]
    return coefficients / scale, float(np.sqrt(np.mean((y - design @ coefficients) ** 2)))


def _shape(first: float, second: float) -> str:
    def word(slope: float) -> str:
        return "decay" if slope < 0 else "growth"

    if abs(first) <= FLAT * abs(second):
        return f"plateau, then {word(second)}"
    if abs(second) <= FLAT * abs(first):
        return f"{word(first)}, then plateau"
    if first * second < 0:
        return "fall and rise" if first < 0 else "rise and fall"
    return "two rates"
