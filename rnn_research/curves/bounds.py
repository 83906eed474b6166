"""The bounds of the verdict, in one place: everything that judges, draws or explains takes them from here."""

from __future__ import annotations

import numpy as np

FALL, HALF, DOUBLE, RISE = 1e-2, 0.5, 2.0, 1e2
"""Of the far ratio F, the typical norm at the farthest distance over that at distance 1."""
LADDER = ("vanishes", "weakens", "keeps", "grows", "explodes")
"""The word below `FALL`, below `HALF`, up to `DOUBLE`, up to `RISE`, and above."""
WORDS = (
    *LADDER,
    "gone",
    "falls and rises",
    "rises and falls",
    "samples differ",
    "seeds disagree",
    "too short",
    "no gradient",
)
MARGIN = 0.1
"""In log F: nearer to a bound than this is borderline, whatever the interval. The bounds are conventions, and a factor
of 1.1 is nothing; and an interval of no width, of equal seeds, says nothing of how sure one can be."""
TRIMMED = 0.25
"""The share of samples that is left out at each end of the typical curve; two classes of so many differ."""
DISAGREE = 50.0
"""Seeds disagree whose far ratios are a factor of so much apart, and their words not neighbours."""
FEW = 10
"""Applications, below which a word is said to be over only so many."""


def rung(log_far: float) -> int:
    """Where log F is on `LADDER`."""
    below = [log_far < np.log(FALL), log_far < np.log(HALF), log_far <= np.log(DOUBLE), log_far <= np.log(RISE)]
    return below.index(True) if any(below) else len(below)
