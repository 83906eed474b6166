"""The explicit update of the cells with a memory c: the LSTM and the Tree-LSTMs."""

from __future__ import annotations

import torch
from torch import Tensor

from rnn_research.cells import LSTM, Cell, NaryTreeLSTM
from rnn_research.cells.nonlinearities import SIGMOID, TANH
from rnn_research.cells.tree_lstm import child_blocks
from rnn_research.unroll.torch_kernels.explicit_update import ExplicitUpdate, for_each, summed


class LSTMUpdate(ExplicitUpdate):
    """c = i g + sum_k f_k c_k, h = o tanh(c). Pre-activations: i, g, o, and then a forget gate a child.

    What tells the cells apart is what the forget gates read: `each`: the sum of all children (LSTM, which has one gate
    for their summed c), their own child (Child-Sum), or all children by blocks (N-ary).
    """

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        self.kind = type(cell)
        self.most = cell.max_children

    def gates(self, arity: int) -> int:
        """Forget gates."""
        return min(arity, 1) if self.kind is LSTM else arity

    def width(self, arity: int) -> int:
        return (3 + self.gates(arity)) * self.size

    def _rows(self, weight: Tensor, arity: int) -> Tensor:
        """The rows of the N-ary cell's weight that nodes of this arity use, in the order of their pre-activations."""
        rows = weight.view(3 + self.most, self.size, -1)[:, :, : arity * self.size]
        return torch.cat([rows[:1], rows[-2:], rows[1 : 1 + arity]]).view(-1, arity * self.size)

    def spread(self, children: Tensor, arity: int, weight: Tensor) -> Tensor:
        size = self.size
        if self.kind is NaryTreeLSTM:
            if arity > self.most:
                child_blocks(children.view(-1, arity * size), weight, None)  # which refuses them
            return children.reshape(-1, arity * size) @ self._rows(weight, arity).t()
        i, f, go = weight.split([size, size, 2 * size])
        total = summed(children, arity)
        read = total if self.kind is LSTM else children
        return torch.cat([total @ i.t(), total @ go.t(), (read @ f.t()).view(len(total), -1)], 1)

    def collect(self, grad_preactivations: Tensor, arity: int, weight: Tensor) -> Tensor:
        size = self.size
        if self.kind is NaryTreeLSTM:
            return (grad_preactivations @ self._rows(weight, arity)).view(-1, size)
        i, f, go = weight.split([size, size, 2 * size])
        of_i, of_go, of_f = grad_preactivations.split([size, 2 * size, self.gates(arity) * size], 1)
        total = (of_i @ i).addmm_(of_go, go)
        if self.kind is LSTM:
            return for_each(total.addmm_(of_f, f), arity)
        return for_each(total, arity) + of_f.reshape(-1, size) @ f

    def weigh(self, grad_preactivations: Tensor, children: Tensor, arity: int, tape: Tensor, out: Tensor) -> None:
        size = self.size
        if self.kind is NaryTreeLSTM:
            rows = (grad_preactivations.t() @ children.reshape(-1, arity * size)).view(3 + arity, size, -1)
            blocks = out.view(3 + self.most, size, -1)[:, :, : arity * size]
            blocks[:1] += rows[:1]
            blocks[-2:] += rows[1:3]
            blocks[1 : 1 + arity] += rows[3:]
            return
        i, f, go = out.split([size, size, 2 * size])
        of_i, of_go, of_f = grad_preactivations.split([size, 2 * size, self.gates(arity) * size], 1)
        total = summed(children, arity)
        i.addmm_(of_i.t(), total)
        go.addmm_(of_go.t(), total)
        f.addmm_(of_f.reshape(-1, size).t(), total if self.kind is LSTM else children)

    def forward(
        self, spread: Tensor | None, projected: Tensor, children: list[Tensor], arity: int, tape: Tensor, weight: Tensor
    ) -> list[Tensor]:
        size, gates = self.size, self.gates(arity)
        pre = projected.view(-1, 4, size)
        tape = tape.view(-1, 3 + gates, size)
        tape[:, 0], tape[:, 1:3] = pre[:, 0], pre[:, 2:]
        tape[:, 3:] = pre[:, 1:2]
        if spread is not None:
            tape += spread.view_as(tape)
        i, g, o, f = tape[:, 0], tape[:, 1], tape[:, 2], tape[:, 3:]
        g.tanh_()
        for gate in (i, o, f):
            gate.sigmoid_()
        memory = i * g
        if arity:
            memory += (f * self._memories(children[1], arity)).sum(1)
        return [o * memory.tanh(), memory]

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
        of_hidden, of_memory = adjoints
        gates = tape.view(-1, 3 + self.gates(arity), self.size)
        grad_preactivations = grad_preactivations.view_as(gates)
        i, g, o, f = gates[:, 0], gates[:, 1], gates[:, 2], gates[:, 3:]
        bounded = own[1].tanh()
        of_memory += of_hidden * o * TANH.derivative(bounded)
        torch.mul(of_memory * g, SIGMOID.derivative(i), out=grad_preactivations[:, 0])
        torch.mul(of_memory * i, TANH.derivative(g), out=grad_preactivations[:, 1])
        torch.mul(of_hidden * bounded, SIGMOID.derivative(o), out=grad_preactivations[:, 2])
        if arity:
            of_forget = of_memory[:, None] * self._memories(children[1], arity)
            torch.mul(of_forget, SIGMOID.derivative(f), out=grad_preactivations[:, 3:])

    def carried(
        self, adjoints: list[Tensor], arity: int, tape: Tensor, weight: Tensor, grad_preactivations: Tensor
    ) -> list[Tensor | None]:
        f = tape.view(-1, 3 + self.gates(arity), self.size)[:, 3:]
        carried = adjoints[1][:, None] * f
        return [None, carried.expand(-1, arity, -1).reshape(-1, self.size)]

    def of_inputs(self, grad_preactivations: Tensor, arity: int) -> Tensor:
        grad_preactivations = grad_preactivations.view(-1, 3 + self.gates(arity), self.size)
        i, g, o, f = (
            grad_preactivations[:, 0],
            grad_preactivations[:, 1],
            grad_preactivations[:, 2],
            grad_preactivations[:, 3:].sum(1),
        )
        return torch.cat([i, f, g, o], 1)

    def _memories(self, children: Tensor, arity: int) -> Tensor:
        """(nodes, forget gates, hidden): what each gate lets through."""
        children = children.view(-1, arity, self.size)
        return children.sum(1, keepdim=True) if self.kind is LSTM else children
