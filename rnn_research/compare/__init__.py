"""Runs compared: conditions, their curves and verdicts, effects of strategies. Needs no torch."""

from __future__ import annotations

from rnn_research.compare.across import AcrossTasks, across_tasks
from rnn_research.compare.as_json import SCHEMA, as_json
from rnn_research.compare.breakdown import Bins, Breakdown
from rnn_research.compare.clipping_norms import GradientNorms
from rnn_research.compare.comparison import Comparison, compare
from rnn_research.compare.conditions import Condition
from rnn_research.compare.effects import Effect
from rnn_research.compare.explained import explained_rates
from rnn_research.compare.frame import read
from rnn_research.compare.honesty import Caveat, caveats
from rnn_research.compare.optional_conditions import Confusion, ForeseenEffect
from rnn_research.compare.reading import ComparedRun
from rnn_research.compare.refused import NothingToCompare
from rnn_research.compare.run_summary import GradientAtStep, Series
from rnn_research.compare.select import ExcludedRun
from rnn_research.compare.success import Success

__all__ = [
    "SCHEMA",
    "AcrossTasks",
    "Bins",
    "Breakdown",
    "Caveat",
    "ComparedRun",
    "Comparison",
    "Condition",
    "Confusion",
    "Effect",
    "ExcludedRun",
    "ForeseenEffect",
    "GradientAtStep",
    "GradientNorms",
    "NothingToCompare",
    "Series",
    "Success",
    "across_tasks",
    "as_json",
    "caveats",
    "compare",
    "explained_rates",
    "read",
]
