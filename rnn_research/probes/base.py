"""The contract of a probe: when it is due it measures one step, after its backward pass and before the weights change.

A probe computes and keeps a table; it never draws, and never changes a bit of the training. To add one, subclass
`Probe` in one file and implement `measure`. What calls it while lightning trains is in `probes.callback`.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from rnn_research.cells.base import Cell
from rnn_research.checks import flag, integer
from rnn_research.probes.observation import Observation
from rnn_research.records.stacked import check_columns, stacked, structured
from rnn_research.unroll.undisturbed import undisturbed

Columns = Mapping[str, Any]


class Probe(ABC):
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
    """Whether the adjoint of every state must be kept in the step's backward pass, so that the observation has what
    was `unrolled`."""
    needs_terminal = False
    """Whether the observation must have the `terminal` adjoints too, which take a backward pass of their own."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Refuse a probe that is written as probes were when each was a callback of lightning's.

        Raises:
            TypeError: says what to change.
        """
        super().__init_subclass__(**arguments)
        hooks = [name for name in vars(cls) if name.startswith(("on_train", "on_before", "on_after"))]
        if hooks:
            raise TypeError(
                f"{cls.__name__}: given {hooks[0]}, a hook of lightning's, which a probe is not called with; expected "
                "measure(self, observation), and attach(self, cells) for what comes before training"
            )
        parameters = list(inspect.signature(cls.measure).parameters.values())[1:2]
        if any(one.name in ("model", "pl_module") or str(one.annotation).endswith("Model") for one in parameters):
            raise TypeError(
                f"{cls.__name__}.measure: given a model, expected measure(self, observation), with observation.cells "
                "for model.cells, observation.unrolled for model.observed.unrolled and observation.parameters for "
                "model.named_parameters()"
            )

    def __init__(self, every_n_steps: int = 100, first: bool = True, last: bool = True) -> None:
        self.every_n_steps = integer("every_n_steps", every_n_steps, least=0)
        self.first, self.last = flag("first", first), flag("last", last)
        self.rows: list[dict[str, np.ndarray]] = []
        self.last_step = -1
        """The last step's number, where the limits of training tell which that is; else -1."""

    @abstractmethod
    def measure(self, observation: Observation) -> Columns:
        """Columns of equally many rows, or one number each: tensors, arrays or numbers. `step` is added."""

    def attach(self, cells: Sequence[Cell]) -> None:  # noqa: B027 (few have something to say)
        """Told once, before training, what is measured.

        Raises:
            ValueError: it can't be measured there; says why.
        """

    def due(self, step: int) -> bool:
        """Whether the probe measures at this step."""
        on_interval = self.every_n_steps > 0 and step > 0 and step % self.every_n_steps == 0
        return on_interval or (self.first and step == 0) or (self.last and step == self.last_step)

    def table(self) -> np.ndarray:
        """All rows so far as one structured array; empty before the first measurement. Where a measurement had no such
        column, its rows have NaN there."""
        if not self.rows:
            return np.empty(0, dtype=[("step", np.int64)])
        columns = stacked(self.rows)
        self.rows = [columns]  # many small arrays, some of them views of a tensor, take more room than they hold
        return structured(columns)

    def observe(self, observation: Observation) -> None:
        """Measure, and keep the rows. The cells and all random numbers are left as they are.

        Raises:
            ValueError: the columns are of different lengths; or one that is of no real numbers is not in all rows.
        """
        with torch.no_grad(), undisturbed(observation.cells):
            columns = {name: _column(values) for name, values in self.measure(observation).items()}
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(
                f"{type(self).__name__}: given columns of lengths {lengths}, expected equally many rows in each"
            )
        step = np.full(max(lengths.values()), observation.step, dtype=np.int64)
        row = {"step": step, **columns}
        try:
            check_columns([*self.rows[:1], row])
        except ValueError as error:
            raise ValueError(f"{type(self).__name__}: {error}") from error
        self.rows.append(row)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of a probe with a memory."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:  # noqa: B027 (few have a memory)
        """Go on from a `state_dict`."""


def _column(values: Any) -> np.ndarray:
    array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    return np.atleast_1d(array)
