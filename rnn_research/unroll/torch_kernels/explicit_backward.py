"""An explicit forward and backward pass along any structure, as one operation of autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnn_research.cells import GRU, LSTM, RNN, Cell, ChildSumTreeLSTM, NaryTreeLSTM, TreeRNN
from rnn_research.structures import Chain, Forest
from rnn_research.structures.order import Rows
from rnn_research.unroll.backward import recording_disabled, refuse_second_derivative
from rnn_research.unroll.torch_kernels.chain_kernel import BackwardPass, ChainKernel, KernelRecord
from rnn_research.unroll.torch_kernels.explicit_update import ExplicitUpdate, VanillaUpdate
from rnn_research.unroll.torch_kernels.gru_update import GRUUpdate
from rnn_research.unroll.torch_kernels.lstm_update import LSTMUpdate
from rnn_research.unroll.torch_kernels.row_order import RowOrder, add, put, take

UPDATES: dict[type[Cell], Callable[..., ExplicitUpdate]] = {
    RNN: VanillaUpdate,
    TreeRNN: VanillaUpdate,
    LSTM: LSTMUpdate,
    ChildSumTreeLSTM: LSTMUpdate,
    NaryTreeLSTM: LSTMUpdate,
    GRU: GRUUpdate,
}
"""By the cell's own type: a subclass may have another `step`."""


@dataclass(frozen=True)
class _Gradients:
    """What a pass back leaves: the adjoints of each buffer's rows, and by arity the gradients in the
    pre-activations."""

    adjoints: list[Tensor]
    grad_preactivations: dict[int, Tensor]


class ExplicitBackward(ChainKernel):
    """The cell's `ExplicitUpdate`, one group of rows after another."""

    how = "backward pass written out"

    def __init__(
        self,
        cell: Cell,
        structure: Chain | Forest,
        row_order: RowOrder,
        inputs: Tensor,
        initial: tuple[Tensor, ...],
        recorded: KernelRecord | None,
    ) -> None:
        self.row_order = row_order
        self.passes = _ExplicitPasses(UPDATES[type(cell)](cell), cell, self.row_order)
        projected = self.passes.update.project(cell, self.row_order.gather(inputs))
        self._states: tuple[Tensor, ...] = _ExplicitFunction.apply(
            self.passes, recorded, projected, cell.weight_hh, *initial
        )

    def part(self, index: int) -> Tensor:
        return self._states[index]

    def handed(self) -> dict[int, Tensor]:
        return dict(enumerate(self._states))

    def buffers(self) -> list[Tensor]:
        return self.passes.buffers

    @torch.no_grad()
    def back(self, direct: dict[int, Tensor]) -> BackwardPass:
        weight = self.passes.weight
        back = self.passes.run_back([direct.get(part) for part in range(len(self._states))], weight)
        return self.passes.found(back, weight)


