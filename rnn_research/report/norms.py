"""The figure of gradient norms before and after clipping."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from rnn_research.compare import Comparison, Condition
from rnn_research.report import as_text, decades, style
from rnn_research.report.legends import Made, seeds_say
from rnn_research.report.looks import Look
from rnn_research.report.names import joined
from rnn_research.report.style import MUTED

MOST_PANELS = 24


def clipping(comparison: Comparison, look: Look) -> Made | None:
    """The global gradient norm before and after clipping, and how often it fired, a panel a condition."""
    shown = [c for c in comparison.conditions if c.norms is not None]
    if not shown:
        return None
    drawn, across = _arranged(shown[:MOST_PANELS], look)
    figure, grid = _pairs(len(drawn), across)
    typical = [values for c in drawn if c.norms for values in (c.norms.before, c.norms.after)]
    extreme = [values for c in drawn if c.norms for values in (c.norms.before_low, c.norms.before_high)]
    low, high = decades.limits(np.log10(np.concatenate(typical)), margin=0.0)
    # A spike of many decades would flatten everything else.
    spikes = np.clip(np.log10(np.concatenate(extreme)), low - 1.5, high + 2.5)
    limits = decades.limits(spikes, margin=0.1)
    for (norms, share), condition in zip(grid, drawn, strict=True):
        _norms(
            norms,
            share,
            condition,
            look.colour(condition),
            joined(comparison, condition, comparison.distinguishing_factors) or "all runs",
        )
        for axes in (norms, share):
            axes.set_gid(look.gid(condition))
        norms.set_ylim(*limits)
    colours = list(dict.fromkeys(look.colour(c) for c in drawn if c.clipped and c.clipped.mean > 0))
    handles = [
        Line2D([], [], color=MUTED, label="before clipping"),
        Line2D([], [], color=MUTED, linewidth=5, alpha=0.25, label="smallest to largest before"),
        *(Line2D([], [], color=colour, label="after clipping") for colour in colours[:1]),
        *(Line2D([], [], color=colour, linewidth=5, alpha=0.45, label="share clipped") for colour in colours[:1]),
    ]
    figure.legend(handles=handles, loc="upper left", ncols=4, borderaxespad=0.3)
    caption = (
        "The global L2 norm of the parameter gradient before and after clipping: geometric mean over seeds "
        "and neighbouring steps. The pale area reaches from the smallest to the largest norm before "
        "clipping. Below each panel: the share of steps in which clipping fired, from 0 to 1. "
        f"{seeds_say(drawn, _recorded)}"
    )
    if len(drawn) < len(shown):
        caption += f" The first {len(drawn)} of {len(shown)} conditions are drawn."
    return Made("clipping", "What clipping did", caption, figure, tuple((axes, "clipping") for axes, _ in grid))


def _recorded(condition: Condition) -> int:
    """Of how many seeds its norms are."""
    return len({run.record.seed for run in condition.runs if run.clipping is not None and len(run.clipping.number)})


def _norms(norms: Axes, share: Axes, condition: Condition, colour: str, label: str) -> None:
    found = condition.norms
    assert found is not None
    x, fires = found.step, bool(found.fired.any())
    low, high = np.log10(found.before_low), np.log10(found.before_high)
    norms.fill_between(x, low, high, color=MUTED, alpha=0.18, linewidth=0)
    norms.plot(x, np.log10(found.before), color=MUTED, linewidth=1.1)
    if fires:
        norms.plot(x, np.log10(found.after), color=colour, linewidth=1.3)
    note = f"clipped {as_text.percent(condition.clipped)} of steps" if fires else "never clipped"
    norms.set_title(f"{style.shortened(label, 30)}\n{note}", fontsize=8)
    decades.in_decades(norms.yaxis)
    norms.tick_params(labelbottom=False)
    share.fill_between(x, found.fired, color=colour, alpha=0.45, linewidth=0, step="mid")
    share.set_ylim(0, 1)
    share.set_yticks([0, 1])
    for axes in (norms, share):
        axes.set_xlim(0, max(float(x[-1]), 1.0))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))


def _arranged(conditions: list[Condition], look: Look) -> tuple[list[Condition], int]:
    """The conditions in the order of panels, and how many a row: where it fits, settings along one side and
    clippings along the other."""
    settings = list(dict.fromkeys((look.panel(c), look.colour(c)) for c in conditions))
    dashes = list(look.dashes.values())

    def place(condition: Condition) -> tuple[int, int]:
        setting = settings.index((look.panel(condition), look.colour(condition)))
        return setting, dashes.index(look.dash(condition))

    if len(conditions) == len(settings) * len(dashes):
        if len(settings) in (2, 3):
            return sorted(conditions, key=lambda c: place(c)[::-1]), len(settings)
        if len(dashes) in (2, 3):
            return sorted(conditions, key=place), len(dashes)
    return conditions, min(len(conditions), 2 if len(conditions) in (2, 4) else 3)


def _pairs(count: int, columns: int) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """`count` panels with a strip below each, spaced in inches."""
    rows = -(-count // columns)
    height = 0.6 + 2.2 * rows
    figure = Figure(figsize=(7.6, height))
    bottom, top = 0.45 / height, 1 - 0.72 / height
    outer = figure.add_gridspec(rows, columns, left=0.085, right=0.985, bottom=bottom, top=top, hspace=0.42)
    pairs = []
    for index in range(count):
        row, column = divmod(index, columns)
        inner = outer[row, column].subgridspec(2, 1, height_ratios=(5, 1), hspace=0.12)
        norms, share = figure.add_subplot(inner[0]), figure.add_subplot(inner[1])
        norms.set_ylabel("gradient norm" if column == 0 else "")
        norms.tick_params(labelleft=column == 0)
        share.tick_params(labelleft=column == 0)
        share.set_xlabel("optimiser step" if index + columns >= count else "")
        pairs.append((norms, share))
    return figure, pairs
