"""Shrinking the recurrent weights where the gradient is not finite (the code of Pascanu et al. 2013)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from rnn_research.cells.base import Cell
from rnn_research.checks import number
from rnn_research.clipping.base import Clipping, global_norm


class ShrinkOnNaN(Clipping):
    """Where ||g|| is NaN, infinite or above a limit, the gradient becomes r U in the recurrent weights U and 0 in all
    others: plain gradient descent then shrinks U by a factor 1 - r lr, away from where gradients explode.

    In the code of Pascanu, Mikolov and Bengio (2013, `pascanur/trainingRNNs`), not in the paper; r = 0.02 and the limit
    1e10 are theirs. The gradient that replaces a NaN is finite: the record's coefficient is NaN there. Unattached it
    knows no recurrent weights.

    Args:
        max_norm: the limit; infinity: only what is not finite counts.
        factor: r.

    Raises:
        ValueError: a value is not a positive number; `attach`: a cell has no `weight_hh`.
    """

    def __init__(self, max_norm: float = 1e10, factor: float = 0.02) -> None:
        super().__init__()
        self.max_norm = number("max_norm", max_norm, above=0.0, infinite=True)
        self.factor = number("factor", factor, above=0.0)
        self._recurrent: set[nn.Parameter] = set()

    def attach(self, cells: Sequence[Cell], readout: nn.Module, trees: bool | None = None) -> None:
        for cell in cells:
            weights = getattr(cell, "weight_hh", None)
            if not isinstance(weights, nn.Parameter):
                raise ValueError(
                    f"clipping=shrink_on_nan: given {type(cell).__name__}, which has no weight_hh, expected a cell "
                    "with recurrent weights of that name; use clipping=skip_nonfinite"
                )
            self._recurrent.add(weights)

    def forward(self, parameters: list[nn.Parameter]) -> None:
        norm = global_norm(parameters)
        usual = norm.isfinite() & (norm <= self.max_norm)
        for parameter in parameters:
            if parameter.grad is not None:
                instead = self.factor * parameter if parameter in self._recurrent else torch.zeros_like(parameter)
                parameter.grad.copy_(torch.where(usual, parameter.grad, instead))
