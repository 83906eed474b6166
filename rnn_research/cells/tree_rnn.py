"""The tree-recursive network (Socher et al. 2011): the vanilla RNN over a node's children."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from rnn_research.cells.base import Hidden, Initialisation
from rnn_research.cells.rnn import RNN
from rnn_research.cells.tree_lstm import child_blocks
from rnn_research.checks import flag


class TreeRNN(RNN):
    """h = f(W x + b_ih + sum_k U_k h_k + b_hh) over the children k of a node.

    With one child it equals `RNN`, and a state dict of one loads into the other. Apart, `weight_hh` is
    (hidden, max_children * hidden), one block a child; a missing child contributes nothing.

    Args:
        nonlinearity: f: tanh, relu, sigmoid or identity.
        shared: one U for all children instead of one each (then their order does not matter).

    Raises:
        ValueError: a size below 1, no such f, or a node with more children than `max_children`.
    """

    reads_children = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        nonlinearity: str = "tanh",
        shared: bool = False,
        bias: bool = True,
        initialise: tuple[Initialisation, ...] = (),
        max_children: int = 1,
    ) -> None:
        self.shared = flag("shared", shared)
        super().__init__(input_size, hidden_size, nonlinearity, bias, initialise, max_children)

    def build(self) -> None:
        super().build()
        if not self.shared:
            self.weight_hh = nn.Parameter(torch.empty(self.hidden_size, self.max_children * self.hidden_size))

    def step(self, projected: Tensor, *previous: Any) -> Hidden:
        if not previous:
            return Hidden(self.f(self.preactivation(projected if self.bias_hh is None else projected + self.bias_hh)))
        if self.shared:
            return super().step(projected, *previous)
        hidden = torch.cat([state.hidden for state in previous], -1)
        return Hidden(self.f(self.preactivation(projected + child_blocks(hidden, self.weight_hh, self.bias_hh))))

    def recurrent_blocks(self) -> Iterator[tuple[str, Tensor]]:
        for block in self.weight_hh.view(self.hidden_size, -1, self.hidden_size).unbind(1):
            yield "hidden", block
