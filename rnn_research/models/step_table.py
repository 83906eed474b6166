"""Numbers that a model leaves at every step, as one table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


class StepTable:
    """Some numbers a step, at 8 bytes each.

    Args:
        columns: their names, for a table without rows.
    """

    TOGETHER = 256  # steps whose tensors wait: a look at each would cost a wait on a device

    def __init__(self, *columns: str) -> None:
        self._columns = columns
        self._waiting: list[tuple[int, Mapping[str, Tensor]]] = []
        self._tables: list[np.ndarray] = []

    def add(self, step: int, values: Mapping[str, Tensor]) -> None:
        """Keep one step's numbers, 0-dimensional tensors: the same names at every step."""
        self._waiting.append((step, values))
        if len(self._waiting) >= self.TOGETHER:
            self._settle()

    def table(self) -> np.ndarray:
        """A row a step: `step`, and each number in float64."""
        self._settle()
        self._tables = [np.concatenate(self._tables)] if self._tables else [self._empty(0, self._columns)]
        return self._tables[0]

    @staticmethod
    def _empty(rows: int, columns: tuple[str, ...]) -> np.ndarray:
        return np.empty(rows, [("step", np.int64), *((name, np.float64) for name in columns)])

    def _settle(self) -> None:
        if not self._waiting:
            return
        steps, rows = zip(*self._waiting, strict=True)
        self._waiting.clear()
        self._columns = tuple(rows[0])
        table = self._empty(len(steps), self._columns)
        table["step"] = steps
        for name in self._columns:
            values = [row[name] for row in rows]
            if values[0].device.type != "cpu":  # one wait for all; on a CPU there is none, and a stack takes longer
                values = list(torch.stack(values).cpu())
            table[name] = [float(value) for value in values]
        if self._tables and self._tables[0].dtype != table.dtype:
            self._tables.clear()  # the one without rows
        self._tables.append(table)
