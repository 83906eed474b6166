"""Tables of numbers in text: CSV, with whatever separates its columns, with or without a header."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnn_research.checks import nearest
from rnn_research.datasets.own.files import refusal, text_of

SEPARATORS = (",", ";", "\t")
MISSING = frozenset(("", "nan", "na", "n/a", "null", "none", "?", "-nan"))
"""What stands for a missing number, in lower case."""
COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)
"""A number with a decimal comma."""


def separator_of(line: str) -> str | None:
    """What separates the columns of a line: the most frequent of comma, semicolon and tab; None: white space. Where
    all else is numbers, a comma within one is a decimal comma."""
    for one in (";", "\t"):
        cells = [cell.strip() for cell in line.split(one)]
        decimal = [bool(COMMA.fullmatch(cell)) for cell in cells if "," in cell]
        if len(cells) > 1 and decimal and all(decimal):
            return one
    counts = {one: line.count(one) for one in SEPARATORS}
    best = max(counts, key=lambda one: counts[one])
    return best if counts[best] else None


def rows_of(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table with the number of the line each ends on, from 1; blank lines are left out.

    Raises:
        ValueError: it is no text, or its quotes are not closed: names the line on which the row begins.
    """
    text = text_of(path)
    first = next((line for line in text.split("\n") if line.strip() and not line.startswith("#")), "")
    separator = separator_of(first)
    if separator is None:
        yield from ((n, line.split()) for n, line in enumerate(text.split("\n"), start=1) if line.strip())
        return
    reader, begin = csv.reader(text.split("\n"), delimiter=separator, strict=True), 1
    try:
        for row in reader:
            begin = reader.line_num + 1
            if any(cell.strip() for cell in row):
                yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        raise refusal(path, f"found a row that can't be read ({error})", begin) from None


def number_of(text: str) -> float:
    """A number as it is written; NaN for what stands for a missing one.

    Raises:
        ValueError: it is neither; says what was found and what is expected.
    """
    if text.lower() in MISSING:
        return np.nan
    if COMMA.fullmatch(text):
        raise ValueError(f"found {text[:40]!r} with a decimal comma, expected a decimal point")
    try:
        if "_" not in text:
            return float(text)
    except ValueError:
        pass
    raise ValueError(f"found {text[:40]!r}, expected a number")


def is_header(row: Sequence[str]) -> bool:
    """Whether no cell of a row is a number."""
    return not any(_is_number(cell) for cell in row)


@dataclass(frozen=True, eq=False)
class NumberTable:
    """A table of numbers.

    Attributes:
        values: (rows, columns) float64, NaN where one is missing.
        header: the columns' names; empty where the file has none.
        lines: the line of each row, from 1.
    """

    values: np.ndarray
    header: tuple[str, ...]
    lines: np.ndarray


def numbers_of(path: Path) -> NumberTable:
    """The table of numbers in a file.

    Raises:
        ValueError: a cell is no number, rows have different lengths, or there is none: names the line.
    """
    found: list[list[float]] = []
    lines: list[int] = []
    header: tuple[str, ...] = ()
    for line, row in rows_of(path):
        if not found and not header and is_header(row):
            header = tuple(row)
            continue
        try:
            found.append([number_of(cell) for cell in row])
        except ValueError as error:
            raise refusal(path, str(error), line) from None
        lines.append(line)
        if len(row) != len(found[0]):
            raise refusal(path, f"found {len(row)} columns, expected {len(found[0])} as in the first row", line)
    if not found:
        raise refusal(path, "found no row of numbers, expected one a step")
    if header and len(header) != len(found[0]):
        raise refusal(path, f"found {len(found[0])} columns, expected {len(header)} as in the header", lines[0])
    return NumberTable(np.array(found), header, np.array(lines))


def _is_number(cell: str) -> bool:
    try:
        number_of(cell)
    except ValueError:
        return bool(COMMA.fullmatch(cell))
    return True


def column_named(path: Path, header: Sequence[str], asked: str | None, usual: Sequence[str], key: str) -> int | None:
    """The place of a column: the one asked for, else the first of the usual names that is there; None: there is none.

    Raises:
        ValueError: the one asked for is not there (the nearest is suggested), or is there twice.
    """
    lower = [name.strip().lower() for name in header]
    if asked is not None:
        if asked in header:
            return _only(path, header, asked, key)
        if asked.lower() in lower:
            return _only(path, lower, asked.lower(), key)
        raise ValueError(
            f"{key}: given {asked!r}, but {path} has the columns {', '.join(header)}{nearest(asked, header)}"
        )
    return next((_only(path, lower, name, key) for name in usual if name in lower), None)


def _only(path: Path, names: Sequence[str], name: str, key: str) -> int:
    if names.count(name) > 1:
        raise refusal(
            path, f"found {names.count(name)} columns named {name!r}, expected one for {key}", 1, "rename one"
        )
    return names.index(name)
