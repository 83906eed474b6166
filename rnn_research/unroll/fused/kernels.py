"""Torch's fused kernels along chains, and the recursions that find the adjoints beside them.

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
from torch import Tensor, nn

from rnn_research.cells import GRU, LSTM, Cell
from rnn_research.structures import Chain
from rnn_research.unroll.fused.form import Form, Found, Recorded, once
from rnn_research.unroll.fused.plan import Where, plan_of, take

BLOCK = 2**16
"""Elements of a part of the state that are worked on at a time: few enough for a processor's caches."""


class Kernel(Form):
    """One fused call, its h handed out through a tap that keeps what reaches it from outside.

    The recursions begin at a state before the first, as the kernels do; `full` is the plan with it.
    """

    name: str
    call: Callable[..., Any]

    def __init__(
        self, cell: Cell, chain: Chain, inputs: Tensor, initial: tuple[Tensor, ...], recorded: Recorded | None
    ) -> None:
        self.cell, self.inputs, self.initial, self.recorded = cell, inputs, initial, recorded
        self.plan, self.full = (plan_of(chain, given, inputs.device) for given in (bool(initial), True))
        self.how = f"torch's fused {self.name}"
        self.size = cell.hidden_size
        self.zero = inputs.new_zeros(self.full.before, self.size)
        self.graded = torch.is_grad_enabled()
        self.outputs = self._run()
        # The adjoints may be asked for after an optimiser's step.
        self.weights: list[Any] = [
            None if w is None else w.detach().clone() if recorded else w.detach() for w in _weights(cell)
        ]
        self._handed = {0: _Tap.apply(recorded, 0, self.outputs)}

    def part(self, index: int) -> Tensor:
        return self._handed[index]

    def handed(self) -> dict[int, Tensor]:
        return self._handed

    def buffers(self) -> list[Tensor]:
        return [part[self.full.before - self.plan.before :] for part in self.replayed()]

    @abstractmethod
    def begin(self, first: tuple[Tensor, ...]) -> Any:
        """The initial states as the kernel wants them."""

    @abstractmethod
    def replayed(self) -> list[Tensor]:
        """Each part of the state before the first, and of the states, detached."""

    def _run(self) -> Tensor:
        """h at every row, as the kernel gives it: cut into steps where all are equally long."""
        plan, biased, train = self.plan, self.cell.bias, self.graded
        weights = [weight for weight in _weights(self.cell) if weight is not None]
        first = self.begin(tuple(part[None] for part in self.initial or (self.zero, self.zero)))
        with warnings.catch_warnings() if self.inputs.is_cuda else nullcontext():
            if self.inputs.is_cuda:  # cuDNN would have a module's weights in one piece; these are a cell's own
                warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")
            if plan.uniform:
                inputs = self.inputs.transpose(0, 1)
                return type(self).call(inputs, first, weights, biased, 1, 0.0, train, False, False)[0]
            sizes = torch.tensor(plan.counts)
            return type(self).call(plan.gather(self.inputs), sizes, first, weights, biased, 1, 0.0, train, False)[0]

    def _before(self, part: int) -> Tensor:
        return self.initial[part].detach() if self.initial else self.zero

    def _hidden(self) -> Tensor:
        """h, with the one before the first."""
        return torch.cat([self._before(0), self.outputs.detach().reshape(-1, self.size)])

    @property
    def _children(self) -> Where:
        """The row of each state's previous one, in a buffer that begins with those before the first."""
        return self.full.by_arity[-1].children

    def _blocks(self) -> list[tuple[slice, slice, Where]]:
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
        return grad.unbind() if grad.dim() == 3 else grad.split(self.full.counts)

    def _by_step(self, buffer: Tensor) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """The rows of each step, and of its previous states."""
        counts = self.full.counts
        own = buffer[self.full.before :].split(counts)
        previous = [buffer[: self.full.before], *own[:-1]]
        if self.full.uniform:
            return own, previous
        return own, [rows[:count] for rows, count in zip(previous, counts, strict=True)]


