"""How figures look: one colour, marker and line style a condition, the same in every figure (see `palette`); ink that
follows the page.

In the page each colour is a CSS variable, so that a dark page has its own.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.typing import LineStyleType

from rnn_research.compare import Comparison, Condition
from rnn_research.compare.factors import is_of_clipping
from rnn_research.compare.page_data import started
from rnn_research.report.names import names, told_option
from rnn_research.report.palette import COLOURS, DASHES, key, marker_of, slots

INK, MUTED, GRID, PAPER = "#1c1c1f", "#63636a", "#e3e3e6", "#ffffff"
MOST_SIGNS = 60
MOST_PANELS = 12
"""More sorts of data are not told apart by panels."""
VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper"} | {
    colour: f"c{index}" for index, colour in enumerate(COLOURS)
}
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "pdf.fonttype": 42,  # whole letters as TrueType: what publishers ask for, and what can be searched
    "axes.unicode_minus": True,
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


PAPER_SETTINGS: dict[Any, Any] = {
    "font.family": "serif",
    "font.serif": ["DejaVu Serif"],
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "lines.linewidth": 1.1,
    "axes.grid": False,
}
"""What differs in print: letters as the text around, thin lines, no grid."""
STYLES = {"screen": {}, "paper": PAPER_SETTINGS}


@dataclass(frozen=True)
class Look:
    """How the conditions are told apart: the colour, marker and dashes of each option, and the panel each is drawn
    in."""

    panel_factors: tuple[str, ...]
    colour_factors: tuple[str, ...]
    dash_factors: tuple[str, ...]
    marker_factors: tuple[str, ...]
    """What neither colour nor dashes tell; where there is nothing, each colour has a marker of its own."""
    numbers: dict[str, int]
    """Of each option that has a colour, the slot of `palette`."""
    dashes: dict[str, LineStyleType]
    markers: dict[str, str]
    places: dict[tuple[str, ...], int]
    """Of each condition its number in the comparison, by its options."""
    factor_names: dict[str, str]
    told: dict[tuple[tuple[str, ...], str], str]
    """The joined options that have a colour or a marker, by their factors, as a legend says them."""
    repeated: dict[str, LineStyleType]
    """Of each option that has a colour the dashes that repeat it, where they tell nothing else."""

    @property
    def colours(self) -> dict[str, str]:
        """The colour of each option."""
        return {name: COLOURS[number % len(COLOURS)] for name, number in self.numbers.items()}

    def panel(self, condition: Condition) -> str:
        """The options that make the condition's panel: `digits`, `length 20`."""
        options = ((self.factor_names[factor], condition.options[factor]) for factor in self.panel_factors)
        return ", ".join(told_option(*option) for option in options)

    def number(self, condition: Condition) -> int:
        """The condition's slot of `palette`."""
        return self.numbers[joined_options(condition, self.colour_factors)]

    def colour(self, condition: Condition) -> str:
        """One of `COLOURS`."""
        return COLOURS[self.number(condition) % len(COLOURS)]

    def marker(self, condition: Condition) -> str:
        """One of `MARKERS`."""
        if not self.marker_factors:
            return marker_of(self.number(condition))
        return self.markers[joined_options(condition, self.marker_factors)]

    def sign(self, condition: Condition) -> str:
        """The marker on a line; none where there are so many lines that nobody could tell it."""
        return self.marker(condition) if len(self.places) <= MOST_SIGNS else ""

    def dash(self, condition: Condition) -> LineStyleType:
        """One of `DASHES`."""
        return self.dashes[joined_options(condition, self.dash_factors)]

    def stroke(self, condition: Condition) -> dict[str, Any]:
        """What a line of the condition is drawn with."""
        return {"color": self.colour(condition), **self._line(condition), "gid": self.gid(condition)}

    def key(self, condition: Condition) -> str:
        """The condition's line and marker as a small SVG."""
        pen = self._line(condition)
        return key(self.number(condition), self.marker(condition), pen["linestyle"], pen["alpha"], pen["linewidth"])

    def gid(self, condition: Condition) -> str:
        """The mark by which the page finds what is drawn of the condition."""
        return f"cond{self.places[tuple(condition.options.values())]}"

    def _line(self, condition: Condition) -> dict[str, Any]:
        """Where markers tell another factor than colour does, and dashes nothing, these repeat the colour: no line is
        told by its colour alone."""
        if self.marker_factors and not self.dash_factors:
            return self.pen(self.repeated[joined_options(condition, self.colour_factors)])
        return self.pen(self.dash(condition))

    def pen(self, dash: LineStyleType) -> dict[str, Any]:
        """Where dashes tell options apart the solid line is broad and pale, to be seen below a dashed one."""
        if len(self.places) > MOST_SIGNS:
            return {"linestyle": dash, "linewidth": 0.7, "alpha": 0.7}
        broad = len(self.dashes) > 1 and dash == DASHES[0]
        return {"linestyle": dash, "linewidth": 3.0 if broad else 1.5, "alpha": 0.5 if broad else 1.0}


