"""A forward and a backward pass written out along any structure, as one operation of autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnn_research.cells import GRU, LSTM, RNN, Cell, ChildSumTreeLSTM, NaryTreeLSTM, TreeRNN
from rnn_research.structures import Chain, Forest
from rnn_research.unroll.passes import aside, once
from rnn_research.unroll.torch_kernels.form import ChainKernel, Found, Recorded
from rnn_research.unroll.torch_kernels.gru import GRUUpdate
from rnn_research.unroll.torch_kernels.memory import MemoryUpdate
from rnn_research.unroll.torch_kernels.plan import RowOrder, Where, add, put, take
from rnn_research.unroll.torch_kernels.updates import Update, VanillaUpdate

UPDATES: dict[type[Cell], Callable[..., Update]] = {
    RNN: VanillaUpdate,
    TreeRNN: VanillaUpdate,
    LSTM: MemoryUpdate,
    ChildSumTreeLSTM: MemoryUpdate,
    NaryTreeLSTM: MemoryUpdate,
    GRU: GRUUpdate,
}
"""By the cell's own type: a subclass may have another `step`."""


@dataclass(frozen=True)
class _Back:
    """What a pass back leaves: of each part, the adjoints of a buffer's rows; by arity, its nodes' slopes."""

    adjoints: list[Tensor]
    slopes: dict[int, Tensor]


class Written(ChainKernel):
    """The cell's `Update` in the order of the plan's steps."""

    how = "backward pass written out"

    def __init__(
        self,
        cell: Cell,
        structure: Chain | Forest,
        plan: RowOrder,
        inputs: Tensor,
        initial: tuple[Tensor, ...],
        recorded: Recorded | None,
    ) -> None:
        self.plan = plan
        self.passes = _Passes(UPDATES[type(cell)](cell), cell, self.plan)
        projected = self.passes.update.project(cell, self.plan.gather(inputs))
        self._states: tuple[Tensor, ...] = _Along.apply(self.passes, recorded, projected, cell.weight_hh, *initial)

    def part(self, index: int) -> Tensor:
        return self._states[index]

    def handed(self) -> dict[int, Tensor]:
        return dict(enumerate(self._states))

    def buffers(self) -> list[Tensor]:
        return self.passes.buffers

    @torch.no_grad()
    def back(self, direct: dict[int, Tensor]) -> Found:
        weight = self.passes.weight
        back = self.passes.run_back([direct.get(part) for part in range(len(self._states))], weight)
        return self.passes.found(back, weight)


