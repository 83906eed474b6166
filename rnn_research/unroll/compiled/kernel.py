"""The driver called on tensors, forwards and backwards, as one operation of autograd."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rnn_research.cells.base import Cell
from rnn_research.structures import Chain, Forest
from rnn_research.unroll.compiled import structs, tapes
from rnn_research.unroll.compiled.acted import Acted, Limits
from rnn_research.unroll.compiled.compiled import compiled
from rnn_research.unroll.compiled.schedule import schedule
from rnn_research.unroll.intervention import Intervention, NormsByPoint
from rnn_research.unroll.passes import aside, once


@dataclass
class Recorded:
    """What backward passes left: of all parts, rows as the schedule's."""

    kinds: int
    """Of how many of: the adjoints, their direct and recurrent parts, norms are taken in passing. 1 or 3."""
    count: int = 0
    """Backward passes."""
    adjoints: Sequence[Tensor] = ()
    norms: Sequence[Tensor] = ()
    direct: Sequence[Tensor | None] = ()
    tape: Tensor | None = None
    """What the forward pass kept for the backward passes; None: nothing."""
    passes: list[Pass] = field(default_factory=list)
    """Where something acts: what each pass is made of, as its parts do not follow from a sum of passes."""

    def add(self, found: Found, direct: Sequence[Tensor | None]) -> None:
        """Gradients add up over backward passes, as `.grad` does; the norms of sums are not in what is there."""
        self.count += 1
        if self.count == 1:
            self.adjoints, self.norms, self.direct = found.adjoints, found.norms, direct
            return
        self.adjoints = [a + b for a, b in zip(self.adjoints, found.adjoints, strict=True)]
        self.direct = [b if a is None else a if b is None else a + b for a, b in zip(self.direct, direct, strict=True)]
        self.norms = ()


@dataclass(frozen=True)
class Pass:
    """A backward pass in which something acts: the gradients from outside, the thresholds, and the factor by which
    each row's adjoint was multiplied."""

    direct: Sequence[Tensor | None]
    limits: Limits
    factor: Tensor


@dataclass(frozen=True)
class Wanted:
    """What a backward pass is to give besides the adjoints."""

    inputs: bool = False
    tensors: Sequence[bool] = ()
    norms: int = 0
    """Of how many of: the adjoints, their direct and recurrent parts. 0, 1 or 3."""
    recurrent: bool = False
    limits: Limits | None = None
    """What acts has these thresholds; None: as they are now."""


@dataclass(frozen=True)
class Found:
    adjoints: list[Tensor]
    initial: list[Tensor]
    inputs: Tensor | None
    gradients: list[Tensor | None]
    norms: list[Tensor]
    recurrent: list[Tensor]
    acted: Acted | None


class Along(torch.autograd.Function):
    """(kernel, recorded, points, keep, inputs, *initial, *tensors) -> the parts of the states. What acts adds its
    record to `points`."""

    @staticmethod
    def forward(
        ctx: Any, kernel: Kernel, recorded: Recorded | None, points: NormsByPoint, keep: bool, *arguments: Tensor
    ) -> Any:
        count = kernel.parts if kernel.initial else 0
        inputs, initial, tensors = arguments[0], arguments[1 : 1 + count], arguments[1 + count :]
        states, tape = kernel.forward(inputs, initial, tensors, keep)
        ctx.kernel, ctx.recorded, ctx.points, ctx.count = kernel, recorded, points, count
        ctx.set_materialize_grads(False)
        if keep:
            if recorded is not None:
                recorded.tape = tape
            ctx.save_for_backward(inputs, *tensors, *states, tape)
        return tuple(states)

    @staticmethod
    def backward(ctx: Any, *direct: Tensor | None) -> Any:
        once("native")
        kernel, count = ctx.kernel, ctx.count
        inputs, *rest = ctx.saved_tensors
        tensors, states, tape = rest[: -1 - kernel.parts], rest[-1 - kernel.parts : -1], rest[-1]
        needed = ctx.needs_input_grad[4:]
        used = kernel.compiled.used
        side = aside()
        of_tensors = [need and not side and number in used for number, need in enumerate(needed[1 + count :])]
        recorded: Recorded | None = None if side else ctx.recorded
        wanted = Wanted(inputs=needed[0], tensors=of_tensors, norms=recorded.kinds if recorded else 0)
        found = kernel.backward(direct, inputs, tensors, states, tape, wanted)
        if recorded:
            recorded.add(found, direct)
        if found.acted and not side:
            found.acted.add_to(ctx.points)
            if recorded:
                recorded.passes.append(Pass(direct, found.acted.limits, found.acted.factor))
        initial = [grad if need else None for grad, need in zip(found.initial, needed[1 : 1 + count], strict=True)]
        return None, None, None, None, found.inputs, *initial, *found.gradients


