"""Text from a file as what it is, and nothing that a terminal or a spreadsheet would carry out."""

from __future__ import annotations

import unicodedata
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What begins a formula for a spreadsheet."""


def printable(text: str) -> str:
    """`text` with each sign that a terminal would obey, or that hides or turns others, written as its code; lines and
    tabs stay."""
    if text.isprintable():
        return text
    return "".join(sign if sign in "\n\t" or not _obeyed(sign) else _code(sign) for sign in text)


def printable_values(value: Any) -> Any:
    """The same of every text in nested mappings and lists; a text is one line, since these are names and values."""
    if isinstance(value, str):
        return value if value.isprintable() else printable(value).replace("\n", "\\n").replace("\t", "\\t")
    if isinstance(value, dict):
        return {printable_values(key): printable_values(item) for key, item in value.items()}
    return [printable_values(item) for item in value] if isinstance(value, list) else value


def csv_cell(value: Any) -> Any:
    """A cell of a CSV file: text that a spreadsheet would take for a formula gets a ' before it. Numbers stay."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(FORMULA) and not _number(text) else text


def middle(text: str, most: int) -> str:
    """`text` in at most `most` signs: what is left out is in the middle, where names differ least, and marked by …."""
    if len(text) <= most:
        return text
    head = most // 2
    tail = most - head - 1
    return f"{text[:head]}…{text[len(text) - tail :]}" if most > 1 else "…"[:most]


def _obeyed(sign: str) -> bool:
    """Controls (Cc), signs that format, as those of direction (Cf), and halves of pairs (Cs)."""
    return unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _code(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
