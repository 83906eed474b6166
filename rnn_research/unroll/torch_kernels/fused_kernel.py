"""Torch's fused kernels along chains: what those of the LSTM and the GRU share.

A fused kernel's backward pass keeps its states' gradients to itself. They follow from what reaches the states from
outside: one product makes all gates of all steps from the states that are there, and a recursion as of the kernel's
own runs back through them. So the kernel is called as without recording, and does the same to the bit.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from rnn_research.cells import Cell
from rnn_research.structures import Chain
from rnn_research.structures.order import Rows
from rnn_research.unroll.backward import refuse_second_derivative
from rnn_research.unroll.torch_kernels.chain_kernel import ChainKernel, KernelRecord
from rnn_research.unroll.torch_kernels.row_order import RowOrder, cut, row_order_of, take

BLOCK = 2**16
"""Elements of a part of the state that are worked on at a time: few enough for a processor's caches."""


class FusedKernel(ChainKernel):
    """One fused call, its h handed out through a tap that keeps what reaches it from outside.

    The recursions begin at a state before the first, as the kernels do; `full` is the order of the
    rows with it.
    """

    name: str
    call: Callable[..., Any]

    def __init__(
        self,
        cell: Cell,
        chain: Chain,
        row_order: RowOrder,
        inputs: Tensor,
        initial: tuple[Tensor, ...],
        recorded: KernelRecord | None,
    ) -> None:
        self.cell, self.inputs, self.initial, self.recorded = cell, inputs, initial, recorded
        self.row_order, self.full = row_order, row_order_of(chain, True, inputs.device)
        self.how = f"torch's fused {self.name}"
        self.size = cell.hidden_size
        self.zero = inputs.new_zeros(self.full.before, self.size)
        self.graded = torch.is_grad_enabled()
        self.outputs = self._run()
        # The adjoints may be asked for after an optimiser's step.
        self.weights: list[Any] = [
            None if w is None else w.detach().clone() if recorded else w.detach() for w in weights_of(cell)
        ]
        self._handed = {0: AdjointTap.apply(recorded, 0, self.outputs)}

    def part(self, index: int) -> Tensor:
        return self._handed[index]

    def handed(self) -> dict[int, Tensor]:
        return self._handed

    def buffers(self) -> list[Tensor]:
        return [part[self.full.before - self.row_order.before :] for part in self.replayed()]

    @abstractmethod
    def begin(self, first: tuple[Tensor, ...]) -> Any:
        """The initial states as the kernel wants them."""

    @abstractmethod
    def replayed(self) -> list[Tensor]:
        """Each part of the state before the first, and of the states, detached."""

    def _run(self) -> Tensor:
        """h at every row, as the kernel gives it: cut into steps where all are equally long."""
        row_order, biased, train = self.row_order, self.cell.bias, self.graded
        weights = [weight for weight in weights_of(self.cell) if weight is not None]
        first = self.begin(tuple(part[None] for part in self.initial or (self.zero, self.zero)))
        with warnings.catch_warnings() if self.inputs.is_cuda else nullcontext():
            if self.inputs.is_cuda:  # cuDNN would have a module's weights in one piece; these are a cell's own
                warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")
            if row_order.uniform:
                inputs = self.inputs.transpose(0, 1)
                outputs, *last = type(self).call(inputs, first, weights, biased, 1, 0.0, train, False, False)
                self.last = tuple(part[0].detach() for part in last)
                return outputs
            sizes = torch.tensor(row_order.counts)
            return type(self).call(row_order.gather(self.inputs), sizes, first, weights, biased, 1, 0.0, train, False)[
                0
            ]

    def _before(self, part: int) -> Tensor:
        return self.initial[part].detach() if self.initial else self.zero

    def _hidden(self) -> Tensor:
        """h, with the one before the first."""
        return torch.cat([self._before(0), self.outputs.detach().reshape(-1, self.size)])

    @property
    def _children(self) -> Rows:
        """The row of each state's previous one, in a buffer that begins with those before the first."""
        return self.full.by_arity[-1].children

    def _previous(self) -> Callable[[slice], Tensor]:
        """Rows -> their previous h. Rows these lie side by side nothing but the first are copied."""
        if not self.full.uniform:
            children, hidden = self._children, self._hidden()
            assert isinstance(children, Tensor)
            return lambda rows: take(hidden, children[rows])
        hidden, first, before = self.outputs.detach().reshape(-1, self.size), self._before(0), self.full.before

        def of(rows: slice) -> Tensor:
            if rows.start:
                return hidden[rows.start - before : rows.stop - before]
            return torch.cat([first, hidden[: rows.stop - before]])

        return of

    def _filled(self, grad: Tensor | None) -> Tensor:
        """A copy of the gradient from outside."""
        if grad is None:
            return self.inputs.new_zeros(self.full.rows, self.size)
        filled = self.inputs.new_empty(self.full.rows, self.size)
        filled.view_as(grad).copy_(grad)
        return filled

    def _blocks(self) -> list[tuple[slice, slice, Rows]]:
        """Few enough steps at a time for a processor's caches: the steps, their rows, and those of their previous
        states."""
        counts, children = self.full.counts, self._children
        steps = max(1, BLOCK // (counts[0] * self.size))
        if self.inputs.is_cuda:
            steps = len(counts)
        blocks, start = [], 0
        for t in range(0, len(counts), steps):
            stop = start + sum(counts[t : t + steps])
            rows = slice(start, stop)
            # A slice of previous states begins at the first of all.
            blocks.append((slice(t, t + steps), rows, rows if isinstance(children, slice) else children[rows]))
            start = stop
        return blocks

    def _passed(self) -> Tensor:
        """To become what later states pass to each, and to the one before the first. The last are passed nothing."""
        return self.inputs.new_zeros(self.full.before + self.full.rows, self.size)

    def _direct(self, grad: Tensor | None) -> Sequence[Tensor | None]:
        """By step."""
        if grad is None:
            return [None] * len(self.full.counts)
        return grad.unbind() if grad.dim() == 3 else cut(grad, self.full.counts)

    def _by_step(self, buffer: Tensor) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """The rows of each step, and of its previous states."""
        counts = self.full.counts
        own = cut(buffer[self.full.before :], counts)
        previous = [buffer[: self.full.before], *own[:-1]]
        if self.full.uniform:
            return own, previous
        return own, [rows[:count] for rows, count in zip(previous, counts, strict=True)]


class AdjointTap(torch.autograd.Function):
    """(recorded, part, rows) -> rows; on the way back their gradient from outside is recorded."""

    @staticmethod
    def forward(ctx: Any, recorded: KernelRecord | None, part: int, rows: Tensor) -> Tensor:
        ctx.recorded, ctx.part = recorded, part
        return rows.view_as(rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        refuse_second_derivative("torch")
        grad = grads[0].contiguous()  # as the kernel would make it
        if ctx.recorded is not None:
            ctx.recorded.add([grad], first=ctx.part)
        return None, None, grad


def weights_of(cell: Cell) -> list[Any]:
    return [cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh]
