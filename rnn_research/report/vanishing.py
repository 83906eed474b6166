"""The figure of vanishing curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rnn_research.compare import Comparison, Condition
from rnn_research.curves import DOUBLE, FALL, HALF, RISE
from rnn_research.report import columns, style
from rnn_research.report.legends import Made, band_says, crowded, legend, line, panels
from rnn_research.report.style import MUTED, Look
from rnn_research.statistics.intervals import Band

DOTS = (0, (1, 2))


def curves(comparison: Comparison, look: Look) -> Made | None:
    """The vanishing curves at the chosen step, beside those at the first, and in trees the sum over nodes."""
    shown = [c for c in comparison.conditions if c.chosen is not None and len(c.chosen.curve.x)]
    if not shown:
        return None
    trees = any(c.chosen and c.chosen.depth_sum for c in shown)
    rows = panels(shown, look)
    across = 3 if trees else 2
    figure = Figure(figsize=(7.6, 0.5 + 3.2 * len(rows)), layout="constrained")
    ratios = (1.9, *[1.0] * (across - 1))
    grid = figure.subplots(len(rows), across, squeeze=False, sharey="row", width_ratios=ratios)
    for row, (name, members) in zip(grid, rows, strict=True):
        _vanishing_row(row, name, members, look, comparison)
    dotted = Line2D([], [], color=MUTED, linewidth=0.9, linestyle=DOTS, label="bounds of the verdict")
    legend(figure, comparison, look, [dotted])
    caption = (
        f"The norm of the adjoint of {columns.state(comparison)} ({columns.loss(comparison)}) against distance, as a "
        "ratio to that at distance 1: geometric mean over the middle half of the probed samples, then over seeds. The "
        f"circle at distance 0 is the readout's own gradient. {band_says(shown, look)} A triangle marks where the "
        f"typical norm becomes exactly zero. Dotted: {FALL:g}, {HALF:g}, {DOUBLE:g} and {RISE:g}, the bounds of the "
        "verdict."
    )
    if trees:
        caption += " On the right the norms of all nodes at a depth are summed: nodes grow in number with depth."
    return Made("vanishing", "How far back the gradient reaches", caption, figure)


def _vanishing_row(
    row: np.ndarray, name: str, members: Sequence[Condition], look: Look, comparison: Comparison
) -> None:
    """At the chosen step, at the first, and in trees summed over the nodes at a depth."""
    trees = any(c.chosen and c.chosen.depth_sum for c in members)
    chains = any(c.chosen and not c.chosen.depth_sum for c in members)
    views: list[tuple[str, Callable[[Condition], Band | None]]] = [
        (columns.at(columns.step_title(comparison)), lambda c: c.chosen and c.chosen.curve),
        (columns.at(columns.start_title(comparison)), lambda c: c.start and c.start.curve),
        ("summed over nodes", lambda c: c.chosen and c.chosen.depth_sum),
    ]
    drawn: list[np.ndarray] = [np.array([-2.3, 0.3])]
    for axes, (title, view) in zip(row, views, strict=False):
        bands = [(c, band) for c in members if (band := view(c)) is not None]
        if not bands:
            axes.set_axis_off()
            continue
        drawn += [_curve(axes, band, look.stroke(c), crowded(members, look)) for c, band in bands]
        for threshold in (FALL, HALF, DOUBLE, RISE):
            axes.axhline(np.log10(threshold), color=MUTED, linewidth=0.9, linestyle=DOTS)
        axes.set_title(f"{name}\n{title}" if name and axes is row[0] else title)
        axes.set_xlabel("tree depth" if trees and not chains else "distance d")
    row[0].set_ylim(*style.limits(np.concatenate(drawn), margin=0.15))
    row[0].set_ylabel("gradient norm, relative to d = 1")
    row[0].set_xlabel(_x_label(trees, chains))


def _curve(axes: Axes, band: Band, stroke: dict[str, Any], crowded: bool) -> np.ndarray:
    """Draw a vanishing curve in decades (log10), with a triangle where it ends in exact zeros; returns
    them."""
    mean, low, high = (values / np.log(10) for values in (band.mean, band.low, band.high))
    apart = band.x < 1
    line(axes, Band(band.x[~apart], mean[~apart], low[~apart], high[~apart], band.n), stroke, crowded)
    hollow = {"marker": "o", "markersize": 4, "markerfacecolor": "none", "linestyle": ""}
    axes.plot(band.x[apart], mean[apart], color=stroke["color"], **hollow)
    gone = np.flatnonzero(np.isneginf(mean))
    if len(gone) and gone[0] > 0:
        last = max(mean[gone[0] - 1], np.log10(style.DEEPEST))
        axes.plot(band.x[gone[0] - 1], last, marker="v", markersize=6, color=stroke["color"], clip_on=False)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(style.power_of_ten))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    return mean


def _x_label(trees: bool, chains: bool) -> str:
    if not trees:
        return "distance d (cell applications to the loss)"
    if not chains:
        return "tree depth d (cell applications from the root)"
    return "distance d (cell applications to the loss; in a tree, depth)"
