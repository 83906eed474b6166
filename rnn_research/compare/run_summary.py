"""What a comparison keeps of one run's files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

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
    """One run's y against the optimiser step x."""

    x: Int[np.ndarray, " step"]
    y: Float[np.ndarray, " step"]


@dataclass(frozen=True, eq=False)
class RunSummary:
    """What one run's tables say.

    `steps` are those at which adjoints were recorded. `start` is the first of them and `chosen` the one asked for;
    `beside` are the state's parts and layers at that step, by name. `rates` are of every recorded step (of many, of
    some), and `learning` is the validation metric. `answers` are grouped by feature, and `measure` says what they
    measure. What can't be had is None, and `missing` says why.
    """

    states: tuple[str, ...]
    steps: tuple[int, ...]
    start: GradientAtStep | None
    chosen: GradientAtStep | None
    rates: Series | None
    clipping: ClippingSummary | None
    learning: Series | None
    missing: tuple[str, ...]
    answers: dict[str, AnswersByValue]
    measure: str
    beside: dict[str, GradientAtStep]
