"""The share of runs that reached something by each step, where some runs ended before they could."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from rnn_research.statistics.intervals import CONFIDENCE, NAN, SEEDS
from rnn_research.statistics.proportions import clopper_pearson

SLACK = 1e-12
"""What rounding may add to a product of shares that is 1/2."""


@dataclass(frozen=True)
class MedianStep:
    """The first step by which half of `n` runs had reached it, and its interval; infinite where none is known."""

    median: float
    low: float
    high: float
    n: int
    why: str = ""
    """Why there is no interval; the ends are then NaN."""


@dataclass(frozen=True, eq=False)
class ReachedBy:
    """The share of runs that reached it by each step, at the steps where a run did or ended, from step 0."""

    step: Float[np.ndarray, " point"]
    share: Float[np.ndarray, " point"]
    low: Float[np.ndarray, " point"]
    high: Float[np.ndarray, " point"]
    at_risk: Float[np.ndarray, " point"]
    """How many had neither reached it nor ended before the step."""
    median: MedianStep
    n: int
    why: str = ""
    """Why there is no band, such as `2 runs`; `low` and `high` are then NaN."""


def kaplan_meier(
    solved: Sequence[int], censored: Sequence[int], never: int
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """1 - prod over steps t <= s of (1 - d_t / n_t), at the steps where it changes, from (0, 0).

    d_t runs solve the task at t, of the n_t that have not before, and were not censored before t. (Kaplan and Meier
    1958, eq. 2b.)

    Args:
        solved: the step at which each run solved it.
        censored: the last step of each run that ended unsolved.
        never: how many runs would not have solved it with any number of steps; they stay at risk.
    """
    times, counts = np.unique(np.asarray(solved, dtype=np.float64), return_counts=True)
    left = np.cumprod(1 - counts / _at_risk(times, solved, censored, never))
    return np.concatenate([[0.0], times]), np.concatenate([[0.0], 1 - left])


def reached_by(
    solved: Sequence[int], censored: Sequence[int], never: int = 0, confidence: float = CONFIDENCE
) -> ReachedBy | None:
    """Kaplan and Meier's share solved by each step with its pointwise band, and the median step; None without runs.

    Where the share left, S, is within (0, 1), the band is log-log Greenwood's, S**exp(± z sqrt(V) / log S) with
    V = sum of d_t / (n_t (n_t - d_t)) (Greenwood 1926; Kalbfleisch and Prentice 1980), as lifelines gives it. It
    gives a band of no width where none or all have solved it: there Clopper and Pearson's of the runs at risk stands,
    and from all solved on, where some were censored, the last end before. Runs are independent, and censored for
    reasons that say nothing of when they would have solved it. For fewer than 3 runs there is no band. Of exponential
    steps it covered .98-1 at 3 and 5 runs and .94-1 at 10 where .95 is said, censored or not; lifelines' ends of no
    width never do.

    The median is the first step with S <= 1/2; its interval runs from the first step at which the band allows
    S <= 1/2 to the first at which it demands it (Brookmeyer and Crowley 1982), from 0 where the band does at once.

    Args:
        solved, censored, never: as `kaplan_meier` takes them.
    """
    n = len(solved) + len(censored) + never
    if n == 0:
        return None
    ends = np.concatenate([np.asarray(solved, dtype=np.float64), np.asarray(censored, dtype=np.float64)])
    step = np.union1d([0.0], ends)
    at_risk = _at_risk(step, solved, censored, never)
    events = np.bincount(np.searchsorted(step, np.asarray(solved, dtype=np.float64)), minlength=len(step))
    left = np.cumprod(1 - events / np.maximum(at_risk, 1))
    why = "" if n >= SEEDS else f"{n} run{'s' if n > 1 else ''}"
    if why:
        low = high = np.full_like(left, NAN)
    else:
        low, high = _log_log(left, at_risk, events, confidence)
        low, high = _at_the_ends(left, low, high, at_risk, n, confidence)
    first, earliest, latest = (_first_below(step, values) for values in (left, low, high))
    median = MedianStep(first, NAN if why else earliest, NAN if why else latest, n, why)
    return ReachedBy(step, 1 - left, 1 - high, 1 - low, at_risk, median, n, why)


def _at_risk(
    times: np.ndarray, solved: Sequence[int], censored: Sequence[int], never: int
) -> Float[np.ndarray, " point"]:
    ends = np.sort(np.concatenate([np.asarray(solved, dtype=np.float64), np.asarray(censored, dtype=np.float64)]))
    return (len(ends) - np.searchsorted(ends, times) + never).astype(np.float64)


def _log_log(
    left: np.ndarray, at_risk: np.ndarray, events: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Greenwood's band of the share left on the scale log(-log S); NaN where that is 0 or 1."""
    from scipy.special import ndtri

    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.cumsum(events / (at_risk * (at_risk - events)))
        logs = np.log(left)
        reach = float(ndtri((1 + confidence) / 2)) * np.sqrt(variance) / np.abs(logs)
        low, high = np.exp(logs * np.exp(reach)), np.exp(logs * np.exp(-reach))
    inside = (left > SLACK) & (left < 1)
    return np.where(inside, low, NAN), np.where(inside, high, NAN)


def _at_the_ends(
    left: np.ndarray, low: np.ndarray, high: np.ndarray, at_risk: np.ndarray, n: int, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """The band with ends where none or all of the runs have solved it."""
    low, high = low.copy(), high.copy()
    for k in np.flatnonzero(left == 1):
        found = clopper_pearson(int(at_risk[k]), int(at_risk[k]), confidence)
        low[k], high[k] = (found.low if found else 0.0), 1.0
    done = np.flatnonzero(left <= SLACK)
    if len(done):
        first = int(done[0])
        none_censored = round(left[first - 1] * n) == at_risk[first] if first else True
        exact = clopper_pearson(0, n, confidence)
        low[done], high[done] = 0.0, high[first - 1] if first else 1.0
        if none_censored and exact is not None:
            high[done] = min(exact.high, float(high[first]))
    return low, high


def _first_below(step: np.ndarray, values: np.ndarray) -> float:
    """The first step at which half are left; infinite where none is."""
    there = np.flatnonzero(values <= 0.5 + SLACK)
    return float(step[there[0]]) if len(there) else float("inf")