def look(comparison: Comparison) -> Look:
    """Panels by data, colour by the first of the other factors, as a rule the model, dashes by clipping,
    or where that is one by the others; markers by what is left."""
    varying = comparison.distinguishing_factors
    panels = tuple(f for f in varying if f.split(".")[0] == "dataset")
    dashed = tuple(f for f in varying if is_of_clipping(f))
    rest = tuple(f for f in varying if f not in (*panels, *dashed))
    if len(_options(comparison, panels)) > MOST_PANELS:
        panels, rest = (), (*rest, *panels)
    if not rest:
        rest, dashed = dashed, ()
    rest, left = rest[:1], rest[1:]
    if not dashed:
        dashed, left = left, ()
    if len(_options(comparison, dashed)) > len(DASHES):
        dashed, left = (), (*left, *dashed)
    return Look(
        panels,
        rest,
        dashed,
        left,
        _of_those_shown(comparison, rest, len(COLOURS)),
        {name: DASHES[slot % len(DASHES)] for name, slot in _of_those_shown(comparison, dashed, len(DASHES)).items()},
        {name: marker_of(slot) for name, slot in _of_those_shown(comparison, left, len(COLOURS)).items()},
        {tuple(condition.options.values()): place for place, condition in enumerate(comparison.conditions)},
        told := names(comparison),
        {
            (some, joined_options(c, some)): ", ".join(told_option(told[factor], c.options[factor]) for factor in some)
            for some in (rest, left)
            for c in comparison.conditions
        },
        {name: DASHES[slot % len(DASHES)] for name, slot in _of_those_shown(comparison, rest, len(DASHES)).items()},
    )


def _of_those_shown(comparison: Comparison, factors: Sequence[str], count: int) -> dict[str, int]:
    """The slots of the options that conditions have, in their order; others that started earlier have theirs too."""
    shown = _options(comparison, factors)
    found = slots([*started(comparison, factors), *shown], count)
    return {name: found[name] for name in shown}


def joined_options(condition: Condition, factors: Sequence[str]) -> str:
    """The condition's options of `factors`, as one text."""
    return ", ".join(condition.options[factor] for factor in factors)


def shortened(label: str, most: int = 36) -> str:
    """A label that fits; the whole of it is in the table."""
    return label if len(label) <= most else f"{label[: most - 1]}…"


def joined_names(factors: Sequence[str], comparison: Comparison) -> str:
    """What the factors are called, as one text."""
    told = names(comparison)
    return ", ".join(told[factor] for factor in factors)


@contextmanager
def styled(style: str = "screen") -> Iterator[None]:
    """Figures made inside look alike, whatever the user's own matplotlib settings are.

    Raises:
        KeyError: `style` is none of `STYLES`.
    """
    with mpl.rc_context(), warnings.catch_warnings():
        # a sign of a name that the font lacks is drawn as a box: nothing that a user could mend
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS | STYLES[style])
        yield


def shade(ramp: str, share: float) -> str:
    """The colour of a map of matplotlib's at a share of its range, 0 to 1."""
    return to_hex(mpl.colormaps[ramp](share))


def png(figure: Figure) -> bytes:
    """A file of its own."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=160)
    return file.getvalue()


def pdf(figure: Figure) -> bytes:
    """A file of its own, with its letters: the same bytes for the same figure."""
    file = io.BytesIO()
    figure.savefig(file, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    return file.getvalue()


def svg(figure: Figure) -> str:
    """A file of its own: the same bytes for the same figure. What is of a condition has its number as `data-c`."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return re.sub(r'\bid="cond(\d+)"', r'class="cond" data-c="\1"', file.getvalue())


def placed(figure: Figure, axes: Axes) -> dict[str, list[float]]:
    """Where axes lie in the figure's SVG, after it was drawn: the ends of `x` and `y` in its points, and their
    limits."""
    width, height = (72 * side for side in figure.get_size_inches())
    box = axes.get_position()
    x, y = [box.x0 * width, box.x1 * width], [(1 - box.y0) * height, (1 - box.y1) * height]
    rounded = {"x": x, "y": y, "xlim": axes.get_xlim(), "ylim": axes.get_ylim()}
    return {name: [round(float(end), 5) for end in ends] for name, ends in rounded.items()}


def inline(drawing: str, name: str, title: str = "", text: str = "") -> str:
    """An SVG file as a part of a page: colours as the page's variables, ids of its own, the width of the
    page; `title` and `text` are what is read out instead of it."""
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>\s*", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', drawing)
    drawing = re.sub(r'(url\(#|href="#)', rf"\1{name}-", drawing)
    for colour, variable in VARIABLES.items():
        drawing = drawing.replace(colour, f"var(--{variable})")
    for _ in range(2):
        drawing = re.sub(r'<svg ([^>]*?)(width|height)="[^"]+pt" ', r"<svg \1", drawing, count=1)
    said = escape(f"{title}. {text}".strip(". "))
    drawing = drawing.replace("<svg ", f'<svg role="img" aria-label="{said}" ', 1)
    return re.sub(r"\s*\n\s*", "\n", drawing)


def _options(comparison: Comparison, factors: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(joined_options(condition, factors) for condition in comparison.conditions))
