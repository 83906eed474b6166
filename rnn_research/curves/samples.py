"""The samples of a curve in classes: those whose gradient falls, keeps and rises."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnn_research.curves.bounds import TRIMMED

GAP, FOR_CHANCE = 0.5, 0.6
"""Two classes are apart where the gap between their inner quartiles is this share of what lies between the outer ones,
and more of few samples: so that of 16 or of 100 from one bell curve some 3% or fewer are taken for two."""
NOTHING = -120.0
"""log of a norm that no float32 holds: stands for zero where samples are told apart."""


@dataclass(frozen=True)
class SampleGroup:
    """A class of samples: `share` of all, the typical far ratio among them (0: exactly zero), and their typical slope
    in nats per application."""

    share: float
    ratio: float
    slope: float


def group(own: np.ndarray, score: np.ndarray, members: np.ndarray, known: np.ndarray) -> SampleGroup:
    if not members.any():
        return SampleGroup(0.0, float("nan"), float("nan"))
    with np.errstate(over="ignore"):
        ratio = float(np.exp(_middle(own[members])))
    return SampleGroup(float(members.sum() / known.sum()), ratio, _middle(score[members]))


def _middle(own: np.ndarray) -> float:
    ranked = np.sort(own)
    return float(ranked[(len(ranked) - 1) // 2])


def apart(own: np.ndarray, score: np.ndarray, classes: np.ndarray) -> bool:
    """Whether two classes of a quarter of the samples each are two populations and not the two ends of one bell curve:
    a factor of 2 apart, few samples between, and a gap between the inner quartiles of their slopes, of more than half
    of what lies between the outer ones (of a bell curve cut in two it is a quarter, of a flat one a third)."""
    far, slopes = (np.clip(values, NOTHING, -NOTHING) for values in (own, score))
    known = int((classes >= 0).sum())
    least, wide = max(TRIMMED * known, 2), GAP + FOR_CHANCE / max(known, 1) ** 0.5
    counts = [int((classes == number).sum()) for number in range(3)]
    for low, high in ((0, 1), (1, 2), (0, 2)):
        smaller = min(counts[low], counts[high])
        if smaller < least or (high - low == 2 and counts[1] > smaller / 2):
            continue
        one, other = (np.quantile(slopes[classes == number], (0.25, 0.75)) for number in (low, high))
        gap = other[0] - one[1] >= wide * (other[1] - one[0])
        if gap and np.median(far[classes == high]) - np.median(far[classes == low]) > np.log(2):
            return True
    return False