class LSTMKernel(Kernel):
    """c is made where it is asked for, from the kernel's h: as a function of these its gradient is right, through
    them and through the gates."""

    name = "LSTM"
    call = torch._VF.lstm  # pyright: ignore[reportAttributeAccessIssue]

    def begin(self, first: tuple[Tensor, ...]) -> Any:
        return first

    def part(self, index: int) -> Tensor:
        if index == 1 and 1 not in self._handed:
            with torch.set_grad_enabled(self.graded):
                self._handed[1] = _Tap.apply(self.recorded, 1, self._memory())
        return self._handed[index]

    def _memory(self) -> Tensor:
        """c at every row, in the graph of autograd."""
        hidden, memory = self.initial or (self.zero, self.zero)
        weight_ih, weight_hh, *biases = _weights(self.cell)
        bias = None if biases[0] is None else biases[0] + biases[1]
        pre = nn.functional.linear(self.plan.gather(self.inputs), weight_ih, bias)
        pre = pre + take(torch.cat([hidden, self.outputs.reshape(-1, self.size)]), self._children) @ weight_hh.t()
        i, f, g, _ = pre.chunk(4, 1)
        memories, counts = [], self.full.counts
        gained = torch.sigmoid(i) * torch.tanh(g)
        for gain, kept in zip(gained.split(counts), torch.sigmoid(f).split(counts), strict=True):
            memory = torch.addcmul(gain, kept, memory[: len(gain)])
            memories.append(memory)
        return torch.cat(memories)

    @torch.no_grad()
    def replayed(self) -> list[Tensor]:
        return [self._hidden(), self._replayed()[1]]

    def _replayed(self) -> tuple[Tensor, Tensor]:
        """The gates (rows, 4 hidden), and c with the one before the first."""
        size, before = self.size, self.full.before
        weight_ih, weight_hh, *biases = self.weights
        inputs = self.plan.gather(self.inputs.detach())
        # All that a gate reads, side by side: then it is one product.
        read = [take(self._hidden(), self._children), inputs]
        weight = [weight_hh, weight_ih]
        if biases[0] is not None:
            read.append(inputs.new_ones(len(inputs), 1))
            weight.append((biases[0] + biases[1])[:, None])
        read, weight = torch.cat(read, 1), torch.cat(weight, 1).t()
        gates = read.new_empty(len(read), 4 * size)
        memory = read.new_empty(before + len(read), size)
        memory[:before] = self._before(1)
        own, previous = self._by_step(memory)
        kept = gates[:, size : 2 * size].split(self.full.counts)
        for steps, rows, _ in self._blocks():
            block = gates[rows]
            torch.mm(read[rows], weight, out=block)
            i, _, g, o = block.chunk(4, 1)
            block[:, : 2 * size].sigmoid_()
            g.tanh_()
            o.sigmoid_()
            torch.mul(i, g, out=memory[before:][rows])
            for memory_t, f_t, before_t in zip(own[steps], kept[steps], previous[steps], strict=True):
                memory_t.addcmul_(f_t, before_t)
        return gates, memory

    @torch.no_grad()
    def back(self, direct: dict[int, Tensor]) -> Found:
        size, before, counts = self.size, self.full.before, self.full.counts
        weight = self.weights[1]
        gates, memory = self._replayed()
        hidden = self.outputs.detach().reshape(-1, size)
        recurrent = [self._passed(), self._passed()]
        adjoints = [torch.empty_like(memory[before:]) for _ in recurrent]
        steps_of = [
            *(self._direct(direct.get(part)) for part in range(2)),
            *(own.split(counts) for own in adjoints),
            *(part for passed in recurrent for part in self._by_step(passed)),
            gates[:, size : 2 * size].split(counts),
        ]
        slopes_of: Tensor | None = None
        for steps, rows, children in reversed(self._blocks()):
            block, count = gates[rows], counts[steps]
            # From the last block on they only grow where sequences end, and the same memory serves.
            slopes_of = torch.empty_like(block) if slopes_of is None or len(slopes_of) < len(block) else slopes_of
            slopes = slopes_of[: len(block)]
            inside = _slopes(block, hidden[rows], memory[before:][rows], take(memory, children), slopes)
            local = (
                slopes.split(count),
                slopes.view(-1, 4, size)[:, :3].split(count),
                slopes[:, 3 * size :].split(count),
                inside.split(count),
            )
            here = list(zip(*(part[steps] for part in steps_of), *local, strict=True))
            for g_h, g_c, dh, dc, r_h, to_h, r_c, to_c, f, slope, of_dc, of_dh, dh_dc in reversed(here):
                if g_h is None:
                    dh.copy_(r_h)
                else:
                    torch.add(r_h, g_h, out=dh)
                torch.addcmul(r_c, dh, dh_dc, out=dc)
                if g_c is not None:
                    dc.add_(g_c)
                of_dc.mul_(dc[:, None])
                of_dh.mul_(dh)
                torch.mm(slope, weight, out=to_h)
                torch.mul(dc, f, out=to_c)
        return Found(adjoints, lambda: [passed[before:] for passed in recurrent])


