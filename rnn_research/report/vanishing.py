"""The figures of vanishing curves: at the chosen step, at the first, and in trees summed over the nodes at a depth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from rnn_research.compare import Comparison, Condition
from rnn_research.curves import DOUBLE, FALL, HALF, RISE
from rnn_research.report import columns, decades
from rnn_research.report.legends import (
    Made,
    band_says,
    crowded,
    legend,
    line,
    panels,
    seeds_read,
    seeds_say,
    undrawn,
)
from rnn_research.report.looks import Look
from rnn_research.report.style import MUTED, PAPER
from rnn_research.statistics.intervals import Band

DOTS = (0, (1, 2))
VERDICTS = ((FALL, "vanishes"), (HALF, "weakens"), (DOUBLE, "keeps"), (RISE, "grows"))
WIDTH = 6.6
"""Inches: as wide as a page's text, and half a screen with letters that can be read."""
ROOM = -5.1
"""Decades."""
WIDE = 3
"""Panels a row."""
View = Callable[[Condition], Band | None]


def curves(comparison: Comparison, look: Look) -> Made | None:
    """The vanishing curves at the chosen step; where there is one panel beside those at the first."""
    shown = [c for c in comparison.conditions if c.chosen is not None and len(c.chosen.curve.x)]
    if not shown:
        return None
    rows = panels(shown, look)
    views: list[tuple[str, View]] = [(columns.at(columns.step_title(comparison)), _chosen)]
    if len(rows) == 1 and _moved(comparison):
        views.append((columns.at(columns.start_title(comparison)), _start))
    figure, made = _drawn(comparison, look, shown, views)
    says = f"{band_says(shown, look)} {seeds_say(shown, seeds_read)}{undrawn(shown)}"
    caption = (
        f"The norm of the adjoint of {columns.state(comparison)} ({columns.loss(comparison)}) against distance, as a "
        "ratio to that at distance 1: geometric mean over the middle half of the probed samples, then over seeds. The "
        f"circle at distance 0 is the readout's own gradient. {says} A triangle "
        "marks where the typical norm becomes exactly zero. Dotted: the bounds of the verdict, below "
        f"{FALL:g} vanishes, below {HALF:g} weakens, up to {DOUBLE:g} keeps, up to {RISE:g} grows, above explodes."
    )
    return Made("vanishing", "How far back the gradient reaches", caption, figure, made)


def beginning(comparison: Comparison, look: Look) -> Made | None:
    """The vanishing curves at the first recorded step, where they do not stand beside the others."""
    shown = [c for c in comparison.conditions if c.start is not None and len(c.start.curve.x)]
    if not shown or not _moved(comparison) or len(panels(shown, look)) == 1:
        return None
    figure, made = _drawn(comparison, look, shown, [(columns.at(columns.start_title(comparison)), _start)])
    caption = f"As the figure above, at the first recorded step. {band_says(shown, look)} {seeds_say(shown, of_start)}"
    return Made("beginning", "How far it reached at the start", caption, figure, made)


def of_start(condition: Condition) -> int:
    """Of how many seeds its curve at the first recorded step is."""
    return 0 if condition.start is None else min(len(condition.start.words), condition.start.curve.n)


def nodes(comparison: Comparison, look: Look) -> Made | None:
    """In trees, the norms of all nodes at a depth together."""
    shown = [c for c in comparison.conditions if c.chosen and c.chosen.depth_sum is not None]
    if not shown:
        return None
    view: tuple[str, View] = ("summed over nodes at a depth", lambda c: c.chosen and c.chosen.depth_sum)
    figure, made = _drawn(comparison, look, shown, [view])
    caption = (
        "The norms of all nodes at a depth summed, relative to depth 1: nodes grow in number with depth, so this may "
        f"rise where the norm of each one falls. {band_says(shown, look)} {seeds_say(shown, seeds_read)}"
    )
    return Made("nodes", "What arrives at a depth of a tree in all", caption, figure, made)


def _chosen(condition: Condition) -> Band | None:
    return condition.chosen and condition.chosen.curve


def _start(condition: Condition) -> Band | None:
    return condition.start and condition.start.curve


def _moved(comparison: Comparison) -> bool:
    """Whether the first recorded step is another than the chosen one."""
    return columns.start_title(comparison) != columns.step_title(comparison)


