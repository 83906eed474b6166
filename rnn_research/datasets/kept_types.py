"""Whether what was made of plain data that anyone may have written has the types that its code says."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import Any

from rnn_research.records.annotated import Check, check_of


def check_arguments(made: Callable[..., Any], values: Mapping[str, Any], name: str) -> None:
    """Check arguments, by name, against the types that a function or class gives them.

    Raises:
        ValueError: one is of another type; says which.
    """
    told = typing.get_type_hints(made.__init__ if isinstance(made, type) else made)  # type: ignore[misc]
    for key in told.keys() & values.keys():
        if not check_of(told[key], _of_class)(values[key]):
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


def _of_class(hint: Any) -> Check:
    """The check of a class; what is none (a function's type) is not looked at."""
    if hint is Any or not isinstance(hint, type):
        return lambda value: True
    return lambda value: isinstance(value, hint)