class Kernel:
    """The driver called on tensors, for one cell, structure and precision."""

    def __init__(
        self,
        cell: Cell,
        structure: Chain | Forest,
        dtype: torch.dtype,
        initial: bool,
        inside: Intervention | None = None,
    ) -> None:
        self.schedule = schedule(structure, initial)
        self.inside = inside
        self.compiled = compiled(cell, self.schedule.arities, dtype, inside is not None)
        self.parts, self.hidden, self.initial = len(cell.state_names), cell.hidden_size, initial
        self.batch = len(structure) if isinstance(structure, Chain) else None
        self.table = self.compiled.table(self.schedule)

    def forward(
        self, inputs: Tensor, initial: Sequence[Tensor], tensors: Sequence[Tensor], keep: bool
    ) -> tuple[list[Tensor], Tensor]:
        """The states at every position, and the tape (whole if it is to be kept)."""
        plan = self.schedule
        before = plan.inner if self.initial else 0
        make = torch.zeros if plan.padded else torch.empty
        states = []
        for part in range(self.parts):
            rows = make(before + plan.rows, self.hidden, dtype=inputs.dtype)
            if before:
                rows[:before] = initial[part]
            states.append(rows[before:])
        tape = tapes.take(self.compiled.tape_size(plan, keep) * self.hidden, inputs.dtype)
        tensors = [tensor.contiguous() for tensor in tensors]
        inputs = _side_by_side(inputs)
        fold = self._fold(inputs, tensors, states, tape, keep)
        self._call(self.compiled.driver.fold_forward, fold)
        return [self.placed(part) for part in states], tape

    def backward(
        self,
        direct: Sequence[Tensor | None],
        inputs: Tensor,
        tensors: Sequence[Tensor],
        states: Sequence[Tensor],
        tape: Tensor,
        wanted: Wanted,
    ) -> Found:
        """What is wanted, given the gradient in each part of the states from outside."""
        plan, dtype = self.schedule, inputs.dtype
        before = plan.inner if self.initial else 0
        inputs = _side_by_side(inputs)
        tensors = [tensor.contiguous() for tensor in tensors]
        direct = [None if grad is None else _side_by_side(grad) for grad in direct]
        make = torch.zeros if plan.padded else torch.empty  # the driver clears each row before it adds to it
        with_initial = [make(before + plan.rows, self.hidden, dtype=dtype) for _ in range(self.parts)]
        adjoints = [rows[before:] for rows in with_initial]
        for rows in adjoints:
            rows[plan.last] = 0
        gradients = [
            torch.zeros_like(tensor) if want else None
            for tensor, want in zip(tensors, wanted.tensors or [False] * len(tensors), strict=True)
        ]
        count = self.parts
        norms = [torch.zeros(plan.rows, dtype=torch.float64) for _ in range(wanted.norms * count)]
        recurrent = [torch.zeros_like(part) for part in adjoints] if wanted.recurrent else []
        fold = self._fold(inputs, tensors, states, tape, True)
        fold.gradient = structs.pointers(gradients)
        fold.adjoint = structs.pointers(adjoints)
        fold.direct = structs.array(structs.RowsStruct, [self._rows(grad) for grad in direct])
        dinputs = None
        if wanted.inputs:
            dinputs = self.placed(torch.zeros(plan.rows, inputs.shape[-1], dtype=dtype))
            fold.dinput = self._rows(dinputs)
        if norms:
            fold.norm = structs.pointers([*norms, *[None] * (3 * count - len(norms))])
        if recurrent:
            fold.recurrent = structs.pointers(recurrent)
        acted = None
        if self.inside is not None:
            acted = Acted(self.inside, plan.rows, before, self.rows_of, count, wanted.limits)
            fold.intervention = ctypes.pointer(acted.struct)
        self._call(self.compiled.driver.fold_backward, fold)
        first = [rows[:before] for rows in with_initial] if before else []
        return Found(adjoints, first, dinputs, gradients, norms, recurrent, acted)

    def _fold(
        self, inputs: Tensor, tensors: Sequence[Tensor], states: Sequence[Tensor], tape: Tensor, keep: bool
    ) -> Any:
        plan = self.schedule
        sizes = self.hidden, inputs.shape[-1], self.parts, len(plan.count), len(plan.arities), len(tensors)
        fold = structs.FoldStruct(*sizes, self.table, *plan.addresses)
        fold.tensor = structs.pointers(tensors)
        fold.state = structs.pointers(states)
        fold.tape, fold.keep = tape.data_ptr(), keep
        fold.input = self._rows(inputs)
        return fold

    def _call(self, function: Any, fold: Any) -> None:
        if function(ctypes.byref(fold)):
            raise MemoryError("engine=native: no memory for the kernel's scratch; use a smaller batch")

    def _rows(self, tensor: Tensor | None) -> Any:
        """Where row r of a tensor on the structure's positions lies."""
        if tensor is None:
            return structs.RowsStruct()
        if self.batch is None:
            return structs.RowsStruct(tensor.data_ptr(), 1, tensor.stride(0), tensor.stride(0))
        return structs.RowsStruct(tensor.data_ptr(), self.batch, tensor.stride(0), tensor.stride(1))

    def placed(self, rows: Tensor) -> Tensor:
        """The schedule's rows -> the structure's positions, as a view."""
        if self.batch is None:
            return rows
        return rows.view(-1, self.batch, *rows.shape[1:]).transpose(0, 1)

    def rows_of(self, values: Tensor) -> Tensor:
        """The inverse of `placed`, for a number a position."""
        return values if self.batch is None else values.transpose(0, 1).reshape(-1)

    def positions(self, rows: Tensor) -> Tensor:
        """The schedule's row numbers -> flat positions."""
        if self.batch is None:
            return rows
        return rows % self.batch * (self.schedule.rows // self.batch) + rows // self.batch


def _side_by_side(tensor: Tensor) -> Tensor:
    """With the features of a row side by side, as the kernel reads them."""
    return tensor if tensor.stride(-1) == 1 or tensor.shape[-1] == 1 else tensor.contiguous()
