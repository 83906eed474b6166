"""Tables of numbers in text: CSV, with whatever separates its columns, with or without a header."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from rnn_research.checks import nearest
from rnn_research.datasets.own.files import refusal, text_of

SEPARATORS = (",", ";", "\t")
MISSING = frozenset(("", "nan", "na", "n/a", "null", "none", "?", "-nan"))
"""What stands for a missing number, in lower case."""


def separator_of(line: str) -> str | None:
    """What separates the columns of a line: the most frequent of comma, semicolon and tab; None: white space."""
    counts = {one: line.count(one) for one in SEPARATORS}
    best = max(counts, key=lambda one: counts[one])
    return best if counts[best] else None


def rows_of(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table with the number of the line each ends on, from 1; blank lines are left out.

    Raises:
        ValueError: it is no text, or its quotes are not closed.
    """
    text = text_of(path)
    first = next((line for line in text.split("\n") if line.strip() and not line.startswith("#")), "")
    separator = separator_of(first)
    if separator is None:
        yield from ((n, line.split()) for n, line in enumerate(text.split("\n"), start=1) if line.strip())
        return
    reader = csv.reader(text.split("\n"), delimiter=separator, strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        raise refusal(path, f"found a row that can't be read ({error})", reader.line_num) from None


def number_of(text: str) -> float:
    """A number as it is written; NaN for what stands for a missing one.

    Raises:
        ValueError: it is neither.
    """
    return np.nan if text.lower() in MISSING else float(text)


def is_header(row: Sequence[str]) -> bool:
    """Whether no cell of a row is a number."""
    return not any(_is_number(cell) for cell in row)


def numbers_of(path: Path) -> np.ndarray:
    """The table of numbers in a file, (rows, columns) float64, without its header; NaN where one is missing.

    Raises:
        ValueError: a cell is no number, rows have different lengths, or there is none: names the line.
    """
    found: list[list[float]] = []
    for line, row in rows_of(path):
        if not found and is_header(row):
            continue
        try:
            found.append([number_of(cell) for cell in row])
        except ValueError:
            bad = next(cell for cell in row if not _is_number(cell))
            raise refusal(path, f"found {bad[:40]!r}, expected a number", line) from None
        if len(row) != len(found[0]):
            raise refusal(path, f"found {len(row)} columns, expected {len(found[0])} as in the first row", line)
    if not found:
        raise refusal(path, "found no row of numbers, expected one a step")
    return np.array(found)


def _is_number(cell: str) -> bool:
    try:
        number_of(cell)
    except ValueError:
        return False
    return True


def column_named(path: Path, header: Sequence[str], asked: str | None, usual: Sequence[str], key: str) -> int | None:
    """The place of a column: the one asked for, else the first of the usual names that is there; None: there is none.

    Raises:
        ValueError: the one asked for is not there; the nearest is suggested.
    """
    lower = [name.strip().lower() for name in header]
    if asked is not None:
        if asked in header:
            return list(header).index(asked)
        if asked.lower() in lower:
            return lower.index(asked.lower())
        raise ValueError(
            f"{key}: given {asked!r}, but {path} has the columns {', '.join(header)}{nearest(asked, header)}"
        )
    return next((lower.index(name) for name in usual if name in lower), None)
