"""Whether a value that was read from a file is of an annotation, in all that it consists of: anyone may have written
the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

LARGEST = 1 << 63
Check = Callable[[Any], bool]
PLAIN: dict[Any, Check] = {
    NoneType: lambda value: value is None,
    str: lambda value: isinstance(value, str),
    bool: lambda value: isinstance(value, bool),
    int: lambda value: isinstance(value, int) and not isinstance(value, bool) and -LARGEST <= value < LARGEST,
    float: lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}


@cache
def check_of(hint: Any, other: Callable[[Any], Check]) -> Check:
    """The check of an annotation.

    Args:
        other: gives the check of one that is neither plain nor a union, a choice of texts, a tuple, a mapping or a
            sequence (or list).
    """
    kind, inner = get_origin(hint), get_args(hint)
    if kind is Literal:
        return lambda value: isinstance(value, str) and value in inner
    if kind in (Union, UnionType):
        options = [check_of(one, other) for one in inner]
        return lambda value: any(one(value) for one in options)
    if kind is tuple:
        return _of_tuple([check_of(one, other) for one in inner if one is not Ellipsis], inner[-1] is Ellipsis)
    if kind in (dict, Mapping):
        of_key, of_value = (check_of(one, other) for one in inner)
        return lambda value: (
            isinstance(value, kind) and all(map(of_key, value)) and all(of_value(one) for one in value.values())
        )
    if kind in (list, Sequence):
        of_each = check_of(inner[0], other)
        return lambda value: isinstance(value, list | tuple) and all(map(of_each, value))
    return PLAIN[hint] if hint in PLAIN else other(hint)


def _of_tuple(checks: Sequence[Check], any_length: bool) -> Check:
    if any_length:
        return lambda value: isinstance(value, tuple) and all(map(checks[0], value))
    return lambda value: (
        isinstance(value, tuple)
        and len(value) == len(checks)
        and all(check(one) for check, one in zip(checks, value, strict=True))
    )
