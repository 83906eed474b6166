"""Explicit updates: what a cell sums of its children's h, what it makes of that, and the way back through both.

Rows are nodes; the states of a node's k children lie side by
side, so that an index of (nodes * k, hidden) and one of (nodes, k * hidden) are the same memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from rnn_research.cells import RNN, Cell, TreeRNN
from rnn_research.cells.nonlinearities import Nonlinearity, nonlinearity_of
from rnn_research.cells.tree_lstm import child_blocks
from rnn_research.unroll.torch_kernels.chain_kernel import Unsupported


class ExplicitUpdate(ABC):
    """One cell's update, on nodes with `arity` children each.

    `width` is the number of pre-activations of a node, `inputs` that of the features of its projected input. The
    tape has a node's activations, one for each of its pre-activations.
    """

    def __init__(self, cell: Cell) -> None:
        self.size = cell.hidden_size
        self.inputs = len(cell.gates) * cell.hidden_size

    @abstractmethod
    def width(self, arity: int) -> int: ...

    def project(self, cell: Cell, inputs: Tensor) -> Tensor:
        """What does not wait for the children, in the graph of autograd: both biases, where they act as their sum."""
        bias = None if cell.bias_ih is None or cell.bias_hh is None else cell.bias_ih + cell.bias_hh
        return nn.functional.linear(inputs, cell.weight_ih, bias)

    # The children's h -> pre-activations

    @abstractmethod
    def spread(self, children: Tensor, arity: int, weight: Tensor) -> Tensor:
        """(nodes * arity, hidden) -> (nodes, width): what the children's h contribute."""

    @abstractmethod
    def collect(self, grad_preactivations: Tensor, arity: int, weight: Tensor) -> Tensor:
        """(nodes, width) -> (nodes * arity, hidden): their gradient."""

    @abstractmethod
    def weigh(self, grad_preactivations: Tensor, children: Tensor, arity: int, tape: Tensor, out: Tensor) -> None:
        """Add the weight's gradient."""

    # Pre-activations -> the state

    @abstractmethod
    def forward(
        self, spread: Tensor | None, projected: Tensor, children: list[Tensor], arity: int, tape: Tensor, weight: Tensor
    ) -> list[Tensor]:
        """The parts of the state, of the children's (nodes * arity, hidden); leaves its activations on the tape."""

    @abstractmethod
    def backward(
        self,
        adjoints: list[Tensor],
        own: list[Tensor],
        children: list[Tensor],
        arity: int,
        tape: Tensor,
        weight: Tensor,
        grad_preactivations: Tensor,
    ) -> None:
        """Write the gradients in the pre-activations, (nodes, width), given those in the node's state. The latter
        become the adjoints: they gain what passes between the state's parts."""

    def carried(
        self, adjoints: list[Tensor], arity: int, tape: Tensor, weight: Tensor, grad_preactivations: Tensor
    ) -> list[Tensor | None]:
        """What each part of the children's states gains other than by `collect`, (nodes * arity, hidden)."""
        return [None]

    def of_inputs(self, grad_preactivations: Tensor, arity: int) -> Tensor:
        """The gradients in the projected inputs, given those in the pre-activations."""
        return grad_preactivations


class VanillaUpdate(ExplicitUpdate):
    """h = f(W x + U sum_k h_k + b), or with sum_k U_k h_k."""

    def __init__(self, cell: RNN) -> None:
        super().__init__(cell)
        self.separate_children = isinstance(cell, TreeRNN) and not cell.shared
        self.f = known_nonlinearity(cell)

    def width(self, arity: int) -> int:
        return self.size

    def spread(self, children: Tensor, arity: int, weight: Tensor) -> Tensor:
        if self.separate_children:
            return child_blocks(children.reshape(-1, arity * self.size), weight, None)
        return summed(children, arity) @ weight.t()

    def collect(self, grad_preactivations: Tensor, arity: int, weight: Tensor) -> Tensor:
        if self.separate_children:
            return (grad_preactivations @ weight[:, : arity * self.size]).view(-1, self.size)
        return for_each(grad_preactivations @ weight, arity)

    def weigh(self, grad_preactivations: Tensor, children: Tensor, arity: int, tape: Tensor, out: Tensor) -> None:
        if self.separate_children:
            out[:, : arity * self.size].addmm_(grad_preactivations.t(), children.reshape(-1, arity * self.size))
        else:
            out.addmm_(grad_preactivations.t(), summed(children, arity))

    def forward(
        self, spread: Tensor | None, projected: Tensor, children: list[Tensor], arity: int, tape: Tensor, weight: Tensor
    ) -> list[Tensor]:
        return [self.f.apply(projected if spread is None else spread.add_(projected))]

    def backward(
        self,
        adjoints: list[Tensor],
        own: list[Tensor],
        children: list[Tensor],
        arity: int,
        tape: Tensor,
        weight: Tensor,
        grad_preactivations: Tensor,
    ) -> None:
        torch.mul(adjoints[0], self.f.derivative(own[0]), out=grad_preactivations)


def known_nonlinearity(cell: RNN) -> Nonlinearity:
    """A vanilla RNN's f.

    Raises:
        Unsupported: it is none of ours.
    """
    if (found := nonlinearity_of(cell.f)) is None:
        raise Unsupported(f"no derivative is written out for this {type(cell).__name__}'s f")
    return found


def summed(children: Tensor, arity: int) -> Tensor:
    return children if arity == 1 else children.view(-1, arity, children.shape[-1]).sum(1)


def for_each(rows: Tensor, arity: int) -> Tensor:
    """A copy of a node's row for each of its children."""
    return rows if arity == 1 else rows[:, None].expand(-1, arity, -1).reshape(-1, rows.shape[-1])
