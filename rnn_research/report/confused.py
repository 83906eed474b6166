"""The figure of confusions: which class the samples of each class were taken for."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import PercentFormatter

from rnn_research.compare import Comparison, Confusion
from rnn_research.report import style
from rnn_research.report.legends import Made
from rnn_research.report.looks import Look
from rnn_research.report.names import joined

WIDE = 3
MOST_PANELS = 12
MOST_CLASSES = 60
MOST_NUMBERED = 12
"""In cells of more classes there is no room for a number."""
MOST_NAMED = 25
SHOWN = 0.05
"""Smaller shares are told by their shade alone."""
LEVELS = 24
SHADES = "cividis"
LIGHT = 0.55
"""Above this share a shade is light, and a number on it dark."""


def confusions(comparison: Comparison, look: Look) -> Made | None:
    """The share of each true class that was given each class, a panel a condition."""
    shown = [(c, c.confusion) for c in comparison.conditions if c.confusion is not None]
    shown = [(c, found) for c, found in shown if 2 <= len(found.classes) <= MOST_CLASSES]
    if not shown:
        return None
    drawn = shown[:MOST_PANELS]
    wide = min(len(drawn), 2 if len(drawn) in (2, 4) else WIDE)
    high = -(-len(drawn) // wide)
    figure = Figure(figsize=(7.6, 0.3 + 6.4 / wide * high), layout="constrained")
    grid = list(figure.subplots(high, wide, squeeze=False).flat)
    for axes in grid[len(drawn) :]:
        axes.set_axis_off()
    for place, (axes, (condition, found)) in enumerate(zip(grid, drawn, strict=False)):
        _matrix(axes, found, 7.0 if wide < WIDE else 5.5)
        axes.set_gid(look.gid(condition))
        label = joined(comparison, condition, comparison.distinguishing_factors) or "all runs"
        axes.set_title(
            f"{style.shortened(label, 34)}\nn = {found.samples:,} samples of {_runs(found.runs)}", fontsize=8
        )
        axes.set_ylabel("true class" if place % wide == 0 else "")
        axes.set_xlabel("predicted class")
    scale = ScalarMappable(Normalize(0, 1), mpl.colormaps[SHADES].resampled(LEVELS + 1))
    figure.colorbar(scale, ax=grid, label="share of the true class", aspect=30, format=PercentFormatter(1))
    caption = (
        "Of the test samples of each true class (a row), the share that was given each class (a column), in per cent "
        f"from {SHOWN:.0%} on: the samples of all seeds together. On the diagonal is what was right."
    )
    if len(drawn) < len(shown):
        caption += f" The first {len(drawn)} of {len(shown)} conditions are drawn."
    return Made("confusion", "Which class is taken for which", caption, figure)


def _runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"


def _matrix(axes: Axes, found: Confusion, size: float) -> None:
    """One matrix: of each level of shade all cells as one shape, so that a page of many stays small."""
    share, count = found.share, len(found.classes)
    level = np.where(np.isfinite(share), np.round(np.nan_to_num(share) * LEVELS), -1).astype(int)
    for one in np.unique(level):
        cells = Path.make_compound_path(*(_cell(row, column) for row, column in np.argwhere(level == one)))
        colour = style.GRID if one < 0 else style.shade(SHADES, one / LEVELS)
        axes.add_patch(PathPatch(cells, facecolor=colour, edgecolor=colour, linewidth=0.2))
    if count <= MOST_NUMBERED:
        for row, column in np.argwhere(np.nan_to_num(share) >= SHOWN):
            ink = "#000000" if share[row, column] > LIGHT else "#fefefe"
            text = f"{100 * share[row, column]:.0f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=size, color=ink)
    axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5), aspect="equal")
    _ticks(axes, found.classes)
    axes.grid(visible=False)


def _cell(row: int, column: int) -> Path:
    x, y = column - 0.5, row - 0.5
    return Path([(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1), (x, y)], closed=True)


def _ticks(axes: Axes, classes: Sequence[str]) -> None:
    """The classes' names; of many every so many."""
    every = -(-len(classes) // MOST_NAMED)
    places = range(0, len(classes), every)
    names = [style.shortened(classes[place], 12) for place in places]
    long = max(map(len, names)) > 2
    axes.set_xticks(places, names, rotation=45 if long else 0, ha="right" if long else "center")
    axes.set_yticks(places, names)
