"""A comparison as text, CSV, figures and one page. Computes no numbers."""

from __future__ import annotations

from pathlib import Path

from rnn_research.compare import Comparison
from rnn_research.records.runs import replace_atomically
from rnn_research.report import tables
from rnn_research.report.page import page
from rnn_research.report.terminal import text

__all__ = ["text", "write"]


def write(comparison: Comparison, out: Path, figures: bool = True) -> Path:
    """Write `comparison.html`, `conditions.csv`, `runs.csv`, where there are answers `answers.csv`, and each figure as
    PNG and SVG, to `out`.

    Returns:
        The page.

    Raises:
        OSError: `out` can't be written.
    """
    _put(out / "conditions.csv", tables.conditions_csv(comparison))
    _put(out / "runs.csv", tables.runs_csv(comparison))
    if answers := tables.answers_csv(comparison):
        _put(out / "answers.csv", answers)
    inline = _draw(comparison, out) if figures else {}
    _put(out / "comparison.html", page(comparison, inline))
    return out / "comparison.html"


def _draw(comparison: Comparison, out: Path) -> dict[str, tuple[str, str, str]]:
    """Write the figures; returns for the page, by name: title, caption, inline SVG."""
    # Here and not above: matplotlib takes longer to import than everything else, and may not be wanted.
    from rnn_research.report import figures, style

    drawings = figures.draw(comparison)
    for drawing in drawings:
        _put(out / f"{drawing.name}.svg", drawing.svg)
        _put(out / f"{drawing.name}.png", drawing.png)
    return {each.name: (each.title, each.caption, style.inline(each.svg, each.name)) for each in drawings}


def _put(path: Path, content: str | bytes) -> None:
    mode = "wb" if isinstance(content, bytes) else "w"
    replace_atomically(path, lambda file: file.write(content), mode)
