"""The published ListOps files: `label<TAB>expression` a line, with brackets around the binary parse."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np

from rnn_research.datasets.lines import read_lines, refusal
from rnn_research.datasets.listops_expressions import END, MIN, VOCABULARY, Expressions, values

TOKENS = {word: token for token, word in enumerate(VOCABULARY) if word}

Parsed = tuple[int, list[int], list[int]]
"""A label; and of the nodes, in the order that they are written, the node above and the token."""


def read(path: Path) -> tuple[Expressions, np.ndarray]:
    """The expressions of a file, and their labels.

    Raises:
        ValueError: a line is not a label from 0 to 9 and an expression in the published brackets, of that value.
    """
    parsed = read_lines(path, _line, ("label", "expression"))
    found, labels = _together(parsed), np.array([label for label, _, _ in parsed])
    value = values(found, 1 + int(found.side.max()))[found.parent < 0]
    for wrong in np.flatnonzero(value != labels)[:1]:
        raise refusal(
            path, int(wrong), f"found the label {labels[wrong]}, expected the expression's value, {value[wrong]}"
        )
    return found, labels


def _line(label: str, text: str) -> Parsed:
    if label not in set("0123456789"):
        raise ValueError(f"found the label {label!r}, expected one digit")
    parents, tokens = _parse(text.split())
    return int(label), parents, tokens


class _Open:
    """An operator whose list has not ended."""

    def __init__(self, node: int, brackets: int) -> None:
        self.node, self.brackets, self.arguments = node, brackets, 0


def _parse(words: list[str]) -> tuple[list[int], list[int]]:
    """Nodes in prefix order. With k arguments, k + 1 brackets open before an operator; one closes after each argument,
    and one after the `]`: `( ( ( [MIN 3 ) 4 ) ] )`."""
    parents: list[int] = []
    tokens: list[int] = []
    path: list[_Open] = []
    opened = closing = 0  # brackets since the last word; brackets that must close here
    for word in words:
        if (closing > 0) != (word == ")"):
            raise ValueError(f"found {word!r}, expected {'a closing' if closing else 'no closing'} bracket there")
        if word == ")":
            closing -= 1
        elif word == "(":
            opened += 1
        else:
            closing, opened = _take(word, opened, parents, tokens, path), 0
    if closing or path or opened or not tokens:
        raise ValueError("found the line's end, expected more: an expression, or what closes its brackets and lists")
    return parents, tokens


def _take(word: str, opened: int, parents: list[int], tokens: list[int], path: list[_Open]) -> int:
    """Take in a word that is no bracket. Returns how many brackets must close after it."""
    token = TOKENS.get(word)
    if token is None:
        raise ValueError(f"found {word!r}, expected one of {', '.join(TOKENS)} or a bracket")
    if token == END:
        if opened or not path or not path[-1].arguments or path[-1].brackets != path[-1].arguments + 1:
            raise ValueError("found ']' of a list that is not open, is empty, or has other brackets than published")
        path.pop()
    else:
        if tokens and not path:
            raise ValueError(f"found {word!r} after the expression, expected one a line")
        parents.append(path[-1].node if path else -1)
        tokens.append(token)
        if token >= MIN:
            path.append(_Open(len(tokens) - 1, opened))
            return 0
        if opened:
            raise ValueError(f"found a bracket before {word!r}, expected them before operators alone")
    if path:
        path[-1].arguments += 1
    return (token == END) + (len(path) > 0)


def _together(parsed: list[Parsed]) -> Expressions:
    """Level by level, from prefix order."""
    sizes = np.array([len(tokens) for _, _, tokens in parsed])
    tree = np.repeat(np.arange(len(parsed)), sizes)
    own = np.array(list(chain.from_iterable(parents for _, parents, _ in parsed)))
    token = np.array(list(chain.from_iterable(tokens for _, _, tokens in parsed)))
    parent = np.where(own < 0, -1, own + (np.cumsum(sizes) - sizes)[tree])
    level = _levels(parent)
    order = np.lexsort((np.arange(len(tree)), level))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    above = parent[order]
    above = np.where(above < 0, -1, place[above])
    eldest = np.searchsorted(above, above)  # within a level, parents ascend; and from level to level
    side = np.where(above < 0, 0, np.arange(len(above)) - eldest)
    return Expressions(tree[order], above, side, level[order], token[order])


def _levels(parent: np.ndarray) -> np.ndarray:
    level, up = np.zeros(len(parent), dtype=np.int64), parent
    while (up >= 0).any():
        level += up >= 0
        up = np.where(up >= 0, parent[up], -1)
    return level