class _Passes:
    """Forward and back, apart from autograd's graph, which holds this. The tape has the activations, by arity."""

    def __init__(self, update: Update, cell: Cell, plan: RowOrder) -> None:
        self.update, self.plan = update, plan
        self.parts, self.size = len(cell.state_names), cell.hidden_size
        self.weight = cell.weight_hh.detach()
        self.taped = not isinstance(update, VanillaUpdate)
        self.buffers: list[Tensor] = []

    def found(self, back: _Back, weight: Tensor) -> Found:
        before = self.plan.before

        def recurrent() -> list[Tensor]:
            with torch.no_grad():
                parts = [torch.zeros_like(part) for part in back.adjoints]
                for step in self.plan.by_arity:
                    if step.arity:
                        adjoints = [take(part[before:], step.nodes) for part in back.adjoints]
                        self._pass(parts, step.children, adjoints, step.arity, back.slopes[step.arity], weight)
                return [part[before:] for part in parts]

        return Found([part[before:] for part in back.adjoints], recurrent)

    def run(self, projected: Tensor, weight: Tensor, initial: Sequence[Tensor]) -> list[Tensor]:
        plan, before = self.plan, self.plan.before
        buffers = [projected.new_empty(before + plan.rows, self.size) for _ in range(self.parts)]
        for buffer, first in zip(buffers, initial, strict=False):
            buffer[:before] = first
        self.buffers = buffers
        self.tape = {
            step.arity: projected.new_empty(step.within.stop, self.update.width(step.arity) if self.taped else 0)
            for step in plan.by_arity
        }
        for step in plan.steps:
            children = [take(part, step.children) for part in buffers]
            spread = self.update.spread(children[0], step.arity, weight) if step.arity else None
            tape = self.tape[step.arity][step.within]
            parts = self.update.forward(spread, take(projected, step.nodes), children, step.arity, tape, weight)
            for buffer, part in zip(buffers, parts, strict=True):
                put(buffer[before:], step.nodes, part)
        return [part[before:] for part in buffers]

    def run_back(self, direct: Sequence[Tensor | None], weight: Tensor) -> _Back:
        plan, before, buffers = self.plan, self.plan.before, self.buffers
        adjoints = []
        for buffer, grad in zip(buffers, direct, strict=True):
            of = torch.zeros_like(buffer) if grad is None else torch.empty_like(buffer)
            of[:before] = 0
            if grad is not None:
                of[before:] = grad
            adjoints.append(of)
        slopes = {
            step.arity: buffers[0].new_empty(step.within.stop, self.update.width(step.arity)) for step in plan.by_arity
        }
        for step in reversed(plan.steps):
            own = [take(part[before:], step.nodes) for part in buffers]
            children = [take(part, step.children) for part in buffers]
            of = [take(part[before:], step.nodes) for part in adjoints]
            tape, of_step = self.tape[step.arity][step.within], slopes[step.arity][step.within]
            self.update.backward(of, own, children, step.arity, tape, weight, of_step)
            if not isinstance(step.nodes, slice):
                for part, rows in zip(adjoints[1:], of[1:], strict=True):  # in which they gained
                    put(part[before:], step.nodes, rows)
            if step.arity:
                self._pass(adjoints, step.children, of, step.arity, of_step, weight, tape)
        return _Back(adjoints, slopes)

    def _pass(
        self,
        to: list[Tensor],
        children: Where,
        adjoints: list[Tensor],
        arity: int,
        slopes: Tensor,
        weight: Tensor,
        tape: Tensor | None = None,
    ) -> None:
        """Add to the children what they are due of their nodes' gradients."""
        add(to[0], children, self.update.collect(slopes, arity, weight))
        tape = self.tape[arity] if tape is None else tape
        for part, rows in zip(to, self.update.carried(adjoints, arity, tape, weight, slopes), strict=True):
            if rows is not None:
                add(part, children, rows)

    def of_projected(self, back: _Back) -> Tensor:
        rows = {step.arity: self.update.of_inputs(back.slopes[step.arity], step.arity) for step in self.plan.by_arity}
        of = next(iter(rows.values())).new_empty(self.plan.rows, self.update.inputs)
        for step in self.plan.by_arity:
            put(of, step.nodes, rows[step.arity])
        return of


class _Along(torch.autograd.Function):
    """(passes, recorded, projected inputs, recurrent weight, *initial) -> the parts of the states."""

    @staticmethod
    def forward(
        ctx: Any, passes: _Passes, recorded: Recorded | None, projected: Tensor, weight: Tensor, *initial: Tensor
    ) -> Any:
        states = passes.run(projected, weight, initial)
        ctx.passes, ctx.recorded = passes, recorded
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(weight, *passes.buffers)
        return tuple(states)

    @staticmethod
    def backward(ctx: Any, *direct: Tensor | None) -> Any:
        once("torch")
        passes: _Passes = ctx.passes
        plan = passes.plan
        weight, hidden, *_ = ctx.saved_tensors
        back = passes.run_back(direct, weight)
        if ctx.recorded is not None and not aside():
            ctx.recorded.add(direct, passes.found(back, passes.weight))
        _, _, needs_projected, needs_weight, *needs_initial = ctx.needs_input_grad
        of_projected = passes.of_projected(back) if needs_projected else None
        of_weight = None
        if needs_weight and not aside():
            of_weight = torch.zeros_like(weight)
            for step in plan.by_arity:
                if step.arity:
                    children, tape = take(hidden, step.children), passes.tape[step.arity]
                    passes.update.weigh(back.slopes[step.arity], children, step.arity, tape, of_weight)
        initial = zip(back.adjoints, needs_initial, strict=False)
        of_initial = [part[: plan.before] if need else None for part, need in initial]
        return None, None, of_projected, of_weight, *of_initial