def _drawn(
    comparison: Comparison, look: Look, shown: Sequence[Condition], views: Sequence[tuple[str, View]]
) -> tuple[Figure, tuple[tuple[Axes, str], ...]]:
    """A panel for each sort of data, three a row; with several views of one sort side by side."""
    rows = panels(shown, look)
    count = len(rows) * len(views)
    across = min(count, WIDE)
    high = -(-count // across)
    figure = Figure(figsize=(WIDTH, 0.45 + (3.1 if high == 1 else 2.5) * high), layout="constrained")
    two = len(views) == 2
    ratios = (1.7, 1.0) if two else [1.0] * across
    grid = list(figure.subplots(high, across, squeeze=False, sharey=not two, width_ratios=ratios).flat)
    drawn: list[list[np.ndarray]] = []
    places = [(axes, name, members, *view) for axes, (view, (name, members)) in zip(
        grid, [(view, row) for row in rows for view in views], strict=False)]  # fmt: skip
    for axes, name, members, title, see in places:
        drawn.append(_panel(axes, members, see, look))
        axes.set_title(f"{name}\n{title}" if name else title)
        axes.set_xlabel(_x_label(members, columns.end(comparison), short=across > 2 or axes is not grid[0]))
    for axes in grid[count:]:
        axes.set_axis_off()
    for axes in grid[::across]:
        axes.set_ylabel("gradient norm, relative to d = 1")
    if two:
        _apart(grid[0], grid[1], *drawn)
    else:
        grid[0].set_ylim(*_limits([one for panel in drawn for one in panel]))
    for axes in grid[:count] if two else grid[count - 1 : count]:
        _name_bounds(axes)
    dotted = Line2D([], [], color=MUTED, linewidth=0.9, linestyle=DOTS, label="bounds of the verdict")
    legend(figure, comparison, look, [dotted])
    return figure, tuple((axes, "start" if see is _start else "curve") for axes, _, _, _, see in places)


def _limits(drawn: Sequence[np.ndarray]) -> tuple[float, float]:
    """Of an axis in decades: of all that is drawn, and the nearest bounds of the verdict."""
    return decades.limits(np.concatenate([np.array([-0.8, 0.4]), *drawn]), margin=0.12)


def _apart(chosen: Axes, start: Axes, at_chosen: Sequence[np.ndarray], at_start: Sequence[np.ndarray]) -> None:
    """Each its own axis, since at the start norms may lie many decades lower; that of the chosen step has some room for
    the steps before it, which the page's script draws there."""
    (low, high), (lowest, highest) = _limits(at_chosen), _limits(at_start)
    chosen.set_ylim(min(low, max(lowest, ROOM)), high)
    start.set_ylim(lowest, highest)


def _panel(axes: Axes, members: Sequence[Condition], see: View, look: Look) -> list[np.ndarray]:
    """Draw the curves of one panel; returns them in decades."""
    bands = [(c, band) for c in members if (band := see(c)) is not None]
    crowd = crowded(members, look)
    drawn = [_curve(axes, band, look.stroke(c), look.sign(c), crowd) for c, band in bands]
    for threshold, _ in VERDICTS:
        axes.axhline(np.log10(threshold), color=MUTED, linewidth=0.9, linestyle=DOTS)
    decades.in_decades(axes.yaxis)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    if not any(np.isfinite(decade[band.x >= 1]).any() for (_, band), decade in zip(bands, drawn, strict=True)):
        axes.set_xlim(-0.5, 2.5)  # nothing to see, but an axis that says of what
    return drawn


def _name_bounds(axes: Axes) -> None:
    """The word of the verdict at its bound, where there is room for it."""
    low, high = axes.get_ylim()
    for threshold, word in VERDICTS[:2]:
        if low < np.log10(threshold) < high and high - low < 9:
            where = {"xy": (1, np.log10(threshold)), "xycoords": ("axes fraction", "data"), "ha": "right", "va": "top"}
            offset = {"xytext": (-2, -1), "textcoords": "offset points"}
            behind = {"facecolor": PAPER, "alpha": 0.75, "linewidth": 0, "pad": 0.4}
            axes.annotate(f"{word} ↓", fontsize=7, color=MUTED, bbox=behind, **where, **offset)


def _curve(axes: Axes, band: Band, stroke: dict[str, Any], marker: str, crowd: bool) -> np.ndarray:
    """Draw a vanishing curve in decades (log10), with a triangle where it ends in exact zeros; returns
    them."""
    mean, low, high = (values / np.log(10) for values in (band.mean, band.low, band.high))
    apart = band.x < 1
    line(axes, Band(band.x[~apart], mean[~apart], low[~apart], high[~apart], band.n), stroke, marker, crowd)
    hollow = {"marker": "o", "markersize": 4, "markerfacecolor": "none", "linestyle": ""}
    if marker:
        axes.plot(band.x[apart], mean[apart], color=stroke["color"], gid=stroke["gid"], **hollow)
    gone = np.flatnonzero(np.isneginf(mean))
    if len(gone) and gone[0] > 0:
        last = max(mean[gone[0] - 1], np.log10(decades.DEEPEST))
        end = {"marker": "v", "markersize": 6, "color": stroke["color"], "gid": stroke["gid"], "clip_on": False}
        axes.plot(band.x[gone[0] - 1], last, **end)
    return mean


def _x_label(members: Sequence[Condition], end: str, short: bool) -> str:
    trees = [bool(c.chosen and c.chosen.depth_sum) for c in members]
    if not any(trees):
        return "distance d (applications)" if short else f"distance d (cell applications to {end})"
    if all(trees):
        return "tree depth d (applications)" if short else "tree depth d (cell applications from the root)"
    return "distance d; in a tree, depth" if short else f"distance d (cell applications to {end}; in a tree, depth)"
