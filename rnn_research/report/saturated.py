"""The figure of saturated activations over training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rnn_research.compare import Comparison, Condition
from rnn_research.report import decades, style
from rnn_research.report.legends import Made, band_says, crowded, legend, line, panels, seeds_say
from rnn_research.report.looks import Look
from rnn_research.statistics.intervals import Band

WIDE = 3
MOST_PANELS = 12
TIMESCALE = "forget_timescale"
IN_WORDS = {
    "i": "input gate i",
    "f": "forget gate f",
    "o": "output gate o",
    "r": "reset gate r",
    "z": "update gate z",
    "g": "candidate g",
    "n": "candidate n",
    "hidden": "state h",
    TIMESCALE: "forget gate's time scale",
}


def saturation(comparison: Comparison, look: Look) -> Made | None:
    """The share of saturated activations against the step, a panel an activation; the forget gate's time scale last."""
    found = [c for c in comparison.conditions if any(len(one.x) > 1 for one in c.saturation.values())]
    places = [
        (data, name, those)
        for name in _activations(found)
        for data, members in panels(found, look)
        if (those := [c for c in members if name in c.saturation])
    ]
    if not places:
        return None
    shown = places[:MOST_PANELS]
    wide = min(len(shown), WIDE)
    high = -(-len(shown) // wide)
    figure = Figure(figsize=(7.6, 0.5 + 2.4 * high), layout="constrained")
    grid = list(figure.subplots(high, wide, squeeze=False).flat)
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    shares = [(axes, name) for axes, (_, name, _) in zip(grid, shown, strict=False) if not _is_timescale(name)]
    for axes, (data, name, members) in zip(grid, shown, strict=False):
        _panel(axes, name, members, look, crowded(found, look))
        axes.set_title("\n".join(filter(None, (style.shortened(data), _in_words(name)))))
    top = max((axes.get_ylim()[1] for axes, _ in shares), default=1.0)
    for place, (axes, _) in enumerate(shares):
        axes.set_ylim(-0.03 * top, top)
        axes.set_ylabel("share saturated" if place % wide == 0 else "")
    legend(figure, comparison, look)
    caption = (
        "The share of activations, over all units and positions, that lie so near an end of their interval that hardly "
        "any gradient passes (within the threshold of the probe, 0.05 by default): mean over seeds. The forget gate's "
        f"time scale is the median of −1 / ln f. {band_says(found, look)} {seeds_say(found, _seeds)}"
    )
    if len(shown) < len(places):
        caption += f" The first {len(shown)} of {len(places)} panels are drawn."
    return Made("saturation", "Where units are saturated", caption, figure, tuple(shares))


def _activations(conditions: Sequence[Condition]) -> list[str]:
    """All that some condition has, in the order of the cells, time scales last."""
    names = dict.fromkeys(name for c in conditions for name in c.saturation)
    return sorted(names, key=_is_timescale)


def _is_timescale(name: str) -> bool:
    return name.startswith(TIMESCALE)


def _in_words(name: str) -> str:
    kind, comma, layer = name.partition(",")
    return f"{IN_WORDS.get(kind, kind.replace('_', ' '))}{comma}{layer}"


def _panel(axes: Axes, name: str, members: Sequence[Condition], look: Look, crowd: bool) -> None:
    for condition in members:
        band = condition.saturation[name]
        seen = _decades(band) if _is_timescale(name) else band
        line(axes, seen, look.stroke(condition), look.sign(condition), crowd)
    axes.set_xlabel("optimiser step")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    if _is_timescale(name):
        axes.set_ylabel("cell applications")
        decades.in_decades(axes.yaxis)
        return
    ends = np.concatenate([[0.0], *(c.saturation[name].mean for c in members)])
    axes.set_ylim(0, max(1.25 * float(np.nanmax(ends)), 0.02))  # of the means: few seeds' bands can be much wider


def _decades(band: Band) -> Band:
    """The band on an axis of log10."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return Band(band.x, np.log10(band.mean), np.log10(band.low), np.log10(band.high), band.n, band.seeds)


def _seeds(condition: Condition) -> int:
    """Of how many seeds its lines are."""
    return max(band.n for band in condition.saturation.values())