def _slopes(gates: Tensor, hidden: Tensor, memory: Tensor, previous: Tensor, out: Tensor) -> Tensor:
    """Of i, f and g in terms of dL/dc, of o in terms of dL/dh. Gives dh/dc at the same position."""
    i, f, g, o = gates.chunk(4, 1)
    of_i, of_f, of_g, of_o = out.chunk(4, 1)
    # 1 - tanh(c)^2 = 4 s (1 - s) with s = sigmoid(2 c), which is quicker than a tanh
    inside = (2 * memory).sigmoid_()
    scratch = torch.addcmul(inside, inside, inside, value=-1).mul_(4)
    torch.mul(scratch, o, out=inside)
    torch.addcmul(hidden, hidden, o, value=-1, out=of_o)
    torch.addcmul(i, i, i, value=-1, out=scratch)
    torch.mul(scratch, g, out=of_i)
    torch.mul(g, g, out=scratch)
    torch.addcmul(i, i, scratch, value=-1, out=of_g)
    torch.addcmul(f, f, f, value=-1, out=scratch)
    torch.mul(scratch, previous, out=of_f)
    return inside


class GRUKernel(Kernel):
    """dL/dh' has two ways round the gates: through U, where n's slope is scaled by r, and by z."""

    name = "GRU"
    call = torch._VF.gru  # pyright: ignore[reportAttributeAccessIssue]

    def begin(self, first: tuple[Tensor, ...]) -> Any:
        return first[0]

    @torch.no_grad()
    def replayed(self) -> list[Tensor]:
        return [self._hidden()]

    @torch.no_grad()
    def back(self, direct: dict[int, Tensor]) -> Found:
        size, before, counts = self.size, self.full.before, self.full.counts
        weight_ih, weight, bias_ih, bias_hh = self.weights
        inputs, hidden, recurrent = self.plan.gather(self.inputs.detach()), self._hidden(), self._passed()
        adjoints = torch.empty_like(hidden[before:])
        steps_of = [self._direct(direct.get(0)), adjoints.split(counts), *self._by_step(recurrent)]
        for steps, rows, children in reversed(self._blocks()):
            previous, count = take(hidden, children), counts[steps]
            given = nn.functional.linear(inputs[rows], weight_ih, bias_ih)
            spread = nn.functional.linear(previous, weight, bias_hh)
            r, z = (given[:, : 2 * size] + spread[:, : 2 * size]).sigmoid_().chunk(2, 1)
            from_hidden = spread[:, 2 * size :]
            n = torch.addcmul(given[:, 2 * size :], r, from_hidden).tanh_()
            slopes = torch.empty_like(spread)
            of_r, of_z, of_n = slopes.chunk(3, 1)
            torch.mul((1 - n * n).mul_(1 - z), r, out=of_n)
            torch.mul(of_n, from_hidden * (1 - r), out=of_r)
            torch.mul(previous - n, torch.addcmul(z, z, z, value=-1), out=of_z)
            local = slopes.split(count), slopes.view(-1, 3, size).split(count), z.split(count)
            here = list(zip(*(part[steps] for part in steps_of), *local, strict=True))
            for g_h, dh, r_h, to_h, slope, of_gates, z_t in reversed(here):
                if g_h is None:
                    dh.copy_(r_h)
                else:
                    torch.add(r_h, g_h, out=dh)
                of_gates.mul_(dh[:, None])
                torch.mul(dh, z_t, out=to_h).addmm_(slope, weight)
        return Found([adjoints], lambda: [recurrent[before:]])


KERNELS: dict[type[Cell], Callable[..., Kernel]] = {LSTM: LSTMKernel, GRU: GRUKernel}
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


def _weights(cell: Cell) -> list[Any]:
    return [cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh]
