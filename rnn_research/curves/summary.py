"""One run's curve without its samples: what a comparison keeps of it, however many runs it reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from rnn_research.curves.norms import Curve
from rnn_research.curves.typical import Typical, typical


@dataclass(frozen=True, eq=False)
class CurveSummary:
    """The typical curve of one run: `state`, `parts`, `terminal`, `layer` and `step` are as in `Curve`."""

    state: str
    parts: tuple[str, ...]
    terminal: bool
    layer: int | None
    step: int
    samples: int
    distance: Int[np.ndarray, " distance"]
    log: Float[np.ndarray, " distance"]
    """log(n_d / n_1) of the typical sample: `Typical.log`."""
    log_depth_sum: Float[np.ndarray, " distance"]
    """log of `Curve.depth_sum` less its value at distance 1."""
    branching: bool
    """Whether some sample has several positions at one distance, as trees do."""


def summary(curve: Curve, seen: Typical | None = None) -> CurveSummary:
    """The summary of `curve`; `seen` is its `typical`, where that is known already."""
    seen = typical(curve, resamples=0) if seen is None else seen
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(curve.depth_sum)
        start = min(seen.origin, len(log) - 1)
        log_depth_sum = log - log[start : start + 1]
    return CurveSummary(
        curve.state, curve.parts, curve.terminal, curve.layer, curve.step, len(curve.log_norm), curve.distance,
        seen.log, log_depth_sum, curve.branching,
    )  # fmt: skip
