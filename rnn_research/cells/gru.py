"""The gated recurrent unit, in torch's form (reset after the product) or as published (reset before it)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rnn_research.cells.base import Cell, Hidden, Initialisation
from rnn_research.cells.nonlinearities import intervals
from rnn_research.checks import flag


class GRU(Cell):
    """r, z = sigmoid(.) of W x + b_ih + U h' + b_hh; h = (1 - z) n + z h', where

    n = tanh(W_n x + b_in + r (U_n h' + b_hn)) with `reset_after`, as `torch.nn.GRUCell`, and
    n = tanh(W_n x + b_in + U_n (r h') + b_hn) without, as in Cho et al. 2014. On a tree h' is the sum over the
    children.

    Args:
        reset_after: which of the two forms. They differ in their Jacobian, so in how gradients vanish.

    Raises:
        ValueError: a size below 1, or `reset_after` is no bool.
    """

    gates = ("r", "z", "n")
    bounds = intervals(r="sigmoid", z="sigmoid", n="tanh")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        reset_after: bool = True,
        bias: bool = True,
        initialise: tuple[Initialisation, ...] = (),
        max_children: int = 1,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, initialise, max_children)
        self.reset_after = flag("reset_after", reset_after)

    def activations(self, projected: Tensor, *previous: Any) -> dict[str, Tensor]:
        hidden = self.summed(projected, previous).hidden
        gates, candidate = projected.split([2 * self.hidden_size, self.hidden_size], -1)
        if self.reset_after:
            from_gates, from_hidden = self.recur(hidden).split([2 * self.hidden_size, self.hidden_size], -1)
            r, z = torch.sigmoid(self.preactivation(gates + from_gates)).chunk(2, -1)
            return {"r": r, "z": z, "n": torch.tanh(self.preactivation(candidate + r * from_hidden))}
        rows = 2 * self.hidden_size
        biases = (None, None) if self.bias_hh is None else (self.bias_hh[:rows], self.bias_hh[rows:])
        from_gates = nn.functional.linear(hidden, self.weight_hh[:rows], biases[0])
        r, z = torch.sigmoid(self.preactivation(gates + from_gates)).chunk(2, -1)
        from_hidden = nn.functional.linear(r * hidden, self.weight_hh[rows:], biases[1])
        return {"r": r, "z": z, "n": torch.tanh(self.preactivation(candidate + from_hidden))}

    def step(self, projected: Tensor, *previous: Any) -> Hidden:
        state = self.summed(projected, previous)
        gate = self.activations(projected, state)
        return Hidden(gate["n"] + gate["z"] * (state.hidden - gate["n"]))
