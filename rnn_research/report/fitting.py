"""Tables for a terminal that are never wider than it: what is long is shortened in the middle, then columns are left
out in a fixed order."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from rnn_research.records.printable import middle, printable_values

GAP = "  "
READABLE, LEAST = 14, 6
"""Text is shortened to so many signs before a column is left out, and to so many where none can be."""
WORDS = 1_000
"""`readable` of words."""


@dataclass(frozen=True)
class TextColumn:
    """A column as text: its title, its cells, whether it is flush right, how long it is kept, and whether its cells
    must differ where they do when they are shortened. Where a table is too wide, the column with the lowest `keep` goes
    first, of equal ones the last; `KEPT` never does.

    `brief` are shorter cells, the shortest last, and `brief_title` a shorter title: they are taken before anything is
    cut. Cells are not cut to fewer than `readable` signs while another column can be left out; words never are."""

    title: str
    cells: tuple[str, ...]
    right: bool = False
    keep: int = 0
    apart: bool = True
    brief: tuple[tuple[str, ...], ...] = ()
    brief_title: str = ""
    readable: int = READABLE

    @cached_property
    def width(self) -> int:
        return max(map(cells_of, (self.title, *self.cells)))


KEPT = 100
LONGEST = 60


def cells_of(text: str) -> int:
    """How many columns of a terminal `text` takes: signs of East Asia two, marks over others none."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(sign) in "WF" for sign in text)
    return len(text) + wide - sum(unicodedata.combining(sign) > 0 for sign in text)


def narrow(text: str, most: int) -> str:
    """`text` in at most `most` columns of a terminal."""
    signs = min(most, len(text))
    while signs > 1 and cells_of(middle(text, signs)) > most:
        signs -= 1
    return middle(text, signs)


def wrapped(paragraph: str, width: int, indent: str = "") -> str:
    """The words of `paragraph` on lines of at most `width`, further ones indented; a word that is longer than 60, such
    as a name of 300 signs, is shortened in the middle."""
    done, line = [], ""
    for word in printable_values(paragraph).split(" "):
        short = narrow(word, LONGEST)
        if line.strip() and cells_of(line) + 1 + cells_of(short) > width:
            done.append(line)
            line = indent + short
        else:
            line = f"{line} {short}" if line else short
    return "\n".join([*done, line])


def fitted(columns: Sequence[TextColumn], width: int) -> tuple[list[TextColumn], list[str]]:
    """The columns that fit in `width`, with cells shortened as far as it takes; and the titles of those left out."""
    kept, dropped = [_plain(column) for column in columns], []
    while True:
        for least in (READABLE, LEAST):
            for cap in sorted({column.width for column in kept if column.width > least} | {least}, reverse=True):
                tried = [capped(column, cap, least == READABLE) for column in kept]
                if total(tried) <= width:
                    most = _largest(kept, cap, width, least == READABLE)
                    return [capped(column, most, least == READABLE) for column in kept], dropped
            if any(column.keep < KEPT for column in kept):
                break
        losing = [column for column in kept if column.keep < KEPT]
        if not losing:
            return [capped(column, max(1, width // len(kept) - len(GAP))) for column in kept], dropped
        lowest = min(column.keep for column in losing)
        last = max(index for index, column in enumerate(kept) if column.keep == lowest)
        dropped.append(kept.pop(last).title)


def lines(columns: Sequence[TextColumn]) -> str:
    """The table, its columns aligned."""
    widths = [column.width for column in columns]
    rows = zip(*((column.title, *column.cells) for column in columns), strict=True)
    padded = (
        [_padded(cell, width, column.right) for cell, width, column in zip(row, widths, columns, strict=True)]
        for row in rows
    )
    return "\n".join(GAP.join(row).rstrip() for row in padded)


def total(columns: Sequence[TextColumn]) -> int:
    return sum(column.width for column in columns) + len(GAP) * (len(columns) - 1)


def capped(column: TextColumn, most: int, whole: bool = False) -> TextColumn:
    """The column in at most `most` signs; cells that differ still do. Numbers stay whole, under a shorter title; with
    `whole` what is readable too."""
    if column.width <= most:
        return column
    if column.brief_title:
        column = replace(column, title=column.brief_title)
    shorter = (replace(column, cells=cells) for cells in (column.cells, *column.brief))
    column = next(
        (one for one in shorter if one.width <= most), replace(column, cells=(*column.brief[-1:], column.cells)[0])
    )
    if whole:
        most = max(most, column.readable)
    if column.width <= most:
        return column
    if column.right and most >= LEAST:
        return replace(column, title=narrow(column.title, max(most, *map(cells_of, column.cells))))
    shorten = _apart if column.apart else _each
    return replace(column, title=narrow(column.title, most), cells=shorten(column.cells, most))


def _largest(columns: Sequence[TextColumn], fits: int, width: int, whole: bool) -> int:
    """The largest cap that fits in `width`, or that nothing is wider than; `fits` does."""
    widest = max(column.width for column in columns)
    while fits < widest and total([capped(column, fits + 1, whole) for column in columns]) <= width:
        fits += 1
    return fits


def _each(cells: Sequence[str], most: int) -> tuple[str, ...]:
    return tuple(narrow(cell, most) for cell in cells)


def _apart(cells: Sequence[str], most: int) -> tuple[str, ...]:
    """Shortened; texts that would be the same get their number among all that there are, the same in every table."""
    short = {cell: narrow(cell, most) for cell in dict.fromkeys(cells)}
    counts = Counter(short.values())
    for number, (cell, text) in enumerate(short.items(), 1):
        if counts[text] > 1:
            mark = f"#{number}"
            short[cell] = f"{narrow(cell, max(most - len(mark), 1))}{mark}"
    return tuple(short[cell] for cell in cells)


def _plain(column: TextColumn) -> TextColumn:
    """On one line, with nothing that a terminal would obey."""
    cells, *brief = (tuple(map(printable_values, some)) for some in (column.cells, *column.brief))
    return replace(column, title=printable_values(column.title), cells=cells, brief=tuple(brief))


def _padded(cell: str, width: int, right: bool) -> str:
    space = " " * (width - cells_of(cell))
    return space + cell if right else cell + space
