"""Tables of which some have columns that others have not, as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def stacked(tables: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The columns of all tables, their rows one after another: NaN where a table has no such column.

    Raises:
        ValueError: a column that a table lacks is of no real numbers, so that nothing says that it is missing.
    """
    kinds = check_columns(tables)
    return {
        name: np.concatenate([table[name] if name in table else _missing(table, kind) for table in tables])
        for name, kind in kinds.items()
    }


def check_columns(tables: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.dtype[Any]]:
    """The types of the columns of all tables, by name, in the order in which they come. Raises as `stacked`."""
    kinds: dict[str, np.dtype[Any]] = {}
    for table in tables:
        for name, column in table.items():
            kinds.setdefault(name, column.dtype)
    for name, kind in kinds.items():
        if kind.kind != "f" and any(name not in table for table in tables):
            raise ValueError(f"given no {name} in some rows, expected it in all, since it is of {kind}")
    return kinds


def structured(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """The columns as one structured array."""
    table = np.empty(len(next(iter(columns.values()))), [(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        table[name] = column
    return table


def _missing(table: Mapping[str, np.ndarray], kind: np.dtype[Any]) -> np.ndarray:
    return np.full(len(next(iter(table.values()))), np.nan, dtype=kind)
