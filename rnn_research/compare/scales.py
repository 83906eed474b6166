"""On which scale a metric is averaged and compared: as it is, on logarithms, or as a share from 0 to 1."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from enum import Enum

import numpy as np

from rnn_research.statistics.intervals import (
    STUDENT_CUT,
    Band,
    Interval,
    exponential_band,
    geometric_interval,
    interval,
)

OF_LOGS = ("perplexity", "mse", "rmse", "mae", "squared", "absolute", "norm", "norms", "ratio", "ratios", "timescale")
OF_SHARES = ("accuracy", "f1", "auc", "auroc", "precision", "recall", "share", "error_rate")


HIGHER = (
    "accuracy",
    "f1",
    "auc",
    "r2",
    "precision",
    "recall",
    "score",
    "correlation",
    "kappa",
    "bleu",
    "chrf",
    "likelihood",
)
LOWER = ("loss", "error", "mse", "rmse", "mae", "nll", "perplexity", "bits", "bpc", "entropy", "regret")


class MetricScale(Enum):
    """How a number is averaged over seeds."""

    PLAIN = "plain"
    """Near normal: losses, bits, rates."""
    LOG = "log"
    """Positive, and compared by its ratio: perplexities, squared errors, norms."""
    SHARE = "share"
    """From 0 to 1."""


def scale_of(metric: str | None, values: Iterable[float] = ()) -> MetricScale:
    """The scale of a metric by the words of its name, such as `test_perplexity`.

    Args:
        values: what it was in the runs. A share that is beyond 0 or 1 is none, such as an accuracy in per cent.
    """
    name = metric or ""
    words = name.split("_")
    if any(word in words for word in OF_LOGS):
        return MetricScale.LOG
    if any(name == share or name.endswith(f"_{share}") for share in OF_SHARES):
        there = [value for value in values if np.isfinite(value)]
        return MetricScale.SHARE if all(0 <= value <= 1 for value in there) else MetricScale.PLAIN
    return MetricScale.PLAIN


def less_is_better(metric: str) -> bool:
    """Whether the metric's name says so: a loss, an error, a perplexity."""
    return any(word in LOWER for word in metric.split("_"))


def scaled_interval(values: Sequence[float] | np.ndarray, scale: MetricScale) -> Interval | None:
    """The mean over seeds and its interval on this scale: of logs the geometric mean; of shares Student's, cut at 0
    and 1 and named so where that cuts it. None where there is no finite value."""
    if scale is MetricScale.LOG:
        return geometric_interval(values)
    found = interval(values)
    return found if found is None or scale is MetricScale.PLAIN else cut(found, 0.0, 1.0)


def cut(found: Interval, low: float, high: float) -> Interval:
    """The interval without what can't be, and its method then says that it was cut."""
    if not (found.low < low or found.high > high):
        return found
    return replace(found.within(low, high), method=STUDENT_CUT)


def scaled_band(found: Band | None, scale: MetricScale) -> Band | None:
    """A band that was made on this scale as one of the numbers themselves: exp of one of logs; of shares cut at 0
    and 1."""
    if found is None or scale is MetricScale.PLAIN:
        return found
    if scale is MetricScale.LOG:
        return exponential_band(found)
    return replace(found, low=np.maximum(found.low, 0.0), high=np.minimum(found.high, 1.0))
