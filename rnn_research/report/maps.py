"""Figures of the gradient as a whole: over distance and training, over two numeric factors, and beside the task."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rnn_research.compare import ComparedRun, Comparison, Condition
from rnn_research.compare.page_data import PageData
from rnn_research.report import as_text, columns, decades, metric_columns, style
from rnn_research.report.legends import Made, legend, seeds_read, seeds_say
from rnn_research.report.looks import Look
from rnn_research.report.names import joined, names
from rnn_research.report.prose import typeset
from rnn_research.report.style import MUTED
from rnn_research.statistics.intervals import Band

MOST_MAPS = 12
WIDE = 3
FEWEST_STEPS = 3
FEWEST_POINTS = 4
SHADES = "cividis"
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
LIGHT = 0.55
"""Above this share of the range a shade is light, and letters on it dark."""


def training_map(comparison: Comparison, look: Look, data: PageData | None) -> Made | None:
    """The vanishing curve over training: shade is the norm relative to distance 1, a panel a condition."""
    about = (
        "The vanishing curve at the recorded steps of training: geometric mean over the middle half of the probed "
        "samples, then over seeds."
    )
    made = data and _map(comparison, look, data.over_training, 1 / np.log(10), "gradient norm, relative to d = 1")
    return made and Made("map", "The reach of the gradient over training", f"{about} {made[1]}", made[0])


def norm_map(comparison: Comparison, look: Look, data: PageData | None) -> Made | None:
    """The norm of the adjoint over training: shade is the norm itself, a panel a condition."""
    about = (
        f"The norm of the adjoint of {columns.state(comparison)} itself, not relative to distance 1, at the recorded "
        "steps of training: geometric mean over the probed samples, then over seeds; in units of the loss per unit of "
        "the state."
    )
    made = data and _map(comparison, look, data.norms, 1.0, "norm of the adjoint")
    return made and Made("norm_map", "The size of the gradient over training", f"{about} {made[1]}", made[0])


def _map(
    comparison: Comparison, look: Look, over: Sequence[dict[int, Band]], scale: float, label: str
) -> tuple[Figure, str] | None:
    """A map a condition of what times `scale` is a log10, and the end of its caption."""
    grids = [(c, _grid(own, scale)) for c, own in zip(comparison.conditions, over, strict=True)]
    shown = [(c, grid) for c, grid in grids if grid is not None]
    if not shown:
        return None
    drawn = shown[:MOST_MAPS]
    levels = _levels(np.concatenate([values.ravel() for _, (_, _, values) in drawn]))
    figure, panels = _panels(len(drawn))
    made = None
    for axes, (condition, (x, y, values)) in zip(panels, drawn, strict=True):
        made = axes.contourf(x, y, np.clip(values, levels[0], levels[-1]), levels=levels, cmap=SHADES)
        axes.set_gid(look.gid(condition))
        axes.set_title(style.shortened(joined(comparison, condition, comparison.distinguishing_factors), 34))
        axes.set_xlabel("distance d (applications)")
        for spacing in (axes.xaxis, axes.yaxis):
            spacing.set_major_locator(MaxNLocator(nbins=5, integer=True))
    for axes in panels[::WIDE]:
        axes.set_ylabel("optimiser step")
    assert made is not None
    bar = figure.colorbar(made, ax=panels, label=label, aspect=30)
    bar.ax.yaxis.set_major_locator(decades.DecadeLocator())
    bar.ax.yaxis.set_major_formatter(FuncFormatter(decades.power_of_ten))
    caption = f"Blank: no norm, or exactly zero. {seeds_say([c for c, _ in drawn], seeds_read)}"
    if len(drawn) < len(shown):
        caption += f" The first {len(drawn)} of {len(shown)} conditions are drawn."
    return figure, caption


def beside_task(comparison: Comparison, look: Look) -> Made | None:
    """Each run's metric against its slope."""
    shown = [c for c in comparison.conditions if c.metric_name is not None]
    points = [(c, run) for c in shown for run in c.runs if _point(run) is not None]
    if len(points) < FEWEST_POINTS:
        return None
    metrics = list(dict.fromkeys(c.metric_name for c, _ in points))
    figure = Figure(figsize=(7.6, 0.6 + 3.0 * len(metrics)), layout="constrained")
    panels = list(figure.subplots(len(metrics), 1, squeeze=False, sharex=True).flat)
    for axes, metric in zip(panels, metrics, strict=True):
        _points(axes, [c for c in shown if c.metric_name == metric], look)
        axes.set_ylabel(metric_columns.in_words(metric))
    panels[-1].set_xlabel("slope of the vanishing curve (nats per application)")
    legend(figure, comparison, look, dashes=False)
    caption = (
        "Each point is a run: its slope at the chosen step (at 0 the norm is kept) and its "
        f"{' or '.join(map(metric_columns.in_words, metrics))}; hollow where the line of its condition is dashed. "
        f"Runs that diverged, or whose curve has no slope, are left out. n = {len(points)} runs. That two go together "
        "does not say that one makes the other."
    )
    views = tuple((axes, "beside_task") for axes in panels)
    return Made("beside_task", "The task beside the gradient", caption, figure, views)


