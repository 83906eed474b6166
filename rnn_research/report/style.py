"""How figures look: one colour, marker and line style a condition, the same in every figure (see `palette`); ink that
follows the page.

In the page each colour is a CSS variable, so that a dark page has its own.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from rnn_research.report.palette import COLOURS

INK, MUTED, GRID, PAPER = "#1c1c1f", "#63636a", "#e3e3e6", "#ffffff"
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
LARGEST = 1e100
"""What is beyond is not drawn."""
STYLES = {"screen": {}, "paper": PAPER_SETTINGS}


def shortened(label: str, most: int = 36) -> str:
    """A label that fits; the whole of it is in the table."""
    return label if len(label) <= most else f"{label[: most - 1]}…"


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


def drawn(values: ArrayLike) -> np.ndarray:
    """The values as they are drawn on a linear axis: NaN beyond 1e100, where an axis overflows, as for infinite ones;
    the tables say what they are."""
    found = np.asarray(values, dtype=np.float64)
    return np.where(np.abs(found) <= LARGEST, found, np.nan)


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
    """A file of its own: the same bytes for the same figure. What is of a condition has its number as `data-c`.

    Places are to a hundredth of a point: a third less to read, and nothing that can be seen. Where all lies in the
    figure is found here, and stays so in files that are made after.
    """
    _arrange(figure)
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    drawing = re.sub(r' (?:d|x|y)="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), file.getvalue())
    return re.sub(r'\bid="cond(\d+)"', r'class="cond" data-c="\1"', drawing)


def _arrange(figure: Figure) -> None:
    """Find where all lies, as an SVG has it, once: of a figure with a layout engine matplotlib makes each file by
    drawing all twice, the first time to find that."""
    FigureCanvasSVG(figure)
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
    figure.set_layout_engine(None)


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
