"""Torch's fused LSTM, and the recursion that finds its adjoints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from rnn_research.unroll.torch_kernels.chain_kernel import BackwardPass
from rnn_research.unroll.torch_kernels.fused_kernel import AdjointTap, FusedKernel, weights_of
from rnn_research.unroll.torch_kernels.row_order import cut, put, take


class LSTMKernel(FusedKernel):
    """c is made where it is asked for, from the kernel's h: as a function of these its gradient is right, through
    them and through the gates."""

    name = "LSTM"
    call = torch._VF.lstm  # pyright: ignore[reportAttributeAccessIssue]

    def begin(self, first: tuple[Tensor, ...]) -> Any:
        return first

    def part(self, index: int) -> Tensor:
        if index == 1 and 1 not in self._handed:
            with torch.set_grad_enabled(self.graded):
                self._handed[1] = AdjointTap.apply(self.recorded, 1, self._memory())
        return self._handed[index]

    def _memory(self) -> Tensor:
        """c at every row, in the graph of autograd."""
        hidden, memory = self.initial or (self.zero, self.zero)
        weight_ih, weight_hh, *biases = weights_of(self.cell)
        bias = None if biases[0] is None else biases[0] + biases[1]
        pre = nn.functional.linear(self.row_order.gather(self.inputs), weight_ih, bias)
        pre = pre + take(torch.cat([hidden, self.outputs.reshape(-1, self.size)]), self._children) @ weight_hh.t()
        i, f, g, _ = pre.chunk(4, 1)
        memories, counts = [], self.full.counts
        gained = torch.sigmoid(i) * torch.tanh(g)
        for gain, kept in zip(cut(gained, counts), cut(torch.sigmoid(f), counts), strict=True):
            memory = torch.addcmul(gain, kept, memory[: len(gain)])
            memories.append(memory)
        return torch.cat(memories)

    @torch.no_grad()
    def replayed(self) -> list[Tensor]:
        return [self._hidden(), self._replayed()[1]]

    def _replayed(self) -> tuple[list[Tensor], Tensor]:
        """The gates (rows, 4 hidden), block by block, and c with the one before the first."""
        size, before, counts = self.size, self.full.before, self.full.counts
        weight_ih, weight_hh, bias = self._read()
        inputs, previous = self.row_order.gather(self.inputs.detach()), self._previous()
        memory = inputs.new_empty(before + self.full.rows, size)
        memory[:before] = self._before(1)
        gates, of, last = [], cut(memory[before:], counts), memory[:before]
        for steps, rows, _ in self._blocks():
            block = inputs.new_empty(rows.stop - rows.start, 4 * size)
            if bias is None:
                torch.mm(inputs[rows], weight_ih, out=block)
            else:
                torch.addmm(bias, inputs[rows], weight_ih, out=block)
            block.addmm_(previous(rows), weight_hh).sigmoid_()
            i, f, g, _ = block.chunk(4, 1)
            g.mul_(2).sub_(1)
            torch.mul(i, g, out=memory[before:][rows])
            for count, memory_t, f_t in zip(counts[steps], of[steps], cut(f, counts[steps]), strict=True):
                memory_t.addcmul_(f_t, last if self.full.uniform else last[:count])
                last = memory_t
            gates.append(block)
        return gates, memory

    def _read(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """The weights as they were, transposed; those of g doubled, tanh(x) = 2 s(2 x) - 1, which is quicker."""
        weight_ih, weight_hh, *biases = self.weights
        of_g = slice(2 * self.size, 3 * self.size)
        read = []
        for weight in (weight_ih, weight_hh, None if biases[0] is None else biases[0] + biases[1]):
            doubled = None if weight is None else weight.clone()
            if doubled is not None:
                doubled[of_g] *= 2
            read.append(doubled)
        return read[0].t(), read[1].t(), read[2]

    @torch.no_grad()
    def back(self, direct: dict[int, Tensor]) -> BackwardPass:
        counts, weight = self.full.counts, self.weights[1]
        adjoints = [self._filled(direct.get(part)) for part in range(2)]
        of_hidden, of_memory = (cut(part, counts) for part in adjoints)
        beside = cut(adjoints[1][:, None], counts)  # for three gates at once
        views: list[Any] = []
        viewed: tuple[int, ...] = ()
        for steps, grad_preactivations, inside, forget in self._blocks_back():
            count = counts[steps]
            if count != viewed:
                by_gate = grad_preactivations.view(-1, 4, self.size)
                views = [cut(part, count) for part in (grad_preactivations, by_gate[:, :3], by_gate[:, 3], inside)]
                viewed = count
            kept = cut(forget, count)
            for k in range(len(count) - 1, -1, -1):
                t = steps.start + k
                dh, dc = of_hidden[t], of_memory[t]
                grad, of_dc, of_dh, dh_dc = (part[k] for part in views)
                dc.addcmul_(dh, dh_dc)
                of_dc.mul_(beside[t])
                of_dh.mul_(dh)
                if t:
                    to_h, to_c = of_hidden[t - 1], of_memory[t - 1]
                    if count[k] != counts[t - 1]:
                        to_h, to_c = to_h[: count[k]], to_c[: count[k]]
                    to_h.addmm_(grad, weight)
                    to_c.addcmul_(dc, kept[k])
        return BackwardPass(adjoints, lambda: self._recurrent(adjoints))

    @torch.no_grad()
    def _recurrent(self, adjoints: list[Tensor]) -> list[Tensor]:
        before, size = self.full.before, self.size
        passed = [part.new_zeros(before + self.full.rows, size) for part in adjoints]
        blocks = reversed(self._blocks())
        for (_, rows, children), (_, grad_preactivations, _, forget) in zip(blocks, self._blocks_back(), strict=True):
            of_hidden, of_memory = (part[rows] for part in adjoints)
            by_gate = grad_preactivations.view(-1, 4, size)
            by_gate[:, :3] *= of_memory[:, None]
            by_gate[:, 3] *= of_hidden
            put(passed[0], children, grad_preactivations @ self.weights[1])
            put(passed[1], children, of_memory * forget)
        return [part[before:] for part in passed]

    def _blocks_back(self) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
        """From the last block of steps: them, the derivatives in the pre-activations of i, f and g per dL/dc, and of o
        per dL/dh, dh/dc at the same position, and f. The same memory serves all blocks."""
        gates, memory = self._replayed()
        hidden, own = self.outputs.detach().reshape(-1, self.size), memory[self.full.before :]
        scratch: list[Tensor] = []
        for steps, rows, children in reversed(self._blocks()):
            block = gates.pop()
            if not scratch or len(scratch[0]) != len(block):
                scratch = [torch.empty_like(block), *(torch.empty_like(own[rows]) for _ in range(2))]
            grad_preactivations, inside, other = scratch
            _derivatives(block, hidden[rows], own[rows], take(memory, children), grad_preactivations, inside, other)
            yield steps, grad_preactivations, inside, block[:, self.size : 2 * self.size]


def _derivatives(
    gates: Tensor, hidden: Tensor, memory: Tensor, previous: Tensor, out: Tensor, inside: Tensor, scratch: Tensor
) -> None:
    i, f, g, o = gates.chunk(4, 1)
    of_i, of_f, of_g, of_o = out.chunk(4, 1)
    # 1 - tanh(c)^2 = 4 s (1 - s) with s = sigmoid(2 c), which is quicker than a tanh
    torch.mul(memory, 2, out=inside).sigmoid_()
    torch.addcmul(inside, inside, inside, value=-1, out=scratch).mul_(4)
    torch.mul(scratch, o, out=inside)
    torch.addcmul(hidden, hidden, o, value=-1, out=of_o)
    torch.addcmul(i, i, i, value=-1, out=scratch)
    torch.mul(scratch, g, out=of_i)
    torch.mul(g, g, out=scratch)
    torch.addcmul(i, i, scratch, value=-1, out=of_g)
    torch.addcmul(f, f, f, value=-1, out=scratch)
    torch.mul(scratch, previous, out=of_f)