class _ExplicitPasses:
    """The passes themselves. Autograd's graph holds this object. The tape has the activations, by arity."""

    def __init__(self, update: ExplicitUpdate, cell: Cell, row_order: RowOrder) -> None:
        self.update, self.row_order = update, row_order
        self.parts, self.size = len(cell.state_names), cell.hidden_size
        self.weight = cell.weight_hh.detach()
        self.taped = not isinstance(update, VanillaUpdate)
        self.buffers: list[Tensor] = []

    def found(self, back: _Gradients, weight: Tensor) -> BackwardPass:
        before, weight = self.row_order.before, weight.clone()  # changed by `.data`, it would tell nobody

        def recurrent() -> list[Tensor]:
            with torch.no_grad():
                parts = [torch.zeros_like(part) for part in back.adjoints]
                for group in self.row_order.by_arity:
                    if group.arity:
                        adjoints = [take(part[before:], group.nodes) for part in back.adjoints]
                        self._pass(
                            parts, group.children, adjoints, group.arity, back.grad_preactivations[group.arity], weight
                        )
                return [part[before:] for part in parts]

        return BackwardPass([part[before:] for part in back.adjoints], recurrent)

    def run(self, projected: Tensor, weight: Tensor, initial: Sequence[Tensor]) -> list[Tensor]:
        row_order, before = self.row_order, self.row_order.before
        buffers = [projected.new_empty(before + row_order.rows, self.size) for _ in range(self.parts)]
        for buffer, first in zip(buffers, initial, strict=False):
            buffer[:before] = first
        self.buffers = buffers
        self.tape = {
            group.arity: projected.new_empty(group.within.stop, self.update.width(group.arity) if self.taped else 0)
            for group in row_order.by_arity
        }
        for group in row_order.groups:
            children = [take(part, group.children) for part in buffers]
            spread = self.update.spread(children[0], group.arity, weight) if group.arity else None
            tape = self.tape[group.arity][group.within]
            parts = self.update.forward(spread, take(projected, group.nodes), children, group.arity, tape, weight)
            for buffer, part in zip(buffers, parts, strict=True):
                put(buffer[before:], group.nodes, part)
        return [part[before:] for part in buffers]

    def run_back(self, direct: Sequence[Tensor | None], weight: Tensor) -> _Gradients:
        row_order, before, buffers = self.row_order, self.row_order.before, self.buffers
        adjoints = []
        for buffer, grad in zip(buffers, direct, strict=True):
            of = torch.zeros_like(buffer) if grad is None else torch.empty_like(buffer)
            of[:before] = 0
            if grad is not None:
                of[before:] = grad
            adjoints.append(of)
        grad_preactivations = {
            group.arity: buffers[0].new_empty(group.within.stop, self.update.width(group.arity))
            for group in row_order.by_arity
        }
        for group in reversed(row_order.groups):
            own = [take(part[before:], group.nodes) for part in buffers]
            children = [take(part, group.children) for part in buffers]
            of = [take(part[before:], group.nodes) for part in adjoints]
            tape, of_group = self.tape[group.arity][group.within], grad_preactivations[group.arity][group.within]
            self.update.backward(of, own, children, group.arity, tape, weight, of_group)
            if not isinstance(group.nodes, slice):
                for part, rows in zip(adjoints[1:], of[1:], strict=True):  # in which they gained
                    put(part[before:], group.nodes, rows)
            if group.arity:
                self._pass(adjoints, group.children, of, group.arity, of_group, weight, tape)
        return _Gradients(adjoints, grad_preactivations)

    def _pass(
        self,
        to: list[Tensor],
        children: Rows,
        adjoints: list[Tensor],
        arity: int,
        grad_preactivations: Tensor,
        weight: Tensor,
        tape: Tensor | None = None,
    ) -> None:
        """Add to the children what they are due of their nodes' gradients."""
        add(to[0], children, self.update.collect(grad_preactivations, arity, weight))
        tape = self.tape[arity] if tape is None else tape
        for part, rows in zip(to, self.update.carried(adjoints, arity, tape, weight, grad_preactivations), strict=True):
            if rows is not None:
                add(part, children, rows)

    def of_projected(self, back: _Gradients) -> Tensor:
        rows = {
            group.arity: self.update.of_inputs(back.grad_preactivations[group.arity], group.arity)
            for group in self.row_order.by_arity
        }
        of = next(iter(rows.values())).new_empty(self.row_order.rows, self.update.inputs)
        for group in self.row_order.by_arity:
            put(of, group.nodes, rows[group.arity])
        return of


class _ExplicitFunction(torch.autograd.Function):
    """(passes, recorded, projected inputs, recurrent weight, *initial) -> the parts of the states."""

    @staticmethod
    def forward(
        ctx: Any,
        passes: _ExplicitPasses,
        recorded: KernelRecord | None,
        projected: Tensor,
        weight: Tensor,
        *initial: Tensor,
    ) -> Any:
        states = passes.run(projected, weight, initial)
        ctx.passes, ctx.recorded = passes, recorded
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(weight, *passes.buffers)
        return tuple(states)

    @staticmethod
    def backward(ctx: Any, *direct: Tensor | None) -> Any:
        refuse_second_derivative("torch")
        passes: _ExplicitPasses = ctx.passes
        row_order = passes.row_order
        weight, hidden, *_ = ctx.saved_tensors
        back = passes.run_back(direct, weight)
        if ctx.recorded is not None and not recording_disabled():
            ctx.recorded.add_found(direct, passes.found(back, passes.weight))
        _, _, needs_projected, needs_weight, *needs_initial = ctx.needs_input_grad
        of_projected = passes.of_projected(back) if needs_projected else None
        of_weight = None
        if needs_weight and not recording_disabled():
            of_weight = torch.zeros_like(weight)
            for group in row_order.by_arity:
                if group.arity:
                    children, tape = take(hidden, group.children), passes.tape[group.arity]
                    passes.update.weigh(back.grad_preactivations[group.arity], children, group.arity, tape, of_weight)
        initial = zip(back.adjoints, needs_initial, strict=False)
        of_initial = [part[: row_order.before] if need else None for part, need in initial]
        return None, None, of_projected, of_weight, *of_initial
