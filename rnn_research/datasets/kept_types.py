"""Whether what was made of plain data that anyone may have written has the types that its code says."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal


def check_arguments(made: Callable[..., Any], values: Mapping[str, Any], name: str) -> None:
    """Check arguments, by name, against the types that a function or class gives them.

    Raises:
        ValueError: one is of another type; says which.
    """
    told = typing.get_type_hints(made.__init__ if isinstance(made, type) else made)  # type: ignore[misc]
    for key in told.keys() & values.keys():
        if not _is(values[key], told[key]):
            shown = " ".join(repr(values[key]).split())[:80]
            raise ValueError(f"{name}: damaged ({key} is {shown}, which is of another type)")


def check_made(made: Any, name: str) -> None:
    """Likewise an object, whose attributes are called as the arguments that it was made of, and those of its own that
    are such objects in turn."""
    values = vars(made)
    check_arguments(type(made), values, name)
    for value in values.values():
        if type(value).__module__.startswith("rnn_research.") and hasattr(value, "__dict__"):
            check_made(value, name)


def _is(value: Any, told: Any) -> bool:
    """Whether a value is of a type, looked at as deep as lists and mappings go."""
    kind, inner = typing.get_origin(told), typing.get_args(told)
    if kind in (typing.Union, types.UnionType):
        return any(_is(value, one) for one in inner)
    if kind is Literal:
        return isinstance(value, str) and value in inner
    if kind is Mapping or kind is dict:
        return isinstance(value, Mapping) and all(_is(k, inner[0]) and _is(v, inner[1]) for k, v in value.items())
    if kind is Sequence:
        return isinstance(value, list | tuple) and all(_is(one, inner[0]) for one in value)
    if kind is tuple:
        if not isinstance(value, tuple):
            return False
        each = inner[:1] * len(value) if inner[1:] == (...,) else inner
        return len(each) == len(value) and all(map(_is, value, each))
    if told is float or told is int:
        return isinstance(value, (int, float) if told is float else int) and not isinstance(value, bool)
    return told is Any or not isinstance(told, type) or isinstance(value, told)
