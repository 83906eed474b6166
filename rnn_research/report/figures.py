"""The figures of a comparison. Draws what it is given."""

from __future__ import annotations

from dataclasses import dataclass

from rnn_research.compare import Comparison
from rnn_research.report import norms, style, success, training, vanishing


@dataclass(frozen=True)
class Drawing:
    """A figure as files, with what it shows in words."""

    name: str
    title: str
    caption: str
    svg: str
    png: bytes


def draw(comparison: Comparison) -> list[Drawing]:
    """Every figure that has something to show."""
    makers = (vanishing.curves, training.rates, norms.clipping, training.learning, success.success, success.answers)
    with style.styled():
        look = style.look(comparison)
        return [
            Drawing(made.name, made.title, made.caption, style.svg(made.figure), style.png(made.figure))
            for make in makers
            if (made := make(comparison, look)) is not None
        ]
