"""The LSTM (Hochreiter and Schmidhuber 1997) with a forget gate (Gers et al. 2000), in torch's form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rnn_research.cells.base import Cell, HiddenCell
from rnn_research.cells.nonlinearities import intervals

GATES = ("i", "f", "g", "o")
BOUNDS = intervals(i="sigmoid", f="sigmoid", g="tanh", o="sigmoid")


class LSTM(Cell):
    """i, f, o = sigmoid(.), g = tanh(.) of W x + b_ih + U h' + b_hh; c = f c' + i g; h = o tanh(c).

    As `torch.nn.LSTMCell`; on a tree h' and c' are the sums over the children, so that one forget gate serves all
    (the Child-Sum Tree-LSTM has one a child).
    """

    state_type = HiddenCell
    gates = GATES
    bounds = BOUNDS

    def activations(self, projected: Tensor, *previous: Any) -> dict[str, Tensor]:
        hidden = self.summed(projected, previous).hidden
        i, f, g, o = self.preactivation(projected + self.recur(hidden)).chunk(4, -1)
        return {"i": torch.sigmoid(i), "f": torch.sigmoid(f), "g": torch.tanh(g), "o": torch.sigmoid(o)}

    def step(self, projected: Tensor, *previous: Any) -> HiddenCell:
        state = self.summed(projected, previous)
        gate = self.activations(projected, state)
        cell = gate["f"] * state.cell + gate["i"] * gate["g"]
        return HiddenCell(gate["o"] * torch.tanh(cell), cell)
