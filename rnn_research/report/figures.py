"""The figures of a comparison. Draws what it is given."""

from __future__ import annotations

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


def draw(
    comparison: Comparison, look: str = "screen", data: PageData | None = None, files: bool = True
) -> list[Drawing]:
    """Every figure that has something to show.

    Args:
        data: for the figure over training; without it there is none.
        files: whether PNG and PDF are drawn too; the page needs the SVG alone.
        look: `screen`, or `paper`: letters as the text around, thin lines, no grid.

    Raises:
        KeyError: there is no such look.
    """
    makers = (
        vanishing.curves,
        vanishing.beginning,
        vanishing.nodes,
        maps.phases,
        lambda compared, told: maps.training_map(compared, told, data),
        lambda compared, told: maps.norm_map(compared, told, data),
        training.rates,
        saturated.saturation,
        norms.clipping,
        foreseen.foreseen,
        training.learning,
        success.success,
        success.answers,
        confused.confusions,
        maps.beside_task,
    )
    with style.styled(look):
        told = looks.look(comparison)
        return [_drawing(made, files) for make in makers if (made := make(comparison, told)) is not None]


def _drawing(made: Made, files: bool) -> Drawing:
    drawn = style.svg(made.figure)
    panels = tuple({"view": view, **style.placed(made.figure, axes)} for axes, view in made.views)
    made.figure.set_layout_engine("none")  # found once: the other files have the same places
    others = (style.png(made.figure), style.pdf(made.figure)) if files else (b"", b"")
    return Drawing(made.name, made.title, made.caption, drawn, *others, panels)
