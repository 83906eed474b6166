"""The share of runs that reached something by each step, where some runs ended before they could."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from rnn_research.checks import choice
from rnn_research.statistics.intervals import CONFIDENCE, NAN, SEEDS

BETA_PRODUCT, LOG_LOG = "beta product", "log-log"
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
    band: str
    """The method of `low` and `high`."""
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
    solved: Sequence[int],
    censored: Sequence[int],
    never: int = 0,
    confidence: float = CONFIDENCE,
    band: str = BETA_PRODUCT,
) -> ReachedBy | None:
    """Kaplan and Meier's share solved by each step with its pointwise band, and the median step; None without runs.

    Runs are independent, and censored for reasons that say nothing of when they would have solved it. For fewer than 3
    runs there is no band. The band is, of the share left S,

    - `beta product` (Fay, Brittain and Proschan 2013, by moments): the upper end is the 1 - a/2 quantile of the product
      of Beta(n_t - d_t + 1, d_t) over the steps so far, the lower the a/2 quantile of that times Beta(m, 1), with m
      left. Each product stands as the Beta of its mean and variance. Without censoring this is Clopper and Pearson's
      interval: it covers at least as often as it says, with few runs too, and where none or all have solved it.
    - `log-log` (Greenwood 1926; Kalbfleisch and Prentice 1980), as lifelines gives it: S**exp(± z sqrt(V) / log S), V
      the sum of d_t / (n_t (n_t - d_t)). It is for many runs: with 5 it leaves out S = .9 in 8% of samples.
      NaN where S is 0 or 1, where lifelines' has no width.

    The median is the first step with S <= 1/2. Its interval runs from the first step at which the band allows that to
    the first at which it leaves nothing else (Brookmeyer and Crowley 1982); infinite where it never does.

    Args:
        solved, censored, never: as `kaplan_meier` takes them.

    Raises:
        ValueError: the band is none of these.
    """
    choice("band", band, (BETA_PRODUCT, LOG_LOG))
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
        low, high = (_beta_product if band == BETA_PRODUCT else _log_log)(at_risk, events, confidence)
    first, earliest, latest = (_first_below(step, values) for values in (left, low, high))
    median = MedianStep(first, NAN if why else earliest, NAN if why else latest, n, why)
    return ReachedBy(step, 1 - left, 1 - high, 1 - low, at_risk, median, n, band, why)


def _at_risk(
    times: np.ndarray, solved: Sequence[int], censored: Sequence[int], never: int
) -> Float[np.ndarray, " point"]:
    ends = np.sort(np.concatenate([np.asarray(solved, dtype=np.float64), np.asarray(censored, dtype=np.float64)]))
    return (len(ends) - np.searchsorted(ends, times) + never).astype(np.float64)


def _beta_product(at_risk: np.ndarray, events: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Fay, Brittain and Proschan's band of the share left."""
    from scipy.special import betaincinv

    tail, after = (1 - confidence) / 2, at_risk - events
    # E[B] and E[B²] of Beta(p, q) are p / (p + q) and that times (p + 1) / (p + q + 1); without an event both are 1
    mean = np.cumprod((after + 1) / (at_risk + 1))
    square = np.cumprod((after + 1) * (after + 2) / ((at_risk + 1) * (at_risk + 2)))
    with np.errstate(divide="ignore", invalid="ignore"):
        high = betaincinv(*_beta_of(mean, square), 1 - tail)
        low = betaincinv(*_beta_of(mean * after / (after + 1), square * after / (after + 2)), tail)
    return np.where(after > 0, low, 0.0), np.where(np.cumsum(events) > 0, high, 1.0)


def _beta_of(mean: np.ndarray, square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The parameters of the Beta with this mean and mean square."""
    total = (mean - square) / (square - mean**2)
    return mean * total, (1 - mean) * total


def _log_log(at_risk: np.ndarray, events: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Greenwood's band of the share left on the scale log(-log S); NaN where that is 0 or 1."""
    from scipy.special import ndtri

    left = np.cumprod(1 - events / np.maximum(at_risk, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.cumsum(events / (at_risk * (at_risk - events)))
        logs = np.log(left)
        reach = float(ndtri((1 + confidence) / 2)) * np.sqrt(variance) / np.abs(logs)
        low, high = np.exp(logs * np.exp(reach)), np.exp(logs * np.exp(-reach))
    inside = (left > SLACK) & (left < 1)
    return np.where(inside, low, NAN), np.where(inside, high, NAN)


def _first_below(step: np.ndarray, values: np.ndarray) -> float:
    """The first step at which half are left; infinite where none is."""
    there = np.flatnonzero(values <= 0.5 + SLACK)
    return float(step[there[0]]) if len(there) else float("inf")
