"""Whether what a file holds has the form of what a comparison keeps: every field of its type, every array of its kind
and of the length that the others have. What has not is read anew, whoever wrote it."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

import numpy as np

from rnn_research.compare.clipping_norms import ClippingSummary
from rnn_research.curves import LADDER, WORDS, Verdict
from rnn_research.records.annotated import Check, check_of

KINDS = {"Float": "f", "Int": "i", "Bool": "b", "Shaped": "fibU"}
"""Of arrays, by the name of their annotation."""
ASCENDING = ("distance", "x", "number")
"""Arrays in which places are looked for."""
FURTHER: dict[type, Check] = {
    Verdict: lambda found: found.word in WORDS and set(found.also) <= set(LADDER),
    ClippingSummary: lambda found: found.width > 0 and bool((found.number >= 0).all() and (found.count > 0).all()),
}
"""What else holds of some kinds."""


def has_form(value: Any, kind: type) -> bool:
    """Whether `value` is a `kind`, in all that it consists of."""
    return check_of(kind, _of_kind)(value)


def _of_kind(hint: Any) -> Check:
    """The check of a kind that a comparison keeps, or of an array."""
    if is_dataclass(hint):
        return _of_fields(hint)
    axes = len(hint.dim_str.split())
    return lambda value: isinstance(value, np.ndarray) and value.ndim == axes


def _of_fields(kind: Any) -> Check:
    """Every field of its own type; arrays with one name of their axis are equally long."""
    hints = get_type_hints(kind)
    checks = [(item.name, check_of(hints[item.name], _of_kind)) for item in fields(kind)]
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
