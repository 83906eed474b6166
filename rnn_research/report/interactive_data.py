"""What the page's script is given: the comparison as plain lists, and each run. Computes no number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rnn_research.compare import ComparedRun, Comparison, Condition
from rnn_research.compare.page_data import PageData, config
from rnn_research.report import columns, metric_columns, optional_series
from rnn_research.report.names import joined, names
from rnn_research.report.norms import MOST_PANELS
from rnn_research.report.rounded import number, numbers
from rnn_research.statistics.intervals import SEEDS, Band, t_quantile
from rnn_research.statistics.slopes import thinned

VERSION = 2
MOST_RUNS_SHOWN = 2_000
DEGREES = 60
"""Of freedom, up to which the script is given Student's t."""
MOST_POINTS, FEW_POINTS = 200, 40
POINTS = 40_000
"""Of all lines of a figure together, about."""
MANY = 400
"""Of more runs a learning curve has few points."""
Block = dict[str, Any]


def block(comparison: Comparison, data: PageData, panels: Mapping[str, Sequence[Block]]) -> Block:
    """All of it; `panels` are where each figure's axes lie, by the figure's name."""
    common, own = config(comparison)
    runs = comparison.runs[:MOST_RUNS_SHOWN]
    most = max(FEW_POINTS, min(MOST_POINTS, POINTS // len(comparison.conditions)))
    places = {run.folder: index for index, run in enumerate(runs)}
    return {
        "version": VERSION,
        "metrics": [metric_columns.in_words(name) for name in comparison.metric_names],
        "step": _only([run.chosen.curve.step for run in comparison.runs if run.chosen]),
        "steps": list(data.steps),
        "factors": _factors(comparison),
        "conditions": [
            {
                "label": joined(comparison, c, comparison.distinguishing_factors) or "all runs",
                "options": [c.options[factor] for factor in comparison.distinguishing_factors],
                "metric": metric_columns.in_words(c.metric_name),
                "runs": [places[run.folder] for run in c.runs if run.folder in places],
                "training": {str(step): _xy(band.x, band.mean) for step, band in over.items()},
            }
            for c, over in zip(comparison.conditions, data.over_training, strict=True)
        ],
        "figures": {
            name: {"panels": list(where), "series": _series(comparison, data, name, most)}
            for name, where in panels.items()
        },
        "common": common,
        "runs": [_run(comparison, run, settings, data) for run, settings in zip(runs, own, strict=False)],
        "fewest": SEEDS,
        "t": [None, *(number(t_quantile(df), 17) for df in range(1, DEGREES + 1))],
    }


def _factors(comparison: Comparison) -> list[Block]:
    told = names(comparison)
    return [
        {"name": told[factor], "options": list(dict.fromkeys(c.options[factor] for c in comparison.conditions))}
        for factor in comparison.distinguishing_factors
    ]


def _run(comparison: Comparison, run: ComparedRun, settings: Mapping[str, str], data: PageData) -> Block:
    record = run.record
    found: Block = {
        "name": comparison.name(run.folder),
        "seed": record.seed,
        "status": record.status,
        "steps": record.steps,
        "parameters": record.parameters,
        "start": record.start,
        "engine": str(record.engine.get("used", "")) if isinstance(record.engine, dict) else "",
        "metric": number(run.score),
        "metric_name": metric_columns.in_words(run.metric),
        "command": columns.command(run),
        "config": dict(settings),
        "missing": list(run.missing),
    }
    if run.learning is not None:
        kept = _thin(len(run.learning.x), FEW_POINTS if len(comparison.runs) > MANY else MOST_POINTS)
        found["learning"] = _xy(run.learning.x[kept], run.learning.y[kept])
    if (detail := data.details.get(run.folder)) is not None:
        found |= {
            "log": list(data.logs.get(run.folder, ())),
            "step": detail.step.tolist(),
            "d": detail.distance.tolist(),
            "curve": [numbers(row) for row in detail.curve],
            "norm": [numbers(row, 3) for row in detail.norm],
        }
    return found


def _series(comparison: Comparison, data: PageData, name: str, most: int) -> list[Block]:
    """The numbers that a figure draws, by condition: the page's CSV."""
    makers = {
        "vanishing": lambda c: [("distance", "log_ratio", c.chosen and c.chosen.curve, "chosen")],
        "beginning": lambda c: [("distance", "log_ratio", c.start and c.start.curve, "first")],
        "nodes": lambda c: [("depth", "log_sum", c.chosen and c.chosen.depth_sum, "chosen")],
        "rates": lambda c: [("step", "slope", c.rates, "")],
        "learning": lambda c: [("step", metric_columns.in_words(c.metric_name), c.learning, "")],
    }
    found = []
    for place, c in enumerate(comparison.conditions):
        if name in makers:
            found += [_band(place, *one, most) for one in makers[name](c) if one[2] is not None]
        elif name == "success" and c.success:
            lines = {"solved": c.success.share, "low": c.success.low, "high": c.success.high}
            values = {"step": c.success.step.tolist()} | {name: numbers(line) for name, line in lines.items()}
            found.append({"c": place, "columns": values, "n": c.success.runs})
        elif name == "clipping" and c.norms and len(found) < MOST_PANELS:
            parts = ("step", "before", "before_low", "before_high", "after", "fired")
            found.append({"c": place, "columns": {part: numbers(getattr(c.norms, part)) for part in parts}})
        elif name == "beside_task":
            found += _points(place, c)
        elif name in ("norm_map", "saturation", "foreseen", "confusion"):
            found += optional_series.series(place, c, data, name)
        elif name in ("map", "phases"):
            found += _told(place, c, data)[name]
        elif name == "answers":
            found += [_answers(place, c, feature) for feature in c.answers]
    return found


def _band(place: int, x: str, y: str, found: Band, at: str, most: int) -> Block:
    kept = _thin(len(found.x), most)
    ends = {y: found.mean, "low": found.low, "high": found.high}
    values = {x: np.asarray(found.x)[kept].tolist()} | {name: numbers(column[kept]) for name, column in ends.items()}
    return {"c": place, "columns": values, "n": found.n} | ({"at": at} if at else {})


def _points(place: int, condition: Condition) -> list[Block]:
    """Each run's slope and metric."""
    kept = [run for run in condition.runs if run.chosen and not run.diverged]
    slopes = [run.chosen.decay.rate for run in kept if run.chosen]
    metric = metric_columns.in_words(condition.metric_name)
    values = {"slope": numbers(slopes), metric: numbers([run.score for run in kept])}
    return [{"c": place, "columns": values, "n": 1}] if kept and condition.metric_name else []


def _told(place: int, condition: Condition, data: PageData) -> dict[str, list[Block]]:
    """What the figures over training, and over two factors, shade."""
    over = data.over_training[place].items()
    training = [
        {"c": place, "columns": {"distance": band.x.tolist(), "log_ratio": numbers(band.mean)}, "at": f"step {step}"}
        for step, band in over
    ]
    far = condition.chosen.decay.far if condition.chosen else None
    ratio = {"far_ratio": numbers([far.ratio]), "low": numbers([far.low]), "high": numbers([far.high])} if far else {}
    return {"map": training, "phases": [{"c": place, "columns": ratio}] if ratio else []}


def _answers(place: int, condition: Condition, feature: str) -> Block:
    found = condition.answers[feature]
    means = [mean.mean if mean else float("nan") for mean in found.mean]
    return {"c": place, "at": feature, "columns": {"bin": list(found.bins.labels), "mean": numbers(means)}}


def _thin(count: int, most: int = MOST_POINTS) -> np.ndarray:
    """Evenly spread indices, both ends among them."""
    return thinned(count, most) if count else np.arange(0)


def _xy(x: np.ndarray, y: np.ndarray) -> list[list[Any]]:
    return [np.asarray(x).tolist(), numbers(y)]


def _only(values: Sequence[int]) -> int | None:
    return values[0] if len(set(values)) == 1 else None
