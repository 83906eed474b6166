"""The figure of what other clipping strategies would have done to the same gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from rnn_research.compare import Comparison, Condition
from rnn_research.report import decades, style
from rnn_research.report.legends import Made, line, seeds_say
from rnn_research.report.looks import Look
from rnn_research.report.names import joined
from rnn_research.report.palette import COLOURS, DASHES, marker_of, slots
from rnn_research.statistics.intervals import Band

WIDE = 3
MOST_PANELS = 12
CROWD = 4
"""More strategies' bands in one panel hide each other."""


def foreseen(comparison: Comparison, look: Look) -> Made | None:
    """What each strategy of the counterfactual probe would have left of the gradient: its size above, below the cosine
    of the angle by which it would have been turned; a pair of panels a condition."""
    shown = [c for c in comparison.conditions if c.foreseen]
    if not shown:
        return None
    drawn = shown[:MOST_PANELS]
    strategies = list(dict.fromkeys(name for c in drawn for name in c.foreseen))
    strokes = _strokes(strategies)
    figure, pairs = _pairs(len(drawn))
    for (size, cosine), condition in zip(pairs, drawn, strict=True):
        for axes in (size, cosine):
            axes.set_gid(look.gid(condition))
            axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        for name, found in condition.foreseen.items():
            pen, marker = _without_marker(strokes[name]), str(strokes[name]["marker"])
            line(size, _decades(found.log_size), pen, marker, len(strategies) > CROWD)
            line(cosine, found.cosine, pen, marker, len(strategies) > CROWD)
        label = joined(comparison, condition, comparison.distinguishing_factors) or "all runs"
        size.set_title(style.shortened(label, 34))
        size.tick_params(labelbottom=False)
        decades.in_decades(size.yaxis)
    _limits(pairs, drawn)
    handles = [Line2D([], [], markersize=4, label=_told(name, drawn), **strokes[name]) for name in strategies]
    figure.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), 4), handlelength=2.8)
    caption = (
        "What each strategy would have done to the gradients of these runs, before their own clipping: above the norm "
        "after as a share of that before (geometric mean), below the cosine of the angle between the two (1: the "
        "direction stays), over neighbouring steps and then over seeds. Steps that a strategy would have skipped are "
        f"not in its line. {seeds_say(drawn, _foreseen)}"
    )
    if len(drawn) < len(shown):
        caption += f" The first {len(drawn)} of {len(shown)} conditions are drawn."
    return Made("foreseen", "What other strategies would have done", caption, figure)


def _foreseen(condition: Condition) -> int:
    """Of how many seeds its lines are."""
    return max((found.cosine.n for found in condition.foreseen.values()), default=0)


def _strokes(strategies: list[str]) -> dict[str, dict[str, Any]]:
    """Each strategy's colour, marker and dashes: as where runs with it are compared."""
    return {
        name: {
            "color": COLOURS[slot % len(COLOURS)],
            "marker": marker_of(slot),
            "linestyle": DASHES[slot % len(DASHES)],
        }
        for name, slot in slots(strategies, len(COLOURS)).items()
    }


def _without_marker(pen: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in pen.items() if key != "marker"}


def _told(name: str, drawn: list[Condition]) -> str:
    """A strategy's name; that it would have skipped steps, where it would."""
    skips = any(name in c.foreseen and c.foreseen[name].skipped > 0 for c in drawn)
    return f"{name.replace('_', ' ')}{' (skips steps)' if skips else ''}"


def _decades(band: Band) -> Band:
    """From natural logarithms to log10."""
    mean, low, high = (values / np.log(10) for values in (band.mean, band.low, band.high))
    return Band(band.x, mean, low, high, band.n, band.seeds)


def _limits(pairs: list[tuple[Axes, Axes]], drawn: list[Condition]) -> None:
    """The same axes in all panels: wide enough for every mean."""
    found = [one for c in drawn for one in c.foreseen.values()]
    sizes = np.concatenate([[0.0], *(one.log_size.mean / np.log(10) for one in found)])
    cosines = np.concatenate([[1.0], *(one.cosine.mean for one in found)])
    least = min(float(np.nanmin(cosines)), 0.95)
    for size, cosine in pairs:
        size.set_ylim(*decades.limits(sizes, margin=0.1))
        cosine.set_ylim(least - 0.08 * (1 - least), 1 + 0.08 * (1 - least))


def _pairs(count: int) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """`count` pairs of panels, three a row."""
    wide = min(count, 2 if count in (2, 4) else WIDE)
    high = -(-count // wide)
    figure = Figure(figsize=(7.6, 0.5 + 2.9 * high), layout="constrained")
    grid = figure.subplots(2 * high, wide, squeeze=False, height_ratios=[1.35, 1] * high)
    pairs = [
        (grid[2 * (index // wide)][index % wide], grid[2 * (index // wide) + 1][index % wide]) for index in range(count)
    ]
    for axes in grid.flat:
        if axes not in [one for pair in pairs for one in pair]:
            axes.set_axis_off()
    for index, (size, cosine) in enumerate(pairs):
        cosine.set_xlabel("optimiser step")
        if index % wide == 0:
            size.set_ylabel("norm after / before")
            cosine.set_ylabel("cosine")
    return figure, pairs
