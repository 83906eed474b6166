"""How figures look: one colour and line style a condition, the same in every figure; ink that follows the
page.

Colours are Paul Tol's bright scheme (SRON/EPS/TN/09-002), told apart with every kind of colour blindness.
In the page each is a CSS variable, so that a dark page has its own.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.typing import LineStyleType

from rnn_research.compare import Comparison, Condition
from rnn_research.compare.factors import is_of_clipping, short

COLOURS = ("#4477aa", "#ee6677", "#228833", "#aa3377", "#66ccee", "#ccbb44", "#777777")
DASHES: tuple[LineStyleType, ...] = (
    "solid",
    (0.0, (4.0, 1.6)),
    (0.0, (1.0, 1.3)),
    (0.0, (5.0, 1.4, 1.0, 1.4)),
)
INK, MUTED, GRID, PAPER = "#1c1c1e", "#6d6d72", "#e3e3e6", "#ffffff"
DEEPEST, HIGHEST = 1e-20, 1e20
"""Where the axis of a norm ends at the latest: what lies below is gone by any standard."""
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper"} | {
    colour: f"c{index}" for index, colour in enumerate(COLOURS)
}
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a dollar in a name is a dollar
    "svg.hashsalt": "rnn_research",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Segoe UI", "Helvetica Neue", "Arial"],
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titlepad": 7,
    "axes.labelsize": 9,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
}


@dataclass(frozen=True)
class Look:
    """How the conditions are told apart: the colour and dashes of each option, and the panel each is drawn
    in."""

    panel_factors: tuple[str, ...]
    colour_factors: tuple[str, ...]
    dash_factors: tuple[str, ...]
    colours: dict[str, str]
    dashes: dict[str, LineStyleType]

    def panel(self, condition: Condition) -> str:
        return joined_options(condition, self.panel_factors)

    def colour(self, condition: Condition) -> str:
        return self.colours[joined_options(condition, self.colour_factors)]

    def dash(self, condition: Condition) -> LineStyleType:
        return self.dashes[joined_options(condition, self.dash_factors)]

    def stroke(self, condition: Condition) -> dict[str, Any]:
        return {"color": self.colour(condition), **self.pen(self.dash(condition))}

    def pen(self, dash: LineStyleType) -> dict[str, Any]:
        """Where dashes tell options apart the solid line is broad and pale, to be seen below a dashed one."""
        broad = len(self.dashes) > 1 and dash == DASHES[0]
        return {"linestyle": dash, "linewidth": 3.0 if broad else 1.5, "alpha": 0.45 if broad else 1.0}


def look(comparison: Comparison) -> Look:
    """Panels by data and structure, colour by model (and what else varies), dashes by clipping."""
    varying = comparison.distinguishing_factors
    panels = tuple(f for f in varying if f.split(".")[0] in ("dataset", "structure"))
    dashed = tuple(f for f in varying if is_of_clipping(f))
    rest = tuple(f for f in varying if f not in (*panels, *dashed))
    if not rest:
        rest, dashed = dashed, ()
    elif not dashed and len(rest) > 1:
        rest, dashed = rest[:1], rest[1:]
    if len(_options(comparison, dashed)) > len(DASHES):
        rest, dashed = (*rest, *dashed), ()
    colours, dashes = _options(comparison, rest), _options(comparison, dashed)
    return Look(
        panels,
        rest,
        dashed,
        dict(zip(colours, _palette(len(colours)), strict=True)),
        dict(zip(dashes, DASHES, strict=False)),
    )


def joined_options(condition: Condition, factors: Sequence[str]) -> str:
    """The condition's options of `factors`, as one text."""
    return ", ".join(condition.options[factor] for factor in factors)


def shortened(label: str, most: int = 36) -> str:
    """A label that fits; the whole of it is in the table."""
    return label if len(label) <= most else f"{label[: most - 1]}…"


def joined_names(factors: Sequence[str], comparison: Comparison) -> str:
    names = short(comparison.distinguishing_factors)
    return ", ".join(names[factor] for factor in factors)


@contextmanager
def styled() -> Iterator[None]:
    """Figures made inside look alike, whatever the user's own matplotlib settings are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)
        yield


def limits(decades: np.ndarray, margin: float) -> tuple[float, float]:
    """Of an axis that shows the finite `decades` (log10)."""
    finite = decades[np.isfinite(decades)]
    low, high = max(finite.min(), np.log10(DEEPEST)), min(finite.max(), np.log10(HIGHEST))
    pad = margin if margin > 0.5 else margin + 0.03 * (high - low)
    return float(low - pad), float(high + pad)


def power_of_ten(decade: float, _position: int | None = None) -> str:
    """The label of a tick at 10^decade."""
    return {0: "1", 1: "10"}.get(round(decade), f"10{str(round(decade)).translate(SUPERSCRIPTS)}")


def png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=200)
    return file.getvalue()


def svg(figure: Figure) -> str:
    """A file of its own: the same bytes for the same figure."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()


def inline(drawing: str, name: str) -> str:
    """An SVG file as a part of a page: colours as the page's variables, ids of its own, the width of the
    page."""
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>\s*", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', drawing)
    drawing = re.sub(r'(url\(#|href="#)', rf"\1{name}-", drawing)
    for colour, variable in VARIABLES.items():
        drawing = drawing.replace(colour, f"var(--{variable})")
    drawing = re.sub(r'<svg ([^>]*?)(width|height)="[^"]+pt" ', r"<svg \1", drawing, count=1)
    drawing = re.sub(r'<svg ([^>]*?)(width|height)="[^"]+pt" ', r"<svg \1", drawing, count=1)
    return re.sub(r"\s*\n\s*", "\n", drawing)


def _options(comparison: Comparison, factors: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(joined_options(condition, factors) for condition in comparison.conditions))


def _palette(count: int) -> list[str]:
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    # More than can be told apart by name: at least the order can be seen.
    shades = mpl.colormaps["viridis"].resampled(count)
    return [to_hex(shades(index)) for index in range(count)]
