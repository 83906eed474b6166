"""Which factor of the study explains the decay rate, and how much of it."""

from __future__ import annotations

from dataclasses import replace

from rnn_research.compare.comparison import Comparison
from rnn_research.compare.factors import option
from rnn_research.statistics.factors import Explained, explained

LEAST = 2
"""Conditions that make a question of it."""


def explained_rates(comparison: Comparison) -> Explained | None:
    """What each varying factor, and each pair of them, explains of the decay rates' variance over the runs whose
    gradient one rate describes; None where one condition is all that there is.

    Rates are of one training step: where runs were looked at at different ones, as where some diverged early, of the
    last at which all of them have a rate. Where there is none, `why` says it, and nothing is explained.
    """
    factors = comparison.distinguishing_factors
    if len(comparison.conditions) < LEAST or not factors:
        return None
    seen = [run for run in comparison.runs if run.chosen is not None and run.chosen.decay.holds]
    levels = {factor: [option(run.settings, factor) for run in seen] for factor in factors}
    seeds = [run.record.seed for run in seen]
    looked = {run.chosen.curve.step for run in seen if run.chosen is not None}
    shared = looked if len(looked) < LEAST else set.intersection(*(set(run.recorded) for run in seen))
    if not shared:
        found = explained([float("nan")] * len(seen), levels, seeds)
        return found if not seen else replace(found, why="the runs' rates are of different training steps")
    return explained([run.rate_at(max(shared)) for run in seen], levels, seeds)
