"""The vanilla RNN (Elman 1990) and, with the identity for f, the linear RNN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from rnn_research.cells.base import Cell, Hidden, Initialisation
from rnn_research.cells.nonlinearities import NONLINEARITIES
from rnn_research.checks import choice


class RNN(Cell):
    """h = f(W x + b_ih + U h' + b_hh), as `torch.nn.RNNCell`; on a tree h' is the sum over the children.

    Args:
        nonlinearity: f: tanh, relu, sigmoid, or identity (the linear RNN, where every closed form lives).

    Raises:
        ValueError: a size below 1, or no such f.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        nonlinearity: str = "tanh",
        bias: bool = True,
        initialise: tuple[Initialisation, ...] = (),
        max_children: int = 1,
    ) -> None:
        f = NONLINEARITIES[choice("nonlinearity", nonlinearity, NONLINEARITIES)]
        super().__init__(input_size, hidden_size, bias, initialise, max_children)
        self.nonlinearity, self.f = nonlinearity, f.apply

    @property
    def bounds(self) -> Mapping[str, tuple[float, float]]:  # type: ignore[override]
        interval = NONLINEARITIES[self.nonlinearity].interval
        return {} if interval is None else {"hidden": interval}

    def step(self, projected: Tensor, *previous: Any) -> Hidden:
        hidden = self.summed(projected, previous).hidden
        return Hidden(self.f(self.preactivation(projected + self.recur(hidden))))
