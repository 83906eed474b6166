"""What the gradient of a run does, as the comparison would say it: for loggers."""

from __future__ import annotations

import math
from pathlib import Path

from rnn_research import curves
from rnn_research.records import runs


def gradient_summary(folder: Path, diverged: int | None = None) -> tuple[dict[str, float], str]:
    """Numbers and the verdict, of all states together at the last recorded step with a finite norm; nothing where the
    run has no table of adjoints.

    `gradient_rate` is in nats per application of the cell, with its 95% interval, and there where one rate says what
    the curve does. `gradient_horizon` is a distance, there where the norm falls so far. `gradient_far_ratio` is the
    norm at the farthest distance judged over that at distance 1.

    Args:
        diverged: the step at which the run diverged.
    """
    try:
        table = runs.read_table(folder, "adjoint")
        if table is None or not len(table):
            return {}, ""
        curve = curves.curve(table, curves.last_step(table))
        decay = curves.decay(curve)
        verdict = curves.verdict(curve, decay, diverged)
    except (runs.DamagedRecord, ValueError):
        return {}, ""
    found = {"gradient_step": float(curve.step), "gradient_far_ratio": decay.far_ratio}
    if decay.holds:
        found |= {"gradient_rate": decay.rate, "gradient_rate_low": decay.low, "gradient_rate_high": decay.high}
    if decay.horizon is not None:
        found["gradient_horizon"] = float(decay.horizon)
    return {
        name: value for name, value in found.items() if not math.isnan(value)
    }, f"{verdict.headline}: {verdict.reason}"
