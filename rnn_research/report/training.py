"""The figures over training: the decay rate, and the task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from rnn_research.compare import Comparison, Condition
from rnn_research.compare.reading import split_metric
from rnn_research.report import looks, style
from rnn_research.report.legends import Made, band_says, crowded, legend, line, seeds_say
from rnn_research.report.looks import Look
from rnn_research.report.style import MUTED
from rnn_research.statistics.intervals import Band

SHORT_DASHES = (0, (3, 2))
View = Callable[[Condition], Band | None]
Levels = Callable[[Sequence[Condition]], list[float]]
Rows = Callable[[Condition], tuple[str, str]]


def rates(comparison: Comparison, look: Look) -> Made | None:
    """The decay rate over training."""
    shown = [c for c in comparison.conditions if c.rates is not None]
    if not any(len(c.rates.x) > 1 for c in shown if c.rates):
        return None
    figure, grid = _over_steps(
        shown, lambda c: c.rates, look, lambda _: [0.0], _names(comparison, look), False, lambda c: (look.panel(c), "")
    )
    views = tuple((axes, "rates") for axes in grid.flat)
    for axes in grid[:, 0]:
        axes.set_ylabel("slope (nats per application)")
    for axes in grid.flat:
        axes.axhline(0, color=MUTED, linewidth=0.8)
    legend(figure, comparison, look, dashes=False)
    caption = (
        "The slope b of log n = a + b d from distance 1 on (Theil-Sen) at each recorded step: at 0 the norm is kept, "
        "below it falls, above it rises. It is a rate only where one exponential fits. Mean over seeds. "
        f"{band_says(shown, look, apart=True)} {seeds_say(shown, _of_rates)}"
    )
    return Made("rates", "The slope over training", caption, figure, views)


def learning(comparison: Comparison, look: Look) -> Made | None:
    """The validation metric over training, with what a predictor without memory reaches."""
    shown = [c for c in comparison.conditions if c.learning is not None]
    if not shown:
        return None

    def row(condition: Condition) -> tuple[str, str]:  # what one axis can't hold, metrics that differ, has two
        return look.panel(condition), _metric(condition)

    figure, grid = _over_steps(shown, lambda c: c.learning, look, _baselines, _names(comparison, look), True, row)
    own = [metric for _, metric in dict.fromkeys(map(row, shown))]
    for axes, metric in zip(grid[:, 0], np.repeat(own, len(grid) // len(own)), strict=True):
        axes.set_ylabel(f"validation {metric}")
    metrics = list(dict.fromkeys(own))
    baseline = Line2D([], [], color=MUTED, linewidth=1, linestyle=SHORT_DASHES, label="baseline without memory")
    legend(figure, comparison, look, [baseline] if _baselines(shown) else [], dashes=False)
    caption = (
        f"{' or '.join(metrics).capitalize()} on the validation data against the optimiser step: mean over the "
        f"seeds that did not diverge. {band_says(shown, look, apart=True)} {seeds_say(shown, _finished)}"
    )
    return Made("learning", "The task", caption, figure, tuple((axes, "learning") for axes in grid.flat))


def _metric(condition: Condition) -> str:
    """The metric without its split, in words."""
    return split_metric(condition.metric_name or "")[1].replace("_", " ")


def _names(comparison: Comparison, look: Look) -> str:
    return looks.joined_names(look.dash_factors, comparison)


def _baselines(members: Sequence[Condition]) -> list[float]:
    known = [c.baseline for c in members if c.baseline is not None]
    return [level for level in dict.fromkeys(known) if np.isfinite(style.drawn(level))]


def _over_steps(
    shown: Sequence[Condition], view: View, look: Look, levels: Levels, names: str, draw_levels: bool, row_of: Rows
) -> tuple[Figure, np.ndarray]:
    """A row of panels for each kind of data (`row_of`: its title, and what else), in it one for each clipping (`names`
    says what that varies): the intervals of a few seeds are wide, and on top of each other can't be told apart.
    `levels` are on the axis."""
    rows, columns = list(dict.fromkeys(map(row_of, shown))), list(look.dashes)
    dense = crowded(shown, look, apart=True)
    wide = len(columns) if len(columns) <= 3 else 1
    high = len(rows) * len(columns) // wide
    figure = Figure(figsize=(7.6, 0.5 + 2.6 * high), layout="constrained")
    grid = figure.subplots(high, wide, squeeze=False, sharey="row")
    for axes, (row, column) in zip(grid.flat, product(rows, columns), strict=True):
        alike = [c for c in shown if row_of(c) == row]
        for level in levels(alike) if draw_levels else ():
            axes.axhline(level, color=MUTED, linewidth=1, linestyle=SHORT_DASHES)
        for condition in alike:
            if look.dash(condition) == look.dashes[column]:
                stroke = {"color": look.colour(condition), "linewidth": 1.6, "gid": look.gid(condition)}
                line(axes, view(condition), stroke, look.sign(condition), dense)
        axes.set_title(style.shortened(", ".join(filter(None, (row[0], column and f"{names}: {column}"))), 44))
        axes.set_xlabel("optimiser step")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        _to_means(axes, [view(c) for c in alike], levels(alike))
    return figure, grid


def _to_means(axes: Axes, bands: Sequence[Band | None], others: Sequence[float]) -> None:
    """An axis for the means: with few seeds the intervals can be much wider than all that is to be seen."""
    values = np.concatenate([np.asarray(others), *(band.mean for band in bands if band is not None)])
    values = values[np.isfinite(style.drawn(values))]
    if len(values):
        pad = 0.2 * (values.max() - values.min()) or 0.1
        axes.set_ylim(values.min() - pad, values.max() + pad)


def _of_rates(condition: Condition) -> int:
    """Of how many seeds its rates are."""
    return condition.rates.n if condition.rates else 0


def _finished(condition: Condition) -> int:
    """Of how many seeds its learning curve is."""
    return condition.learning.n if condition.learning else 0
