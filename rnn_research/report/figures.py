"""The figures of a comparison. Draws what it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rnn_research.compare import Comparison
from rnn_research.compare.page_data import PageData
from rnn_research.report import confused, foreseen, looks, maps, norms, saturated, style, success, training, vanishing
from rnn_research.report.legends import Made


@dataclass(frozen=True)
class Drawing:
    """A figure as files, with what it shows in words."""

    name: str
    title: str
    caption: str
    svg: str
    png: bytes
    """Empty, as `pdf`, where no files were asked for."""
    pdf: bytes
    panels: tuple[dict[str, Any], ...]
    """Where the axes lie that the page's script works on: see `style.placed`, and `view`, what they show."""


Maker = Callable[[Comparison, looks.Look, PageData | None], Made | None]
"""Makes a figure where there is something to show."""


def _at_one_step(make: Callable[[Comparison, looks.Look], Made | None]) -> Maker:
    """A maker that needs nothing but the comparison."""
    return lambda comparison, look, data: make(comparison, look)


FIGURES: dict[str, Maker] = {
    "vanishing": _at_one_step(vanishing.curves),
    "beginning": _at_one_step(vanishing.beginning),
    "nodes": _at_one_step(vanishing.nodes),
    "phases": _at_one_step(maps.phases),
    "map": maps.training_map,
    "norm_map": maps.norm_map,
    "rates": _at_one_step(training.rates),
    "saturation": _at_one_step(saturated.saturation),
    "clipping": _at_one_step(norms.clipping),
    "foreseen": _at_one_step(foreseen.foreseen),
    "learning": _at_one_step(training.learning),
    "success": _at_one_step(success.success),
    "answers": _at_one_step(success.answers),
    "confusion": _at_one_step(confused.confusions),
    "beside_task": _at_one_step(maps.beside_task),
}
"""By their names, in the order in which they are shown."""


def draw(
    comparison: Comparison,
    look: str = "screen",
    data: PageData | None = None,
    files: bool = True,
    names: Iterable[str] | None = None,
) -> list[Drawing]:
    """Every figure that has something to show.

    Args:
        data: for the figures over training; without it there are none.
        files: whether PNG and PDF are drawn too; the page needs the SVG alone.
        look: `screen`, or `paper`: letters as the text around, thin lines, no grid.
        names: those of `FIGURES` that are wanted; None: all.

    Raises:
        KeyError: there is no such look, or no such figure.
    """
    makers = [FIGURES[name] for name in (FIGURES if names is None else names)]
    with style.styled(look):
        told = looks.look(comparison)
        return [_drawing(made, files) for make in makers if (made := make(comparison, told, data)) is not None]


def _drawing(made: Made, files: bool) -> Drawing:
    drawn = style.svg(made.figure)
    panels = tuple({"view": view, **style.placed(made.figure, axes)} for axes, view in made.views)
    others = (style.png(made.figure), style.pdf(made.figure)) if files else (b"", b"")
    return Drawing(made.name, made.title, made.caption, drawn, *others, panels)
