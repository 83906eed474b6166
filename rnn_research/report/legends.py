"""What several figures draw alike: a mean with its interval, the legend, and panels by data."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnn_research.compare import Comparison, Condition
from rnn_research.report import looks, style
from rnn_research.report.looks import Look
from rnn_research.report.palette import marker_of
from rnn_research.report.style import INK
from rnn_research.statistics.intervals import SEEDS, Band

MOST_ENTRIES = 18
"""More conditions are told by the table; a legend of them would be most of the figure."""
ACROSS, INCHES = 105, 7.6
"""Characters of a legend's line in a figure of this width."""
CROWD = 8
"""More bands than this in one panel hide each other, and the lines."""


@dataclass(frozen=True, eq=False)
class Made:
    """A figure with its name, and what it shows in words."""

    name: str
    title: str
    caption: str
    figure: Figure
    views: tuple[tuple[Axes, str], ...] = ()
    """The axes that the page's script works on, each with the name of what they show."""


def line(axes: Axes, band: Band | None, stroke: dict[str, Any], marker: str = "o", crowded: bool = False) -> None:
    """A mean with its interval, or alone where it is `crowded`; markers at some eight points, each condition's at
    others."""
    if band is None:
        return
    mean, low, high = map(style.drawn, (band.mean, band.low, band.high))
    every = max(1, len(band.x) // 8)
    shifted = (zlib.crc32(f"{stroke['color']}{stroke.get('linestyle')}".encode()) % every, every)
    axes.plot(band.x, mean, marker=marker, markersize=3.6, markevery=shifted, **stroke)
    wide = np.isfinite(low) & np.isfinite(high)
    if wide.any() and not crowded:
        shade = {"color": stroke["color"], "alpha": 0.13, "linewidth": 0, "gid": stroke.get("gid")}
        axes.fill_between(band.x, low, high, where=wide, **shade)
    axes.margins(x=0.02)


def panels(conditions: Sequence[Condition], look: Look) -> list[tuple[str, list[Condition]]]:
    names = dict.fromkeys(map(look.panel, conditions))
    return [(style.shortened(name), [c for c in conditions if look.panel(c) == name]) for name in names]


def legend(
    figure: Figure, comparison: Comparison, look: Look, more: Sequence[Line2D] = (), dashes: bool = True
) -> None:
    """Colours, markers and dashes apart where they tell different factors; of more than fit, how many there are."""
    own = not look.marker_factors

    def repeated(name: str) -> dict[str, Any]:
        return {} if look.dash_factors else {"linestyle": look.repeated[name]}

    colours = [
        _entry(
            look.told[look.colour_factors, name], color=look.colours[name], **(_sign(number) if own else repeated(name))
        )
        for name, number in look.numbers.items()
        if name
    ]
    signs = [
        _entry(look.told[look.marker_factors, name], color=INK, marker=marker, linestyle="")
        for name, marker in look.markers.items()
        if name
    ]
    handles = [*_few(colours, "colours"), *_few(signs, "markers")]
    if dashes and len(look.dashes) > 1:
        names = looks.joined_names(look.dash_factors, comparison)
        handles += [
            Line2D([], [], color=INK, **look.pen(dash), label=style.shortened(f"{names}: {name}"))
            for name, dash in look.dashes.items()
        ]
    handles += more
    if handles:
        across = ACROSS * figure.get_figwidth() / INCHES
        columns = _columns([len(str(handle.get_label())) + 7 for handle in handles], across)
        rowwise = [handle for column in range(columns) for handle in handles[column::columns]]
        figure.legend(handles=rowwise, loc="outside upper left", ncols=columns, handlelength=2.4)


def _sign(number: int) -> dict[str, Any]:
    return {"marker": marker_of(number)}


def _entry(name: str, **look: Any) -> Line2D:
    return Line2D([], [], markersize=4, label=style.shortened(name), **look)


def _few(handles: list[Line2D], what: str) -> list[Line2D]:
    """All, or where there are too many one that says so."""
    if len(handles) <= MOST_ENTRIES:
        return handles
    return [Line2D([], [], linestyle="", label=f"{len(handles)} {what}: see the table")]


def _columns(widths: Sequence[int], across: float) -> int:
    """As many as fit beside each other, in characters, where each is as wide as its widest entry."""
    fitting = (n for n in range(len(widths), 1, -1) if sum(max(widths[column::n]) for column in range(n)) <= across)
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
    if all(len(c.runs) < SEEDS for c in conditions):
        return f"Fewer than {SEEDS} seeds give no interval."
    return "Band: 95% interval over seeds (Student's t)."


def seeds_say(conditions: Sequence[Condition], count: Callable[[Condition], int] = lambda c: c.seeds) -> str:
    """`n = 3 seeds a condition.`, `n = 2 to 5 seeds ...`: how many seeds a mean is of; by default all that there are,
    for curves `seeds_read` of them."""
    counts = sorted({count(c) for c in conditions})
    if not counts:
        return ""
    said = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"n = {said} {'seed' if counts == [1] else 'seeds'} a condition."


def seeds_read(condition: Condition) -> int:
    """Of how many seeds its vanishing curve is: those that could be read, without those that leave float32 where others
    don't (`undrawn` says how many)."""
    return 0 if condition.chosen is None else min(condition.read, condition.chosen.curve.n)


def undrawn(conditions: Sequence[Condition]) -> str:
    """That seeds are in the verdict and not in the curve, with a space before; empty where all are."""
    left = sum(condition.read - seeds_read(condition) for condition in conditions)
    verb = "is" if left == 1 else "are"
    return f" {left} whose gradient is gone, overflows or underflows {verb} in the verdict alone." if left else ""
