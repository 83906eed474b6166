"""A column of the table of conditions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rnn_research.compare import Condition


@dataclass(frozen=True)
class Column:
    """A column of the table: its title, what it means, and its cell for a condition. Where a terminal is too narrow,
    the column with the lowest `keep` is left out first; before that `brief` has shorter cells, the shortest last, and
    `brief_title` is a shorter title."""

    title: str
    meaning: str
    cell: Callable[[Condition], str]
    kind: Literal["number", "option", "verdict", "words"] = "number"
    keep: int = 50
    brief: tuple[Callable[[Condition], str], ...] = ()
    brief_title: str = ""
