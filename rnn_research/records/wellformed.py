"""Whether a record or a table that was read from a file is one that this project can have written.

It may come from anywhere. What is wrong with it is said in a `ValueError` or `TypeError`, before anything reads it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

DEEPEST = 40
LARGEST = 2**63
TEXTS = ("choices", "versions", "engine")
"""Fields of a record that hold text by name."""
COUNTS = ("seed", "parameters", "steps", "epochs", "diverged_step")


def check_record(raw: Mapping[str, Any]) -> None:
    """Raise a ValueError or TypeError where what a record's fields hold is not what they are for; whether each field
    is of its own type is known already."""
    _check_plain(dict(raw), ())
    for key in COUNTS:
        value = raw.get(key)
        if isinstance(value, bool) or (value is not None and value < 0):
            raise ValueError(f"{key}: found {value}, expected a number >= 0")
    for key in TEXTS:
        if not all(isinstance(value, str) for value in raw.get(key, {}).values()):
            raise TypeError(f"{key}: found a value that is no text")
    _check_data(raw.get("data") or {})
    if not all(isinstance(text, str) for text in raw.get("overrides", [])):
        raise TypeError("overrides: found a value that is no text")
    _check_success(raw.get("success") or {})


def _check_data(data: Mapping[str, Any]) -> None:
    """Text by name, but for the names of classes and what was read of a user's files."""
    kinds = {"classes": list, "read": dict}
    for key, value in data.items():
        if not isinstance(value, kinds.get(key, str)):
            raise TypeError(f"data: found {key} that is no {kinds.get(key, str).__name__}")
    if not all(isinstance(one, str) for one in data.get("classes", [])):
        raise TypeError(f"data.classes: found {data['classes']!r}, expected a list of texts")


def check_dtype(dtype: np.dtype) -> None:
    """Raise a ValueError where an array with this dtype is no table of numbers and texts in named columns."""
    if dtype.names is None:
        raise ValueError("expected a table with named columns")
    for name in dtype.names:
        base = dtype[name].base
        if base.kind not in "biufU" or base.itemsize == 0 or not name.isprintable():
            raise ValueError(f"column {name!r}: found {base}, expected numbers or text")


def check_table(table: np.ndarray) -> None:
    """Raise a ValueError where a table's rows hold what no run can have written."""
    for name in table.dtype.names or ():
        if table.dtype[name].base.kind == "U":
            column = np.ascontiguousarray(table[name])
            signs = column.view(f"{column.dtype.byteorder}u4")
            if signs.size and (signs.max() > sys.maxunicode or ((signs >= 0xD800) & (signs < 0xE000)).any()):
                raise ValueError(f"column {name}: found bytes that are no text")
        if name == "step" and (table.dtype[name].shape or table.dtype[name].kind not in "iu"):
            raise ValueError(f"column step: found {table.dtype[name]}, expected whole numbers")
        if name == "step" and len(table) and (table[name].min() < 0 or table[name].max() >= LARGEST):
            raise ValueError(f"column step: found {table[name].min()}, expected numbers >= 0")


def _check_success(rule: Mapping[str, Any]) -> None:
    if not rule:
        return
    bound, step = rule.get("bound"), rule.get("step")
    if not isinstance(rule.get("metric"), str) or not isinstance(rule.get("above", True), bool):
        raise TypeError("success: found no rule, expected a metric, a bound, and whether to be above it")
    if isinstance(bound, bool) or not isinstance(bound, int | float) or not math.isfinite(bound):
        raise TypeError(f"success: found the bound {bound!r}, expected a number")
    if step is not None and (isinstance(step, bool) or not isinstance(step, int) or step < 0):
        raise TypeError(f"success: found the step {step!r}, expected a number >= 0, or null")


def _check_plain(value: Any, path: tuple[object, ...]) -> None:
    """Text that can be written, numbers that fit, and no more levels than anybody nests; `path` are the keys to it."""
    if isinstance(value, str):
        value.encode("utf-8")  # a lone half of a pair can't be
    elif isinstance(value, dict | list):
        if len(path) >= DEEPEST:
            raise ValueError(f"{'.'.join(map(str, path))[:60]}…: nested deeper than {DEEPEST} levels")
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            str(key).encode("utf-8")
            _check_plain(item, (*path, key))
    elif isinstance(value, int) and not -LARGEST <= value < LARGEST:
        raise ValueError(f"{'.'.join(map(str, path))}: found a number of {len(str(abs(value)))} digits")
