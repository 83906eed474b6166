"""Whether what a file holds has the form of what a comparison keeps: every field of its type, every array of its kind
and of the length that the others have. What has not is read anew, whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from rnn_research.compare.clipping_norms import ClippingSummary
from rnn_research.curves import LADDER, WORDS, Verdict

LARGEST = 1 << 63
KINDS = {"Float": "f", "Int": "i", "Bool": "b", "Shaped": "fibU"}
"""Of arrays, by the name of their annotation."""
ASCENDING = ("distance", "x", "number")
"""Arrays in which places are looked for."""
Check = Callable[[Any], bool]
FURTHER: dict[type, Check] = {
    Verdict: lambda found: found.word in WORDS and set(found.also) <= set(LADDER),
    ClippingSummary: lambda found: found.width > 0 and bool((found.number >= 0).all() and (found.count > 0).all()),
}
"""What else holds of some kinds."""


def has_form(value: Any, kind: type) -> bool:
    """Whether `value` is a `kind`, in all that it consists of."""
    return _of(kind)(value)


@cache
def _of(hint: Any) -> Check:
    """The check of one type."""
    if isinstance(hint, UnionType):
        options = [_of(one) for one in get_args(hint)]
        return lambda value: any(one(value) for one in options)
    if is_dataclass(hint):
        return _of_fields(hint)
    if hasattr(hint, "dim_str"):
        return lambda value: isinstance(value, np.ndarray) and value.ndim == len(hint.dim_str.split())
    if get_origin(hint) is tuple:
        return _of_tuple(get_args(hint))
    if get_origin(hint) is dict:
        return _of_dict(*map(_of, get_args(hint)))
    plain: dict[Any, Check] = {
        NoneType: lambda value: value is None,
        str: lambda value: isinstance(value, str),
        bool: lambda value: isinstance(value, bool),
        int: lambda value: type(value) is int and -LARGEST <= value < LARGEST,
        float: lambda value: type(value) in (int, float),
    }
    return plain[hint]


def _of_tuple(parts: tuple[Any, ...]) -> Check:
    if parts[-1] is Ellipsis:
        each = _of(parts[0])
        return lambda value: isinstance(value, tuple) and all(map(each, value))
    checks = [_of(part) for part in parts]
    return lambda value: (
        isinstance(value, tuple)
        and len(value) == len(checks)
        and all(check(one) for check, one in zip(checks, value, strict=True))
    )


def _of_dict(of_key: Check, of_value: Check) -> Check:
    return lambda value: (
        isinstance(value, dict) and all(map(of_key, value)) and all(of_value(one) for one in value.values())
    )


def _of_fields(kind: Any) -> Check:
    """Every field of its own type; arrays with one name of their axis are equally long."""
    hints = get_type_hints(kind)
    checks = [(item.name, _of(hints[item.name])) for item in fields(kind)]
    arrays = [(item.name, hints[item.name]) for item in fields(kind) if hasattr(hints[item.name], "dim_str")]
    further = FURTHER.get(kind, lambda _: True)

    def check(value: Any) -> bool:
        if type(value) is not kind:
            return False
        own = vars(value)
        for name, one in checks:
            if not one(own[name]):
                return False
        lengths: dict[str, int] = {}
        for name, hint in arrays:
            found = getattr(value, name)
            if found.dtype.kind not in KINDS[hint.__name__.partition("[")[0]]:
                return False
            sizes = zip(hint.dim_str.split(), found.shape, strict=True)
            if any(lengths.setdefault(axis, size) != size for axis, size in sizes):
                return False
            if name in ASCENDING and not (found[1:] > found[:-1]).all():
                return False
        return further(value)

    return check
