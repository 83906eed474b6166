"""How much of the gradient arrives at the farthest distance judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnn_research.curves.samples import SampleGroup


@dataclass(frozen=True)
class FarRatio:
    """What arrives at the farthest distance judged: F = `ratio` with its 95% interval over samples, or over seeds.

    `ratio` is 0 where the gradient is exactly zero there and inf where it overflows; NaN where there is none.
    """

    ratio: float
    low: float
    high: float
    error: float
    """Standard error of log F over samples; of several seeds that of their mean, from samples alone."""
    below: float
    above: float
    """How far below and above log F the samples alone leave it open (95%), each side for itself: where a few samples
    are of another kind they pull it to their side alone. 0 where there is no interval over samples."""
    under: bool
    """Whether the norms have sunk below what float32 holds there: `ratio` is only a bound, F is at most that."""
    first: int
    """The distance that F is relative to: 1, or the first beyond that has a norm."""
    last: int
    lowest: tuple[int, float]
    highest: tuple[int, float]
    """Where the typical curve is lowest and highest, single distances apart, and its ratio to the start there."""
    gone: float
    """The share of samples whose norms are exactly zero over the whole last tenth."""
    zero_from: int | None
    """The distance from which on the typical norm is exactly zero, at `last` or beyond; None if it isn't."""
    falls: SampleGroup
    keeps: SampleGroup
    rises: SampleGroup
    differ: bool

    @property
    def log(self) -> float:
        """log F."""
        with np.errstate(divide="ignore"):
            return float(np.log(self.ratio))

    @property
    def length(self) -> int:
        """Applications from distance `first` to `last`."""
        return max(self.last - self.first, 0)
