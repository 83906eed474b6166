"""The two Tree-LSTMs of Tai, Socher and Manning (2015), one file because they share all but the children's gates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from rnn_research.cells.base import Cell, HiddenCell
from rnn_research.cells.lstm import BOUNDS, GATES


def child_blocks(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """[U_1 .. U_N][h_1; ..; h_k] + b for nodes with k <= N children, given side by side in `hidden`.

    Raises:
        ValueError: the nodes have more children than there are blocks.
    """
    if hidden.shape[-1] > weight.shape[-1]:
        raise ValueError(
            f"max_children: a node's children have {hidden.shape[-1]} features side by side, the weights serve "
            f"{weight.shape[-1]}; build the cell with a larger max_children"
        )
    return nn.functional.linear(hidden, weight[:, : hidden.shape[-1]], bias)


class TreeLSTM(Cell):
    """What both Tree-LSTMs share: i, o = sigmoid(.), g = tanh(.), one forget gate f_k a child;
    c = i g + sum_k f_k c_k; h = o tanh(c)."""

    state_type = HiddenCell
    gates = GATES
    bounds = BOUNDS
    reads_children = True

    def step(self, projected: Tensor, *previous: Any) -> HiddenCell:
        gate = self.activations(projected, *previous)
        cell = gate["i"] * gate["g"]
        if previous:
            cell = cell + (gate["f"] * torch.stack([state.cell for state in previous], 1)).sum(1)
        return HiddenCell(gate["o"] * torch.tanh(cell), cell)


class ChildSumTreeLSTM(TreeLSTM):
    """i, g, o read W x + b_ih + U h~ + b_hh with h~ = sum_k h_k, and f_k reads W_f x + b + U_f h_k (eqs. 2-8).

    Any number of children, in no order. With one child it equals `LSTM`, whose state dict it loads.
    """

    def activations(self, projected: Tensor, *previous: Any) -> dict[str, Tensor]:
        """i, g, o of shape (nodes, hidden) and, where there are children, f of shape (nodes, children, hidden)."""
        size = self.hidden_size
        summed = projected + self.recur(self.summed(projected, previous).hidden)
        i, f, g, o = self.preactivation(summed).chunk(4, -1)
        gates = {"i": torch.sigmoid(i), "g": torch.tanh(g), "o": torch.sigmoid(o)}
        if len(previous) == 1:
            gates["f"] = torch.sigmoid(f)[:, None]
        elif previous:
            bias = None if self.bias_hh is None else self.bias_hh[size : 2 * size]
            children = torch.stack([state.hidden for state in previous], 1)
            forget = nn.functional.linear(children, self.weight_hh[size : 2 * size], bias)
            gates["f"] = torch.sigmoid(self.preactivation(projected[:, None, size : 2 * size] + forget))
        return gates


class NaryTreeLSTM(TreeLSTM):
    """i, g, o read W x + b_ih + sum_l U_l h_l + b_hh, and f_k reads W_f x + b + sum_l U_kl h_l (eqs. 9-14).

    At most `max_children` = N children, in order; a missing one contributes nothing. `weight_hh` is
    ((3 + N) * hidden, N * hidden), rows i, f_1 .. f_N, g, o. With N = 1 it equals `LSTM`, whose state dict it loads.

    Raises:
        ValueError: a size below 1, or a node with more children than `max_children`.
    """

    def build(self) -> None:
        super().build()
        children, size = self.max_children, self.hidden_size
        self.weight_hh = nn.Parameter(torch.empty((3 + children) * size, children * size))

    def activations(self, projected: Tensor, *previous: Any) -> dict[str, Tensor]:
        """i, g, o of shape (nodes, hidden) and, where there are children, f of shape (nodes, children, hidden)."""
        if self.bias_hh is not None:
            projected = projected + self.bias_hh
        if not previous:
            i, _, g, o = self.preactivation(projected).chunk(4, -1)
            return {"i": torch.sigmoid(i), "g": torch.tanh(g), "o": torch.sigmoid(o)}
        hidden = torch.cat([state.hidden for state in previous], -1)
        blocks = child_blocks(hidden, self.weight_hh, None).view(len(hidden), -1, self.hidden_size)
        i, f, g, o = projected.chunk(4, -1)
        forget = f[:, None] + blocks[:, 1 : 1 + len(previous)]
        return {
            "i": torch.sigmoid(self.preactivation(i + blocks[:, 0])),
            "f": torch.sigmoid(self.preactivation(forget)),
            "g": torch.tanh(self.preactivation(g + blocks[:, -2])),
            "o": torch.sigmoid(self.preactivation(o + blocks[:, -1])),
        }

    def recurrent_blocks(self) -> Iterator[tuple[str, Tensor]]:
        rows = ("i", *("f" for _ in range(self.max_children)), "g", "o")
        blocks = self.weight_hh.view(len(rows), self.hidden_size, self.max_children, self.hidden_size)
        for gate, row in zip(rows, blocks, strict=True):
            for child in range(self.max_children):
                yield gate, row[:, child]