def _points(axes: Axes, conditions: Sequence[Condition], look: Look) -> None:
    """The runs of conditions that are compared by one metric."""
    for condition in conditions:
        own = [_point(run) for run in condition.runs]
        there = np.array([point for point in own if point is not None])
        if not len(there):
            continue
        stroke = look.stroke(condition)
        dot = {"linestyle": "", "markersize": 6, "alpha": 0.85, "color": stroke["color"], "gid": stroke["gid"]}
        hollow = {} if stroke["linestyle"] == "solid" else {"markerfacecolor": "none", "markeredgewidth": 1.4}
        axes.plot(there[:, 0], there[:, 1], marker=look.marker(condition), **dot, **hollow)
    axes.axvline(0, color=MUTED, linewidth=0.8)


def phases(comparison: Comparison, look: Look) -> Made | None:
    """The far ratio over two numeric factors, where these are all that varies."""
    factors = comparison.distinguishing_factors
    if len(factors) != 2 or not all(NUMBER.fullmatch(c.options[f]) for c in comparison.conditions for f in factors):
        return None
    levels = [sorted({float(c.options[factor]) for c in comparison.conditions}) for factor in factors]
    if min(map(len, levels)) < 2 or max(map(len, levels)) < 3:
        return None
    if len(levels[0]) > len(levels[1]):
        factors, levels = factors[::-1], levels[::-1]
    place = {tuple(float(c.options[f]) for f in factors): c for c in comparison.conditions}
    figure = Figure(figsize=(7.6, 1.1 + 0.5 * len(levels[0])), layout="constrained")
    axes = figure.subplots()
    logs = [_far(c) for c in place.values()]
    low, high = decades.limits(np.array([*logs, 0.0]), margin=0.0)
    for (row, column), condition in place.items():
        _tile(axes, levels[1].index(column), levels[0].index(row), condition, look, (low, high))
    axes.set(xlim=(-0.5, len(levels[1]) - 0.5), ylim=(-0.5, len(levels[0]) - 0.5))
    axes.set_xticks(range(len(levels[1])), [f"{level:g}" for level in levels[1]])
    axes.set_yticks(range(len(levels[0])), [f"{level:g}" for level in levels[0]])
    told = names(comparison)
    axes.set(xlabel=told[factors[1]], ylabel=told[factors[0]])
    axes.grid(visible=False)
    caption = (
        "The far ratio and the verdict for each pair of values: bright where the gradient arrives, dark where it does "
        f"not. {seeds_say(list(place.values()), seeds_read)}"
    )
    return Made("phases", "Where the gradient arrives", caption, figure)


def _tile(axes: Axes, x: int, y: int, condition: Condition, look: Look, ends: tuple[float, float]) -> None:
    """One pair of values: shade, far ratio and word."""
    log = _far(condition)
    share = 0.0 if log == -np.inf else float(np.clip((log - ends[0]) / (ends[1] - ends[0]), 0, 1))
    shade = style.shade(SHADES, share) if log == log else style.GRID
    axes.fill_between([x - 0.49, x + 0.49], y - 0.48, y + 0.48, color=shade, linewidth=0, gid=look.gid(condition))
    found = condition.chosen
    text = (
        as_text.NOTHING
        if found is None
        else f"{unescape(typeset(as_text.far(found).partition(' [')[0]))}\n{found.verdict.said}"
    )
    ink = "#000000" if share > LIGHT or log != log else "#fefefe"
    axes.text(x, y, text, ha="center", va="center", fontsize=7, color=ink, gid=look.gid(condition))


def _far(condition: Condition) -> float:
    """log10 of the far ratio."""
    return float("nan") if condition.chosen is None else condition.chosen.decay.far.log / float(np.log(10))


def _point(run: ComparedRun) -> tuple[float, float] | None:
    if run.chosen is None or run.diverged:
        return None
    point = (run.chosen.decay.rate, run.score)
    return point if np.isfinite(style.drawn(point)).all() and not run.chosen.decay.bounded else None


def _grid(over: dict[int, Band], scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """(distance, step, log10 norm) of a condition; None where there is too little to shade."""
    steps = [step for step, found in over.items() if len(found.x) > 1 and np.isfinite(found.mean).any()]
    if len(steps) < FEWEST_STEPS:
        return None
    x = over[steps[0]].x
    for step in steps[1:]:
        x = np.intersect1d(x, over[step].x)
    x = x[x >= 1]
    if len(x) < FEWEST_STEPS:
        return None
    rows = [over[step].mean[np.searchsorted(over[step].x, x)] * scale for step in steps]
    values = np.array(rows)
    return x, np.array(steps), np.where(np.isfinite(values), values, np.nan)


def _levels(values: np.ndarray) -> np.ndarray:
    """Where one shade ends and another begins: whole decades where there are enough, else evenly."""
    low, high = decades.limits(values, margin=0.0)
    if high - low < 3:
        return np.linspace(low, high + 1e-9, 9)
    apart = max(1, round((high - low) / 12))
    return np.arange(np.floor(low / apart) * apart, np.ceil(high / apart) * apart + apart, apart)


def _panels(count: int) -> tuple[Figure, Sequence[Axes]]:
    wide = min(count, WIDE)
    high = -(-count // wide)
    figure = Figure(figsize=(7.6, 0.3 + 2.1 * high), layout="constrained")
    grid = list(figure.subplots(high, wide, squeeze=False, sharex=False, sharey=False).flat)
    for axes in grid:
        axes.grid(visible=False)
    for axes in grid[count:]:
        axes.set_axis_off()
    return figure, grid[:count]
