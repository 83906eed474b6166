"""What a comparison keeps of one run's files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from rnn_research.compare.breakdown import AnswersByValue
from rnn_research.compare.clipping_norms import ClippingSummary
from rnn_research.curves import CurveSummary, Decay, Verdict


@dataclass(frozen=True, eq=False)
class GradientAtStep:
    """The gradient of one run at one recorded step."""

    curve: CurveSummary
    decay: Decay
    verdict: Verdict


@dataclass(frozen=True, eq=False)
class Series:
    """One run's y against the optimiser step x, or the middle of some steps."""

    x: Shaped[np.ndarray, " step"]
    y: Float[np.ndarray, " step"]


@dataclass(frozen=True, eq=False)
class RateSeries(Series):
    """One run's decay rate y at the recorded optimiser steps x; `holds` where one rate says what the curve does."""

    holds: Bool[np.ndarray, " step"]


@dataclass(frozen=True, eq=False)
class StrategyBins:
    """What a strategy would have done in one run, in bins of `width` steps, a power of two, the first bin from step 0
    on. In a bin are the steps with a finite gradient that it would not have skipped."""

    width: int
    number: Int[np.ndarray, " bin"]
    """Which bin, ascending."""
    count: Float[np.ndarray, " bin"]
    """Of steps."""
    cosine: Float[np.ndarray, " bin"]
    """The sum over the steps; of `log_size`, log(norm after / norm before), likewise."""
    log_size: Float[np.ndarray, " bin"]
    skipped: float
    """The share of steps that it would have skipped."""


@dataclass(frozen=True, eq=False)
class RunSummary:
    """What one run's tables say.

    `steps` are those at which adjoints were recorded. `start` is the first of them and `chosen` the one asked for;
    `beside` are the state's parts and layers at that step, by name. `rates` are of every recorded step (of many, of
    some), and `learning` is the validation metric. `answers` are grouped by feature, and `measure` says what they
    measure. `saturation` is by activation, `foreseen` what strategies would have done by name, and `confusions` counts
    the test samples by true (row) and predicted class. What can't be had is None, and `missing` says why.
    """

    states: tuple[str, ...]
    steps: tuple[int, ...]
    start: GradientAtStep | None
    chosen: GradientAtStep | None
    rates: RateSeries | None
    clipping: ClippingSummary | None
    learning: Series | None
    missing: tuple[str, ...]
    answers: dict[str, AnswersByValue]
    measure: str
    beside: dict[str, GradientAtStep]
    saturation: dict[str, Series]
    foreseen: dict[str, StrategyBins]
    confusions: Int[np.ndarray, "true predicted"] | None

    @property
    def recorded(self) -> tuple[int, ...]:
        """The steps at which a rate is known that says what the curve does."""
        at = [] if self.rates is None else self.rates.x[self.rates.holds].tolist()
        more = [self.chosen.curve.step] if self.chosen is not None and self.chosen.decay.holds else []
        return tuple(sorted({*at, *more}))

    def rate_at(self, step: int) -> float:
        """The decay rate at a step; NaN where it is not known, or where one rate does not say what the curve does."""
        if self.chosen is not None and self.chosen.curve.step == step:
            return self.chosen.decay.rate if self.chosen.decay.holds else float("nan")
        if self.rates is None:
            return float("nan")
        found = self.rates.y[(self.rates.x == step) & self.rates.holds]
        return float(found[0]) if len(found) else float("nan")


@dataclass(frozen=True, eq=False)
class RunDetail:
    """One run at each recorded step that is shown: the typical curve, log(n_d / n_1), and the norm itself."""

    step: Int[np.ndarray, " step"]
    distance: Int[np.ndarray, " distance"]
    curve: Float[np.ndarray, "step distance"]
    norm: Float[np.ndarray, "step distance"]
    """log10 of the geometric mean of the norms; NaN where there is none, -inf where most are exactly zero."""
