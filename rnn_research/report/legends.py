"""What several figures draw alike: a mean with its interval, the legend, and panels by data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnn_research.compare import Comparison, Condition
from rnn_research.report import style
from rnn_research.report.style import INK, Look
from rnn_research.statistics.intervals import Band

ACROSS = 105
"""Characters of a legend's line."""
CROWD = 8
"""More bands than this in one panel hide each other, and the lines."""


@dataclass(frozen=True, eq=False)
class Made:
    """A figure with its name, and what it shows in words."""

    name: str
    title: str
    caption: str
    figure: Figure


def line(axes: Axes, band: Band | None, stroke: dict[str, Any], crowded: bool = False) -> None:
    """A mean with its interval, or alone where it is `crowded`."""
    if band is None:
        return
    mean = np.where(np.isfinite(band.mean), band.mean, np.nan)
    axes.plot(band.x, mean, marker="o" if len(band.x) <= 10 else "", markersize=3.2, **stroke)
    wide = np.isfinite(band.low) & np.isfinite(band.high)
    if wide.any() and not crowded:
        shade = {"color": stroke["color"], "alpha": 0.12, "linewidth": 0}
        axes.fill_between(band.x, band.low, band.high, where=wide, **shade)
    axes.margins(x=0.02)


def panels(conditions: Sequence[Condition], look: Look) -> list[tuple[str, list[Condition]]]:
    names = dict.fromkeys(map(look.panel, conditions))
    return [(style.shortened(name), [c for c in conditions if look.panel(c) == name]) for name in names]


def legend(
    figure: Figure, comparison: Comparison, look: Look, more: Sequence[Line2D] = (), dashes: bool = True
) -> None:
    """Colours and dashes apart where they tell different factors."""
    handles = [
        Line2D([], [], color=colour, label=style.shortened(name)) for name, colour in look.colours.items() if name
    ]
    if dashes and len(look.dashes) > 1:
        handles += [
            Line2D(
                [],
                [],
                color=INK,
                **look.pen(dash),
                label=style.shortened(f"{style.joined_names(look.dash_factors, comparison)}: {name}"),
            )
            for name, dash in look.dashes.items()
        ]
    handles += more
    if handles:
        columns = _columns([len(str(handle.get_label())) + 7 for handle in handles])
        rowwise = [handle for column in range(columns) for handle in handles[column::columns]]
        figure.legend(handles=rowwise, loc="outside upper left", ncols=columns, handlelength=2.4)


def _columns(widths: Sequence[int]) -> int:
    """As many as fit beside each other, in characters, where each is as wide as its widest entry."""
    fitting = (n for n in range(len(widths), 1, -1) if sum(max(widths[column::n]) for column in range(n)) <= ACROSS)
    return next(fitting, 1)


def crowded(conditions: Sequence[Condition], look: Look, apart: bool = False) -> bool:
    """Whether a panel has too many conditions for their bands.

    Args:
        apart: panels are also told apart by dashes.
    """
    panel = Counter((look.panel(c), look.dash(c) if apart else None) for c in conditions)
    return max(panel.values()) > CROWD


def band_says(conditions: Sequence[Condition], look: Look, apart: bool = False) -> str:
    """What a caption says of bands; `apart` as in `crowded`."""
    if all(len(c.runs) == 1 for c in conditions):
        return ""
    if crowded(conditions, look, apart):
        return "Intervals over seeds are left out: there are too many conditions to see them; the table has them."
    return "Band: 95% interval over seeds (Student's t)."
