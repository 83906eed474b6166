"""Reads `metrics.csv`, the dense rows that a run leaves: step, epoch, split, loss, metrics."""

from __future__ import annotations

import csv
import operator
from collections.abc import Sequence
from pathlib import Path

from rnn_research.records import whole_file
from rnn_research.records.runs import METRICS, DamagedRecord

LARGEST = 1 << 31
"""Bytes of the file."""


def read_metrics(folder: Path) -> list[dict[str, str]]:
    """The whole rows of `metrics.csv` as text; a torn last line (a run killed while writing) is dropped.

    Raises:
        DamagedRecord: the file can't be read.
    """
    header, rows = _rows(folder)
    return [dict(zip(header, row, strict=True)) for row in rows]


def read_columns(folder: Path, names: Sequence[str], having: str = "") -> list[tuple[str, ...]]:
    """These columns of `metrics.csv` as text, a tuple a whole row; none where one of them is not there. Raises as
    `read_metrics`.

    Args:
        having: only of lines with this text in them, which is far faster than to read all.
    """
    header, rows = _rows(folder, having)
    if not set(names) <= set(header):
        return []
    pick = operator.itemgetter(*(len(header) - 1 - header[::-1].index(name) for name in names))
    return [pick(row) for row in rows]


def values_at_validations(folder: Path, metric: str) -> list[tuple[int, float]]:
    """The step of each validation while the run trained, and what a metric was. Raises as `read_metrics`."""
    rows = read_columns(folder, ("split", "step", metric), having=",val,")
    return list({int(step): float(value) for split, step, value in rows if split == "val"}.items())


def read_text(folder: Path) -> str:
    """`metrics.csv` as it is; empty where there is none.

    Raises:
        OSError, ValueError: it can't be read, or is no file of a sensible size.
    """
    path = folder / METRICS
    if not path.exists():
        return ""
    return whole_file.content(path, LARGEST).decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")


def _rows(folder: Path, having: str = "") -> tuple[list[str], list[list[str]]]:
    """The header and the whole rows of `metrics.csv`, of those lines that have a text in them."""
    path = folder / METRICS
    try:
        text = read_text(folder)
    except (OSError, ValueError) as error:
        raise DamagedRecord(path, f"damaged ({error}); run it again") from None
    lines = text.splitlines() if text.endswith("\n") else text.splitlines()[:-1]
    if having and '"' not in text:  # a quoted cell may have line breaks in it
        lines = [*filter(None, lines[:1]), *(line for line in lines[1:] if having in line)]
    try:
        header, *rows = [row for row in csv.reader(lines) if row] or [[]]
    except csv.Error as error:
        raise DamagedRecord(path, f"damaged ({error}); run it again") from None
    return header, [row for row in rows if len(row) == len(header)]
