"""A comparison as text, CSV, figures and one page. Computes no numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from rnn_research.compare import Comparison
from rnn_research.compare.fingerprint import fingerprint
from rnn_research.records import runs, whole_file
from rnn_research.records.runs import replace_atomically
from rnn_research.report import tables
from rnn_research.report.page import Pictures, page
from rnn_research.report.terminal import text

__all__ = ["text", "write"]

STAMP = ".comparison.json"
WRITTEN = (".html", ".csv", ".svg", ".png", ".pdf")


@np.errstate(all="ignore")  # an axis near the largest float is no news to who reads the page
def write(comparison: Comparison, out: Path, figures: bool = True, look: str = "screen") -> Path:
    """Write `comparison.html`, `conditions.csv`, `runs.csv`, where there are answers `answers.csv`, and each figure as
    PNG, SVG and PDF, to `out`. Where the last comparison wrote all of that from the same files, it is kept.

    Args:
        look: of the figures' files: `screen`, or `paper`, with letters as the text around, thin lines and no grid. The
            page has its own.

    Returns:
        The page.

    Raises:
        OSError: `out` can't be written.
        KeyError: there is no such look.
    """
    made = out / "comparison.html"
    stamp = f"{fingerprint(comparison)} {look} {figures}"
    if _is_kept(out, stamp):
        return made
    (out / STAMP).unlink(missing_ok=True)
    _put(out / "conditions.csv", tables.conditions_csv(comparison))
    _put(out / "runs.csv", tables.runs_csv(comparison))
    if answers := tables.answers_csv(comparison):
        _put(out / "answers.csv", answers)
    pictures = _draw(comparison, out, look) if figures else None
    _put(made, page(comparison, pictures))
    _put(out / STAMP, json.dumps({"stamp": stamp, "files": _sizes(out)}))
    return made


def _is_kept(out: Path, stamp: str) -> bool:
    """Whether `out` holds what was written for this stamp, every file as it was."""
    try:
        last = json.loads(whole_file.text(out / STAMP, runs.LARGEST))
        return last["stamp"] == stamp and last["files"] == _sizes(out)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False


def _sizes(out: Path) -> dict[str, list[int]]:
    """Size and time of each file that a comparison writes."""
    found = [path for path in sorted(out.iterdir()) if path.suffix in WRITTEN and path.is_file()]
    return {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in found}


def _draw(comparison: Comparison, out: Path, look: str) -> Pictures:
    """Write the figures; returns what the page shows of them, with its interactive layer."""
    # Here and not above: matplotlib takes longer to import than everything else, and may not be wanted.
    from rnn_research.compare.page_data import page_data
    from rnn_research.report import figures, interactive, looks, style

    if look not in style.STYLES:
        raise KeyError(look)
    data = page_data(comparison)
    alike = look == "screen"  # the page has its own look: of that, SVG is enough
    drawings = figures.draw(comparison, data=data, files=alike)
    for drawing in drawings if alike else figures.draw(comparison, look, data):
        _put(out / f"{drawing.name}.svg", drawing.svg)
        _put(out / f"{drawing.name}.png", drawing.png)
        _put(out / f"{drawing.name}.pdf", drawing.pdf)
    inline = {
        each.name: (each.title, each.caption, style.inline(each.svg, each.name, each.title, each.caption))
        for each in drawings
    }
    told = looks.look(comparison)
    with style.styled():
        layer = interactive.layer(comparison, drawings, data)
    return Pictures(inline, [told.key(c) for c in comparison.conditions], layer, interactive.allowed())


def _put(path: Path, content: str | bytes) -> None:
    mode = "wb" if isinstance(content, bytes) else "w"
    replace_atomically(path, lambda file: file.write(content), mode)
