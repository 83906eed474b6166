"""Trees in JSON: nested objects with keys for a node's label, token and children, or nested lists."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rnn_research.datasets.trees.deep_json import WHITE, read_value
from rnn_research.datasets.trees.written import WrittenTree

Refuse = Callable[[str, int], ValueError]


@dataclass(frozen=True)
class Keys:
    """What a node's label, its token and the list of its children are called."""

    label: str = "label"
    token: str = "token"
    children: str = "children"

    def __post_init__(self) -> None:
        for name, key in vars(self).items():
            if not isinstance(key, str) or not key:
                raise ValueError(f"{name}_key: given {key!r}, expected a key of the objects")
        if len({self.label, self.token, self.children}) < 3:
            raise ValueError(f"label_key: given {self.label!r}, expected three different keys")


def read_json(content: str, lines: bool, keys: Keys, refuse: Refuse) -> Iterator[WrittenTree]:
    """The trees of a text, one after another.

    A node is an object; a list, which is a node without a label; or a text or a number, which is a leaf without a
    label. Not recursive: a tree may be as deep as it likes.

    Args:
        lines: every line is one tree. Otherwise the text is a list of trees, or trees one after another.
        refuse: makes the error for what was found in a line, counted from 1.

    Raises:
        ValueError: `refuse`'s, for what is not JSON, or no tree.
    """
    for value, start, end in _by_line(content, refuse) if lines else _values(content, refuse):
        tree = WrittenTree([], [], [], start, end - start + 1)
        try:
            _grow(tree, value, keys)
        except ValueError as error:
            raise refuse(str(error), start) from None
        yield tree


def _by_line(content: str, refuse: Refuse) -> Iterator[tuple[Any, int, int]]:
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            try:
                value, end = read_value(line, 0)
            except json.JSONDecodeError as error:
                raise refuse(f"found what is not JSON ({error.msg}, column {error.colno})", number) from None
            if rest := line[end:].strip():
                raise refuse(f"found {rest[:20]!r} after the tree, expected one tree a line", number)
            yield value, number, number


def _values(content: str, refuse: Refuse) -> Iterator[tuple[Any, int, int]]:
    """The elements of the one list that a text is, or its values one after another."""
    at = _after_white(content, 0)
    listed = content[at : at + 1] == "["
    at = _after_white(content, at + listed)
    number, counted, first = 1, 0, True
    while at < len(content) and not (listed and content[at] == "]"):
        if not first and (content[at] == "," or listed):
            if content[at] != ",":
                number += content.count("\n", counted, at)
                raise refuse(f"found {content[at]!r} between two trees, expected a comma", number)
            at = _after_white(content, at + 1)
        number, counted = number + content.count("\n", counted, at), at
        try:
            value, end = read_value(content, at)
        except json.JSONDecodeError as error:
            raise refuse(f"found what is not JSON ({error.msg}, column {error.colno})", error.lineno) from None
        yield value, number, number + content.count("\n", at, end)
        at, first = _after_white(content, end), False
    if listed and (at >= len(content) or content[at + 1 :].strip()):
        raise refuse("found no end of the list of trees, or text after it, expected one list", number)


def _after_white(content: str, at: int) -> int:
    found = WHITE.match(content, at)
    assert found is not None
    return found.end()


def _grow(tree: WrittenTree, value: Any, keys: Keys) -> None:
    """Add a value's nodes, each before its children."""
    stack = [(value, -1)]
    while stack:
        node, parent = stack.pop()
        label, token, below = _parts(node, keys)
        number = tree.add(parent, label, token)
        stack.extend((child, number) for child in reversed(below))


def _parts(node: Any, keys: Keys) -> tuple[str | None, str, list[Any]]:
    """A node's label, its token and its children. An empty label is none, as in brackets."""
    if isinstance(node, dict):
        below = node.get(keys.children)
        below = [below] if isinstance(below, dict) else [] if below is None else below
        if not isinstance(below, list):
            raise ValueError(f"found {_shown(below)} for {keys.children!r}, expected a list of nodes")
        label, token = _plain(node.get(keys.label), keys.label), _plain(node.get(keys.token), keys.token)
        if not below and not token:
            raise ValueError(
                f"found a node with neither {keys.token!r} nor {keys.children!r}, but {_names(node)}, expected one of "
                "them (dataset.token_key and dataset.children_key say what they are called)"
            )
        return label or None, token or "", below
    if isinstance(node, list):
        if not node:
            raise ValueError("found an empty list, expected nodes in it")
        return None, "", node
    token = _plain(node, "node")
    if not token:
        raise ValueError(f"found {_shown(node)}, expected a node: an object, a list or a text")
    return None, token, []


def _plain(value: Any, what: str) -> str | None:
    """A label or a token, as text; None where there is none."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # halves of pairs are no text
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return json.dumps(value)
    raise ValueError(f"found {_shown(value)} for {what!r}, expected a text or a number")


def _names(node: dict[str, Any]) -> str:
    return f"the keys {', '.join(map(repr, list(node)[:5]))}" if node else "no key"


def _shown(value: Any) -> str:
    return {dict: "an object", list: "a list", str: repr(value)[:30] if isinstance(value, str) else ""}.get(
        type(value), repr(value)[:30]
    )
