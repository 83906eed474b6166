"""The comparison as plain values: what is on the page, in the terminal and in the figures comes from these numbers.

The layout is documented in docs/comparison_json.md, and `SCHEMA` changes with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

import rnn_research
from rnn_research.compare.across import across_tasks
from rnn_research.compare.comparison import Comparison
from rnn_research.compare.conditions import Condition
from rnn_research.compare.effects import Effect
from rnn_research.compare.explained import explained_rates
from rnn_research.compare.honesty import caveats
from rnn_research.compare.reading import ComparedRun
from rnn_research.curves import Reading
from rnn_research.records import runs

SCHEMA = 2
OF_DECAY = ("half_life", "holds", "gamma")
"""Properties of a decay that are written beside its fields."""


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison in what any reader of JSON takes; numbers that are none are the text "nan", "inf" or "-inf"."""
    found = {
        "schema": SCHEMA,
        "rnn_research": rnn_research.__version__,
        "folder": str(comparison.folder),
        "metric": comparison.metric,
        "metrics": dict(comparison.metrics),
        "state": comparison.state,
        "part": comparison.part,
        "step": comparison.step,
        "fraction": comparison.fraction,
        "where": comparison.where,
        "baseline": dict(comparison.baseline),
        "factors": {
            "varying": comparison.varying,
            "distinguishing": comparison.distinguishing_factors,
            "pooled": comparison.pooled,
            "constant": comparison.constant,
        },
        "conditions": [_condition(comparison, condition) for condition in comparison.conditions],
        "effects": [_effect(comparison, effect) for effect in comparison.effects],
        "across_tasks": [_plain(one) for one in across_tasks(comparison)],
        "explained": _plain(explained_rates(comparison)),
        "caveats": [_plain(caveat) for caveat in caveats(comparison)],
        "excluded": [{"run": comparison.name(item.folder), "reason": item.reason} for item in comparison.excluded],
        "notes": comparison.notes,
    }
    return runs.plain(found)


def _condition(comparison: Comparison, condition: Condition) -> dict[str, Any]:
    return {
        "label": comparison.label(condition),
        "options": condition.options,
        "runs": [_run(comparison, run) for run in condition.runs],
        "gradient": _reading(condition.chosen),
        "gradient_at_first_step": _reading(condition.start),
        "beside": {name: _reading(reading) for name, reading in condition.beside.items()},
        "metric": _plain(condition.metric),
        "metric_name": condition.metric_name,
        "metric_scale": condition.scale.value,
        "metric_baseline": condition.baseline,
        "clipped": _plain(condition.clipped),
        "success": _plain(condition.success),
        "diverged": len(condition.diverged),
        "parameters": condition.parameters,
        "rates": _plain(condition.rates),
        "learning": _plain(condition.learning),
        "norms": _plain(condition.norms),
        "saturation": _plain(condition.saturation),
        "foreseen": _plain(condition.foreseen),
        "confusion": _plain(condition.confusion),
        "answers": {
            name: {"bins": found.bins.labels, "mean": _plain(found.mean), "samples": found.samples}
            for name, found in condition.answers.items()
        },
    }


def _run(comparison: Comparison, run: ComparedRun) -> dict[str, Any]:
    seen = run.chosen
    return {
        "run": comparison.name(run.folder),
        "seed": run.record.seed,
        "status": run.record.status,
        "metric": run.metric,
        "steps": run.record.steps,
        "final": run.record.final,
        "step": None if seen is None else seen.curve.step,
        "rate": None if seen is None else seen.decay.rate,
        "far_ratio": None if seen is None else seen.decay.far_ratio,
        "verdict": None if seen is None else seen.verdict.word,
        "missing": run.missing,
    }


def _reading(reading: Reading | None) -> dict[str, Any] | None:
    if reading is None:
        return None
    decay = _plain(reading.decay)
    return {
        "verdict": _plain(reading.verdict) | {"said": reading.verdict.headline},
        "decay": decay | {name: _plain(getattr(reading.decay, name)) for name in OF_DECAY},
        "curve": _plain(reading.curve),
        "depth_sum": _plain(reading.depth_sum),
        "words_of_seeds": reading.words,
    }


def _effect(comparison: Comparison, effect: Effect) -> dict[str, Any]:
    def number(name: str) -> dict[str, Any] | None:
        found = _plain(getattr(effect, name))
        more = {key: getattr(effect, f"{name}_{key}") for key in ("p", "detectable", "rank_p")}
        return None if found is None else found | more

    return {
        "condition": comparison.label(effect.clipped),
        "baseline": comparison.label(effect.plain),
        "step": effect.step,
        "rate": number("rate"),
        "metric": number("metric"),
        "notes": effect.notes,
    }


def _plain(value: Any) -> Any:
    """A dataclass as an object of its fields, an array as a list."""
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, np.ndarray):
        return [_plain(one) for one in value.tolist()]
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value
