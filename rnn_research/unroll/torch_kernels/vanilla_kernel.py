"""A vanilla RNN along a chain, forward and back, as one operation of autograd.

Its time is the interpreter's and the memory's: two operations a step on states that are made, and stay, in place.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rnn_research.cells import RNN
from rnn_research.cells.nonlinearities import Nonlinearity
from rnn_research.structures import Chain
from rnn_research.unroll.backward import recording_disabled, refuse_second_derivative
from rnn_research.unroll.torch_kernels.chain_kernel import BackwardPass, ChainKernel, KernelRecord
from rnn_research.unroll.torch_kernels.explicit_update import known_nonlinearity
from rnn_research.unroll.torch_kernels.row_order import RowOrder, cut, put, take


class VanillaKernel(ChainKernel):
    """h = f(W x + U h' + b). Its h is cut into steps where all are equally long, as a fused kernel's."""

    how = "backward pass written out"

    def __init__(
        self, cell: RNN, chain: Chain, row_order: RowOrder, inputs: Tensor, initial: tuple[Tensor, ...], recorded: Any
    ) -> None:
        self.row_order = row_order
        self.passes = _VanillaPasses(known_nonlinearity(cell), row_order)
        weight = cell.weight_hh
        if weight.shape[1] > cell.hidden_size:  # the rest is for other children
            weight = weight[:, : cell.hidden_size]
        self.weight = weight.detach()
        weights = cell.weight_ih, weight, cell.bias_ih, cell.bias_hh
        self._hidden: Tensor = _VanillaFunction.apply(
            self.passes, recorded, row_order.gather(inputs), *weights, *initial
        )

    def part(self, index: int) -> Tensor:
        return self._hidden

    def handed(self) -> dict[int, Tensor]:
        return {0: self._hidden}

    def buffers(self) -> list[Tensor]:
        return [self.passes.buffer]

    @torch.no_grad()
    def back(self, direct: dict[int, Tensor]) -> BackwardPass:
        grad = direct[0] if 0 in direct else torch.zeros_like(self._hidden)
        return self.passes.found(*self.passes.run_back(grad, self.weight), self.weight)


class _VanillaPasses:
    """The passes themselves. Autograd's graph holds this object. `buffer` has the initial state, if there is one, and
    then the states."""

    buffer: Tensor

    def __init__(self, f: Nonlinearity, row_order: RowOrder) -> None:
        self.row_order = row_order
        self.f = f

    def run(
        self, inputs: Tensor, weight_ih: Tensor, weight: Tensor, bias: Tensor | None, initial: tuple[Tensor, ...]
    ) -> Tensor:
        row_order, before, size, f = self.row_order, self.row_order.before, len(weight), self.f.apply_in_place
        self.buffer = buffer = inputs.new_empty(before + row_order.rows, size)
        states = buffer[before:]
        if bias is None:
            torch.mm(inputs, weight_ih.t(), out=states)
        else:
            torch.addmm(bias, inputs, weight_ih.t(), out=states)
        transposed, previous, width = weight.t().contiguous(), None, before
        if before:
            previous = buffer[:before].copy_(initial[0])
        for own, count in zip(cut(states, row_order.counts), row_order.counts, strict=True):
            if previous is not None:
                own.addmm_(previous if width == count else previous[:count], transposed)
            f(own)
            previous, width = own, count
        return states.view(len(row_order.counts), -1, size) if row_order.uniform else states

    def run_back(self, direct: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The adjoints of the buffer, and the gradients in the pre-activations."""
        row_order, before, counts, backward = (
            self.row_order,
            self.row_order.before,
            self.row_order.counts,
            self.f.backward,
        )
        adjoints = torch.empty_like(self.buffer)
        grad_preactivations = torch.empty_like(adjoints[before:])
        steps = [cut(rows, counts) for rows in (adjoints[before:], self.buffer[before:], grad_preactivations)]
        if row_order.uniform:
            outside = direct.unbind()
            steps[0][-1].copy_(outside[-1])
        else:
            outside = ()
            adjoints[before:] = direct
        for t in range(len(counts) - 1, -1, -1):
            of, own, grad = (part[t] for part in steps)
            backward(of, own, grad)
            if t and outside:
                torch.addmm(outside[t - 1], grad, weight, out=steps[0][t - 1])
            elif t:
                steps[0][t - 1][: counts[t]].addmm_(grad, weight)
            elif before:
                torch.mm(grad, weight, out=adjoints[:before])
        return adjoints, grad_preactivations

    def found(self, adjoints: Tensor, grad_preactivations: Tensor, weight: Tensor) -> BackwardPass:
        before, weight = self.row_order.before, weight.clone()  # changed by `.data`, it would tell nobody

        def recurrent() -> list[Tensor]:
            with torch.no_grad():
                passed = torch.zeros_like(adjoints)
                for group in self.row_order.by_arity:
                    if group.arity:
                        put(passed, group.children, take(grad_preactivations, group.nodes) @ weight)
                return [passed[before:]]

        return BackwardPass([adjoints[before:]], recurrent)


class _VanillaFunction(torch.autograd.Function):
    """(passes, recorded, inputs, both weights, both biases, *initial) -> h."""

    @staticmethod
    def forward(
        ctx: Any,
        passes: _VanillaPasses,
        recorded: KernelRecord | None,
        inputs: Tensor,
        weight_ih: Tensor,
        weight: Tensor,
        bias_ih: Tensor | None,
        bias_hh: Tensor | None,
        *initial: Tensor,
    ) -> Tensor:
        bias = None if bias_ih is None or bias_hh is None else bias_ih + bias_hh
        hidden = passes.run(inputs, weight_ih, weight, bias, initial)
        ctx.passes, ctx.recorded = passes, recorded
        ctx.save_for_backward(inputs, weight_ih, weight, passes.buffer)
        return hidden

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        refuse_second_derivative("torch")
        passes: _VanillaPasses = ctx.passes
        inputs, weight_ih, weight, buffer = ctx.saved_tensors
        adjoints, grad_preactivations = passes.run_back(grads[0], weight)
        if ctx.recorded is not None and not recording_disabled():
            ctx.recorded.add_found(grads, passes.found(adjoints, grad_preactivations, weight.detach()))
        of_inputs = of_input_weight = of_weight = of_bias = None
        _, _, inputs_need, weight_ih_needs, weight_needs, bias_needs, _, *initial_needs = ctx.needs_input_grad
        if inputs_need:
            of_inputs = grad_preactivations @ weight_ih
        if not recording_disabled():
            if weight_ih_needs:
                of_input_weight = grad_preactivations.t() @ inputs
            if weight_needs:
                of_weight = torch.zeros_like(weight)
                for group in passes.row_order.by_arity:
                    if group.arity:
                        of_weight.addmm_(take(grad_preactivations, group.nodes).t(), take(buffer, group.children))
            if bias_needs:
                of_bias = grad_preactivations.sum(0)
        of_initial = [adjoints[: passes.row_order.before] if need else None for need in initial_needs]
        return None, None, of_inputs, of_input_weight, of_weight, of_bias, of_bias, *of_initial
