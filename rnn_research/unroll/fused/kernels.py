"""Torch's fused kernels along chains, and the recursions that find the adjoints beside them.

A fused kernel's backward pass keeps its states' gradients to itself. They follow from what reaches the states from
outside: one product makes all gates of all steps from the states that are there, and a recursion as of the kernel's
own runs back through them. So the kernel is called as without recording, and does the same to the bit.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from rnn_research.cells import GRU, LSTM, Cell
from rnn_research.unroll.fused.form import Form, Found, Recorded, Unfused, once
from rnn_research.unroll.fused.plan import Plan, add, take


class Kernel(Form):
    """One fused call, its h handed out through a tap that keeps what reaches it from outside."""

    name: str
    call: Callable[..., Any]

    def __init__(
        self, cell: Cell, plan: Plan, inputs: Tensor, initial: tuple[Tensor, ...], recorded: Recorded | None
    ) -> None:
        self.cell, self.plan, self.inputs, self.initial, self.recorded = cell, plan, inputs, initial, recorded
        self.how = f"torch's fused {self.name}"
        self.size = cell.hidden_size
        self.rows = self._run([weight for weight in _weights(cell) if weight is not None])
        # The adjoints may be asked for after an optimiser's step.
        self.weights = [None if w is None else w.detach().clone() if recorded else w.detach() for w in _weights(cell)]
        self._handed = {0: _Tap.apply(recorded, 0, self.rows)}

    def part(self, index: int) -> Tensor:
        return self._handed[index]

    def handed(self) -> dict[int, Tensor]:
        return self._handed

    def buffers(self) -> list[Tensor]:
        return [self._buffer(self.rows.detach(), 0)]

    @abstractmethod
    def begin(self, first: tuple[Tensor, ...]) -> Any:
        """The initial states as the kernel wants them."""

    def _run(self, weights: list[Tensor]) -> Tensor:
        """h at every row."""
        plan, biased, train = self.plan, self.cell.bias, torch.is_grad_enabled()
        zero = self.inputs.new_zeros(1, plan.counts[0], self.size)
        first = self.begin(tuple(part[None] for part in self.initial) or (zero, zero))
        with warnings.catch_warnings():
            # cuDNN would have a module's weights in one piece; these are a cell's own, and small.
            warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")
            if plan.uniform:
                inputs = self.inputs.transpose(0, 1)
                rows = type(self).call(inputs, first, weights, biased, 1, 0.0, train, False, False)[0]
                return rows.reshape(-1, self.size)
            sizes = torch.tensor(plan.counts)
            return type(self).call(plan.gather(self.inputs), sizes, first, weights, biased, 1, 0.0, train, False)[0]

    def _buffer(self, rows: Tensor, part: int) -> Tensor:
        return torch.cat([self.initial[part].detach(), rows]) if self.initial else rows

    def _previous(self, buffer: Tensor) -> Tensor:
        """The previous state of each row from the `first` on."""
        return take(buffer, self.plan.by_arity[-1].children)

    def _back_through(self) -> Iterator[tuple[int, slice, slice | None]]:
        """Backwards: each step, its rows, and the rows of the states it read (but for initial states)."""
        stop = self.plan.rows
        for t in range(len(self.plan.counts) - 1, -1, -1):
            count = self.plan.counts[t]
            start = stop - count
            before = start - self.plan.counts[t - 1]
            yield count, slice(start, stop), slice(before, before + count) if t else None
            stop = start

    def _passed(self, rows: Tensor) -> Tensor:
        """What each row that has a previous state owes it -> what each row is due."""
        before = self.plan.before
        due = rows.new_zeros(before + self.plan.rows, self.size)
        if len(rows):
            add(due, self.plan.by_arity[-1].children, rows)
        return due[before:]

    def _adjoint(self, direct: Tensor | None) -> Tensor:
        if direct is None:
            return self.rows.new_zeros(self.rows.shape)
        return direct.clone(memory_format=torch.contiguous_format)


class LSTMKernel(Kernel):
    """c is made where it is asked for, from the kernel's h: as a function of these its gradient is right, through
    them and through the gates."""

    name = "LSTM"
    call = torch._VF.lstm  # pyright: ignore[reportAttributeAccessIssue]

    def begin(self, first: tuple[Tensor, ...]) -> Any:
        return first

    def part(self, index: int) -> Tensor:
        if index == 1 and 1 not in self._handed:
            first, initial = self.plan.first, self.initial
            weight_ih, weight_hh, *biases = _weights(self.cell)
            bias = None if biases[0] is None else biases[0] + biases[1]
            pre = nn.functional.linear(self.plan.gather(self.inputs), weight_ih, bias)
            buffer = torch.cat([initial[0], self.rows]) if initial else self.rows
            later = pre[first:]
            if len(later):
                later = later + self._previous(buffer) @ weight_hh.t()
            i, f, g, _ = torch.cat([pre[:first], later]).chunk(4, 1)
            memory, memories = initial[1] if initial else None, []
            gained = torch.sigmoid(i) * torch.tanh(g)
            counts = self.plan.counts
            for gain, kept in zip(gained.split(counts), torch.sigmoid(f).split(counts), strict=True):
                memory = gain if memory is None else torch.addcmul(gain, kept, memory[: len(gain)])
                memories.append(memory)
            self._handed[1] = _Tap.apply(self.recorded, 1, torch.cat(memories))
        return self._handed[index]

    def buffers(self) -> list[Tensor]:
        with torch.no_grad():
            memory = self._replayed()[1]
        return [*super().buffers(), memory if self.initial else memory[self.plan.before :]]

    def _replayed(self) -> tuple[Tensor, Tensor]:
        """The gates (rows, 4 hidden), and c with the initial one before it."""
        size, first, before = self.size, self.plan.first, self.plan.before
        gates = _projected(self.plan.gather(self.inputs.detach()), self.weights, both=True)
        weight = self.weights[1]
        assert weight is not None
        if first < self.plan.rows:
            gates[first:].addmm_(self._previous(self._buffer(self.rows.detach(), 0)), weight.t())
        gates[:, : 2 * size].sigmoid_()
        gates[:, 2 * size : 3 * size].tanh_()
        gates[:, 3 * size :].sigmoid_()
        i, f, g, _ = gates.chunk(4, 1)
        memory = gates.new_empty(before + self.plan.rows, size)
        torch.mul(i, g, out=memory[before:])
        if before:
            memory[:before] = self.initial[1].detach()
        previous = memory[:before] if before else None
        counts = self.plan.counts
        for rows, kept in zip(memory[before:].split(counts), f.split(counts), strict=True):
            if previous is not None:
                rows.addcmul_(kept, previous[: len(rows)])
            previous = rows
        return gates, memory

    @torch.no_grad()
    def back(self, direct: dict[int, Tensor]) -> Found:
        size, plan = self.size, self.plan
        weight = self.weights[1]
        assert weight is not None
        gates, memory = self._replayed()
        i, f, g, o = gates.chunk(4, 1)
        bounded = memory[plan.before :].tanh()
        # Of each slope per dc (i, f, g) or per dh (o); and of dc per dh. f itself is what dc is passed on by.
        kept = f.contiguous()
        inside = (bounded * bounded).neg_().add_(1).mul_(o)
        of_output = o * (1 - o) * bounded
        of_input = (1 - i).mul_(i).mul_(g)
        torch.mul(i, 1 - g * g, out=g)
        i.copy_(of_input)
        first, children = plan.first, plan.by_arity[-1].children
        f.mul_(1 - f)
        f[:first] = 0
        if first < plan.rows:
            f[first:].mul_(take(memory, children))
        o.copy_(of_output)
        slopes = gates.view(-1, 4, size)
        hidden, memory = self._adjoint(direct.get(0)), self._adjoint(direct.get(1))
        for count, rows, read in self._back_through():
            of_hidden, of_memory, of_gates = hidden[rows], memory[rows], slopes[rows]
            of_memory.addcmul_(of_hidden, inside[rows])
            of_gates[:, :3].mul_(of_memory[:, None])
            of_gates[:, 3].mul_(of_hidden)
            if read is not None:
                hidden[read].addmm_(of_gates.view(count, -1), weight)
                memory[read].addcmul_(of_memory, kept[rows])

        def recurrent() -> list[Tensor]:
            return [self._passed(gates[first:] @ weight), self._passed(memory[first:] * kept[first:])]

        return Found([hidden, memory], recurrent)


class GRUKernel(Kernel):
    name = "GRU"
    call = torch._VF.gru  # pyright: ignore[reportAttributeAccessIssue]

    def __init__(self, cell: GRU, *rest: Any) -> None:
        if not cell.reset_after:
            raise Unfused("torch's fused GRU resets after the product, this GRU before it")
        super().__init__(cell, *rest)

    def begin(self, first: tuple[Tensor, ...]) -> Any:
        return first[0]

    @torch.no_grad()
    def back(self, direct: dict[int, Tensor]) -> Found:
        """dL/dh' has two ways round the gates: through U, where n's slope is scaled by r, and by z."""
        size, plan, first = self.size, self.plan, self.plan.first
        weight, bias = self.weights[1], self.weights[3]
        assert weight is not None
        gates = _projected(plan.gather(self.inputs.detach()), self.weights, both=False)
        buffer = self._buffer(self.rows.detach(), 0)
        spread = gates.new_zeros(gates.shape)
        previous = gates.new_zeros(plan.rows, size)
        if first < plan.rows:
            previous[first:] = self._previous(buffer)
            torch.mm(previous[first:], weight.t(), out=spread[first:])
        if bias is not None:
            spread += bias
        gates[:, : 2 * size] += spread[:, : 2 * size]
        r, z, n = gates.chunk(3, 1)
        gates[:, : 2 * size].sigmoid_()
        from_hidden = spread[:, 2 * size :]
        n.addcmul_(r, from_hidden).tanh_()
        kept = z.contiguous()
        of_candidate = (1 - n * n).mul_(1 - kept)
        of_update = (previous - n).mul_(kept).mul_(1 - kept)
        slopes = torch.cat([of_candidate * from_hidden * (r * (1 - r)), of_update, of_candidate * r], 1).view(-1, 3, size)
        hidden = self._adjoint(direct.get(0))
        for count, rows, read in self._back_through():
            of_hidden, of_gates = hidden[rows], slopes[rows]
            of_gates.mul_(of_hidden[:, None])
            if read is not None:
                hidden[read].addcmul_(of_hidden, kept[rows]).addmm_(of_gates.view(count, -1), weight)

        def recurrent() -> list[Tensor]:
            passed = (hidden[first:] * kept[first:]).addmm_(slopes.view(plan.rows, -1)[first:], weight)
            return [self._passed(passed)]

        return Found([hidden], recurrent)


KERNELS: dict[type[Cell], Callable[..., Form]] = {LSTM: LSTMKernel, GRU: GRUKernel}
"""By the cell's own type: a subclass may have another `step`."""


class _Tap(torch.autograd.Function):
    """(recorded, part, rows) -> rows; on the way back their gradient from outside is recorded."""

    @staticmethod
    def forward(ctx: Any, recorded: Recorded | None, part: int, rows: Tensor) -> Tensor:
        ctx.recorded, ctx.part = recorded, part
        return rows.view_as(rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        once()
        if ctx.recorded is not None:
            ctx.recorded.add(grads, first=ctx.part)
        return None, None, *grads


def _weights(cell: Cell) -> list[Tensor | None]:
    return [cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh]


def _projected(inputs: Tensor, weights: list[Tensor | None], both: bool) -> Tensor:
    """W x + b_ih, and + b_hh."""
    weight, _, bias, other = weights
    assert weight is not None
    if both and bias is not None and other is not None:
        bias = bias + other
    return nn.functional.linear(inputs, weight, bias)
