"""Which factor of the study explains the decay rate, and how much of it."""

from __future__ import annotations

from rnn_research.compare.comparison import Comparison
from rnn_research.compare.factors import option
from rnn_research.statistics.factors import Explained, explained

LEAST = 2
"""Conditions that make a question of it."""


def explained_rates(comparison: Comparison) -> Explained | None:
    """What each varying factor, and each pair of them, explains of the decay rates' variance over the runs whose
    gradient one rate describes; None where one condition is all that there is."""
    factors = comparison.distinguishing_factors
    if len(comparison.conditions) < LEAST or not factors:
        return None
    seen = [run for run in comparison.runs if run.chosen is not None and run.chosen.decay.holds]
    rates = [run.chosen.decay.rate for run in seen if run.chosen is not None]
    levels = {factor: [option(run.settings, factor) for run in seen] for factor in factors}
    return explained(rates, levels, [run.record.seed for run in seen])
