"""The layer over the page that answers questions: a short plain script, and what it is given as one block of JSON.

The figures stay what matplotlib drew: the script lights up, hides and moves what has the mark of a condition
(`data-c`), and needs no library for that. So there is one picture of each figure, in the page, on paper and in the
files; it can be read out, printed and styled; and the strict policy of the page holds, by the script's hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rnn_research.compare import Comparison
from rnn_research.compare.page_data import PageData
from rnn_research.report import interactive_data, interactive_figures
from rnn_research.report.figures import Drawing

SCRIPT = Path(__file__).with_name("interactive.js")


def layer(comparison: Comparison, drawings: Sequence[Drawing], data: PageData) -> str:
    """The HTML of the layer: empty axes for a run, the block of JSON, the script. To be called inside
    `style.styled`."""
    block = interactive_data.block(comparison, data, {each.name: each.panels for each in drawings})
    empty = interactive_figures.empty(comparison, data)
    block["run_figures"] = {name: made.panel for name, made in empty.items()}
    block["shades"] = interactive_figures.shades()
    axes = "".join(f'<template id="of-{name}">{made.svg}</template>\n' for name, made in empty.items())
    given = f'<script type="application/json" id="given">{escaped(block)}</script>\n'
    return f"{axes}{given}<script>{script()}</script>\n"


def script() -> str:
    """The script itself."""
    return SCRIPT.read_text(encoding="utf-8")


def allowed() -> str:
    """What the page's policy says of scripts: this one and no other."""
    digest = base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()
    return f"'sha256-{digest}'"


def escaped(block: Any) -> str:
    """JSON that can stand inside a page: nothing in it ends the block, or begins a comment."""
    text = json.dumps(block, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
