"""The global gradient norm before and after clipping: of one run in bins of steps, and of several runs together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

BINS = 150
COLUMNS = ("step", "norm_before", "norm_after", "fired")
"""Of the table `clipping`, those that are read."""


@dataclass(frozen=True, eq=False)
class ClippingSummary:
    """One run's norms in at most 150 bins of `width` steps, a power of two, the first bin from step 0 on: so bins of
    several runs are put together exactly. In a bin are the steps whose norms are positive and finite.
    """

    width: int
    number: Int[np.ndarray, " bin"]
    """Which bin, ascending: those with steps in them."""
    count: Int[np.ndarray, " bin"]
    step: Float[np.ndarray, " bin"]
    """The sum of the steps; of `log_before`, `log_after` and `fired` likewise."""
    log_before: Float[np.ndarray, " bin"]
    before_low: Float[np.ndarray, " bin"]
    before_high: Float[np.ndarray, " bin"]
    log_after: Float[np.ndarray, " bin"]
    fired: Float[np.ndarray, " bin"]
    share: float
    """The share of steps in which clipping fired, of those whose norm before is finite; NaN where none is."""

    @property
    def acted(self) -> bool:
        """Whether clipping fired at all."""
        return self.share > 0


@dataclass(frozen=True, eq=False)
class GradientNorms:
    """The global gradient norm before and after clipping, over the seeds' steps in at most 150 bins."""

    step: Float[np.ndarray, " bin"]
    before: Float[np.ndarray, " bin"]
    """Geometric mean of the finite, nonzero norms."""
    before_low: Float[np.ndarray, " bin"]
    before_high: Float[np.ndarray, " bin"]
    """Their extremes: one spike is what clipping is for."""
    after: Float[np.ndarray, " bin"]
    fired: Float[np.ndarray, " bin"]
    """The fraction of steps in which clipping changed the gradient."""


def clipping_summary(table: np.ndarray) -> ClippingSummary:
    """The summary of a run's table `clipping`."""
    before, after = (table[name].astype(np.float64) for name in ("norm_before", "norm_after"))
    fired, step = table["fired"].astype(np.float64), table["step"].astype(np.int64)
    finite = np.isfinite(before)
    plain = finite & (before > 0) & np.isfinite(after) & (after > 0)
    share = float(fired[finite].mean()) if finite.any() else float("nan")
    before, after, fired, step = before[plain], after[plain], fired[plain], step[plain]
    width = _width(step)
    one = ClippingSummary(
        1, step, np.ones(len(step), dtype=np.int64), step.astype(np.float64), np.log(before), before, before,
        np.log(after), fired, share,
    )  # fmt: skip
    return _binned([one], width, share)


def gradient_norms(runs: Sequence[ClippingSummary]) -> GradientNorms | None:
    """The norms of several runs together; None where none has one."""
    there = [run for run in runs if len(run.number)]
    if not there:
        return None
    steps = np.concatenate([run.number * run.width for run in there])
    found = _binned(there, max(max(run.width for run in there), _width(steps)), float("nan"))
    count = found.count
    return GradientNorms(
        step=found.step / count,
        before=np.exp(found.log_before / count),
        before_low=found.before_low,
        before_high=found.before_high,
        after=np.exp(found.log_after / count),
        fired=found.fired / count,
    )


def _width(steps: np.ndarray) -> int:
    """The power of two that puts the steps in at most `BINS` bins."""
    width = 1
    while len(steps) and int(steps.max()) // width - int(steps.min()) // width >= BINS:
        width *= 2
    return width


def _binned(runs: Sequence[ClippingSummary], width: int, share: float) -> ClippingSummary:
    """The bins of several runs in bins of this width, a multiple of theirs."""
    number = np.concatenate([run.number * run.width // width for run in runs])
    order = np.argsort(number, kind="stable")
    starts = np.flatnonzero(np.diff(number[order], prepend=-1)) if len(number) else np.arange(0)

    def of_all(name: str, merge: np.ufunc) -> np.ndarray:
        values = np.concatenate([getattr(run, name) for run in runs])[order]
        return merge.reduceat(values, starts) if len(starts) else values

    sums = {name: of_all(name, np.add) for name in ("count", "step", "log_before", "log_after", "fired")}
    return ClippingSummary(
        width=width,
        number=number[order][starts],
        before_low=of_all("before_low", np.minimum),
        before_high=of_all("before_high", np.maximum),
        share=share,
        **sums,
    )
