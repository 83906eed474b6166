"""The explicit update of the GRU, for trees and for the published form."""

from __future__ import annotations

import torch
from torch import Tensor

from rnn_research.cells import GRU, Cell
from rnn_research.cells.nonlinearities import SIGMOID, TANH
from rnn_research.unroll.torch_kernels.explicit_update import ExplicitUpdate, for_each, summed


class GRUUpdate(ExplicitUpdate):
    """h = (1 - z) n + z h~, with h~ = sum_k h_k.

    n = tanh(a + r b), where a reads x and b = U_n h~ + b_hn: both are pre-activations, in the order r, z, b, a. Or,
    reset before the product, n = tanh(a) where a reads x and r h~, in the order r, z, a.
    """

    def __init__(self, cell: GRU) -> None:
        super().__init__(cell)
        self.after = cell.reset_after
        self.read = (3 if self.after else 2) * self.size  # pre-activations that read h~ itself
        self.inputs = self.width(0)

    def width(self, arity: int) -> int:
        return (4 if self.after else 3) * self.size

    def project(self, cell: Cell, inputs: Tensor) -> Tensor:
        if not self.after:
            return super().project(cell, inputs)
        gates, candidate = cell.project(inputs).split([2 * self.size, self.size], 1)
        if cell.bias_hh is None:
            return torch.cat([gates, torch.zeros_like(candidate), candidate], 1)
        of_gates, of_hidden = cell.bias_hh.split([2 * self.size, self.size])
        return torch.cat([gates + of_gates, of_hidden.expand_as(candidate), candidate], 1)

    def spread(self, children: Tensor, arity: int, weight: Tensor) -> Tensor:
        return summed(children, arity) @ weight[: self.read].t()

    def collect(self, grad_preactivations: Tensor, arity: int, weight: Tensor) -> Tensor:
        return for_each(grad_preactivations[:, : self.read] @ weight[: self.read], arity)

    def weigh(self, grad_preactivations: Tensor, children: Tensor, arity: int, tape: Tensor, out: Tensor) -> None:
        hidden = summed(children, arity)
        out[: self.read].addmm_(grad_preactivations[:, : self.read].t(), hidden)
        if not self.after:
            out[self.read :].addmm_(grad_preactivations[:, self.read :].t(), tape[:, : self.size] * hidden)

    def forward(
        self, spread: Tensor | None, projected: Tensor, children: list[Tensor], arity: int, tape: Tensor, weight: Tensor
    ) -> list[Tensor]:
        size = self.size
        tape.copy_(projected)
        if spread is not None:
            tape[:, : self.read] += spread
        tape[:, : 2 * size].sigmoid_()
        r, z, n = tape[:, :size], tape[:, size : 2 * size], tape[:, -size:]
        hidden = summed(children[0], arity) if arity else None
        if self.after:
            n.addcmul_(r, tape[:, 2 * size : 3 * size])
        elif hidden is not None:
            n.addmm_(r * hidden, weight[self.read :].t())
        n.tanh_()
        return [n - z * n if hidden is None else n + z * (hidden - n)]

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
        size, of_hidden = self.size, adjoints[0]
        r, z, n = tape[:, :size], tape[:, size : 2 * size], tape[:, -size:]
        hidden = summed(children[0], arity) if arity else torch.zeros_like(n)
        of_candidate = grad_preactivations[:, -size:]
        torch.mul(of_hidden * (1 - z), TANH.derivative(n), out=of_candidate)
        torch.mul(of_hidden * (hidden - n), SIGMOID.derivative(z), out=grad_preactivations[:, size : 2 * size])
        if self.after:
            of_reset = of_candidate * tape[:, 2 * size : 3 * size]
            torch.mul(of_candidate, r, out=grad_preactivations[:, 2 * size : 3 * size])
        else:
            of_reset = of_candidate @ weight[self.read :] * hidden
        torch.mul(of_reset, SIGMOID.derivative(r), out=grad_preactivations[:, :size])

    def carried(
        self, adjoints: list[Tensor], arity: int, tape: Tensor, weight: Tensor, grad_preactivations: Tensor
    ) -> list[Tensor | None]:
        """By z, and in the published form by r h~."""
        size = self.size
        carried = adjoints[0] * tape[:, size : 2 * size]
        if not self.after:
            carried += grad_preactivations[:, self.read :] @ weight[self.read :] * tape[:, :size]
        return [for_each(carried, arity)]
