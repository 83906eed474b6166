"""The contract of a probe: when it is due it measures the model, after the backward pass and before the step.

A probe computes and keeps a table; it never draws, and never changes a bit of the training. To add one, subclass
`Probe` in one file and implement `measure`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer

from rnn_research.cells.base import Cell
from rnn_research.checks import flag, integer
from rnn_research.models import Model
from rnn_research.unroll.undisturbed import undisturbed

Columns = Mapping[str, Any]


class Probe(Callback, ABC):
    """Measures at every `every_n_steps`-th step of the optimiser, and at the first and the last step.

    Step s is the state after s updates: step 0 is the initialisation. With gradient accumulation a step's last batch
    is the one measured.

    Args:
        every_n_steps: the interval; 0: at the first and last step alone.
        first: also at step 0.
        last: also at the last step, where the trainer's limits tell which that is.

    Raises:
        ValueError: every_n_steps < 0, or first or last is no bool.
    """

    needs_adjoints = False
    """Whether the step must be run with `Model.recording`, so that `Model.observed` is there."""

    def __init__(self, every_n_steps: int = 100, first: bool = True, last: bool = True) -> None:
        self.every_n_steps = integer("every_n_steps", every_n_steps, least=0)
        self.first, self.last = flag("first", first), flag("last", last)
        self.rows: list[dict[str, np.ndarray]] = []
        self._last_step = -1

    @abstractmethod
    def measure(self, model: Model) -> Columns:
        """Columns of equally many rows, or one number each: tensors, arrays or numbers. `step` is added."""

    def attach(self, cells: Sequence[Cell]) -> None:
        """Told once, before training, what is measured.

        Raises:
            ValueError: it can't be measured there; says why.
        """

    def due(self, step: int) -> bool:
        """Whether the probe measures at this step."""
        on_interval = self.every_n_steps > 0 and step > 0 and step % self.every_n_steps == 0
        return on_interval or (self.first and step == 0) or (self.last and step == self._last_step)

    def table(self) -> np.ndarray:
        """All rows so far as one structured array; empty before the first measurement."""
        if not self.rows:
            return np.empty(0, dtype=[("step", np.int64)])
        columns = {name: np.concatenate([row[name] for row in self.rows]) for name in self.rows[0]}
        self.rows = [columns]  # many small arrays, some of them views of a tensor, take more room than they hold
        table = np.empty(len(columns["step"]), [(name, column.dtype) for name, column in columns.items()])
        for name, column in columns.items():
            table[name] = column
        return table

    def on_train_start(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        self.attach(list(pl_module.cells))
        limit = trainer.estimated_stepping_batches
        self._last_step = -1 if limit == float("inf") else int(limit) - 1

    def on_train_batch_start(self, trainer: Trainer, pl_module: Model, *rest: Any) -> None:  # type: ignore[override]
        if self.needs_adjoints and self.due(trainer.global_step):
            pl_module.recording = True

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Model, *rest: Any) -> None:  # type: ignore[override]
        if self.due(trainer.global_step):
            with torch.no_grad(), undisturbed(pl_module.cells):
                columns = {name: _column(values) for name, values in self.measure(pl_module).items()}
            lengths = {name: len(column) for name, column in columns.items()}
            if len(set(lengths.values())) != 1:
                raise ValueError(
                    f"{type(self).__name__}: given columns of lengths {lengths}, expected equally many rows in each"
                )
            step = np.full(max(lengths.values()), trainer.global_step, dtype=np.int64)
            self.rows.append({"step": step, **columns})

    def on_train_batch_end(self, trainer: Trainer, pl_module: Model, *rest: Any) -> None:  # type: ignore[override]
        if pl_module.recording:
            pl_module.recording = False
            pl_module.observed = None


def _column(values: Any) -> np.ndarray:
    array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    return np.atleast_1d(array)
