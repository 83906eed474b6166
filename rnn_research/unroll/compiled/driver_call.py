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
from rnn_research.unroll.backward import BackwardRecord, recording_disabled, refuse_second_derivative
from rnn_research.unroll.compiled import buffer_pool, structs
from rnn_research.unroll.compiled.intervention import DriverIntervention, Limits
from rnn_research.unroll.compiled.schedule import schedule
from rnn_research.unroll.compiled.updates import compile_updates
from rnn_research.unroll.intervention import Intervention, NormsByPoint


@dataclass
class DriverRecord(BackwardRecord):
    """The record of the driver: rows as the schedule's, an entry a part of the states."""

    kinds: int = 1
    """Of how many of the adjoints, their direct and their recurrent parts norms are taken in passing: 1 or 3."""
    adjoints: Sequence[Tensor] = ()
    norms: Sequence[Tensor] = ()
    """Of the only pass; of several there are none, as they do not add up."""
    tape: Tensor | None = None
    """What the forward pass kept for the backward passes; None: nothing."""
    interventions: list[InterventionPass] = field(default_factory=list)
    """Each pass in which something acts: what its parts are does not follow from a sum of passes."""

    def add_result(self, direct: Sequence[Tensor | None], result: DriverResult) -> None:
        """Count a pass, and add what the driver found in it."""
        self.add(direct)
        if self.passes == 1:
            self.adjoints, self.norms = result.adjoints, result.norms
            return
        self.adjoints = [a + b for a, b in zip(self.adjoints, result.adjoints, strict=True)]
        self.norms = ()


@dataclass(frozen=True)
class InterventionPass:
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
class DriverResult:
    """What one backward pass of the driver gave."""

    adjoints: list[Tensor]
    initial: list[Tensor]
    inputs: Tensor | None
    gradients: list[Tensor | None]
    norms: list[Tensor]
    recurrent: list[Tensor]
    intervention: DriverIntervention | None


class DriverFunction(torch.autograd.Function):
    """(driver call, record, points, keep, inputs, *initial, *tensors) -> the parts of the states. What acts adds its
    record to `points`."""

    @staticmethod
    def forward(
        ctx: Any,
        driver_call: DriverCall,
        recorded: DriverRecord | None,
        points: NormsByPoint,
        keep: bool,
        *arguments: Tensor,
    ) -> Any:
        count = driver_call.parts if driver_call.initial else 0
        inputs, initial, tensors = arguments[0], arguments[1 : 1 + count], arguments[1 + count :]
        states, tape = driver_call.forward(inputs, initial, tensors, keep)
        ctx.driver_call, ctx.recorded, ctx.points, ctx.count = driver_call, recorded, points, count
        ctx.set_materialize_grads(False)
        if keep:
            if recorded is not None:
                recorded.tape = tape
            ctx.save_for_backward(inputs, *tensors, *states, tape)
        return tuple(states)

    @staticmethod
    def backward(ctx: Any, *direct: Tensor | None) -> Any:
        refuse_second_derivative("native")
        driver_call, count = ctx.driver_call, ctx.count
        inputs, *rest = ctx.saved_tensors
        tensors, states, tape = rest[: -1 - driver_call.parts], rest[-1 - driver_call.parts : -1], rest[-1]
        needed = ctx.needs_input_grad[4:]
        used = driver_call.compiled.used
        unrecorded = recording_disabled()
        of_tensors = [need and not unrecorded and number in used for number, need in enumerate(needed[1 + count :])]
        recorded: DriverRecord | None = None if unrecorded else ctx.recorded
        wanted = Wanted(inputs=needed[0], tensors=of_tensors, norms=recorded.kinds if recorded else 0)
        found = driver_call.backward(direct, inputs, tensors, states, tape, wanted)
        if recorded:
            recorded.add_result(direct, found)
        if found.intervention and not unrecorded:
            found.intervention.add_to(ctx.points)
            if recorded:
                recorded.interventions.append(
                    InterventionPass(direct, found.intervention.limits, found.intervention.factor)
                )
        initial = [grad if need else None for grad, need in zip(found.initial, needed[1 : 1 + count], strict=True)]
        return None, None, None, None, found.inputs, *initial, *found.gradients


class DriverCall:
    """The driver called on tensors, for one cell, structure and precision."""

    def __init__(
        self,
        cell: Cell,
        structure: Chain | Forest,
        dtype: torch.dtype,
        initial: bool,
        intervention: Intervention | None = None,
    ) -> None:
        self.schedule = schedule(structure, initial)
        self.intervention = intervention
        self.compiled = compile_updates(cell, self.schedule.arities, dtype, intervention is not None)
        self.parts, self.hidden, self.initial = len(cell.state_names), cell.hidden_size, initial
        self.batch = len(structure) if isinstance(structure, Chain) else None
        self._sizes: list[Any] = []
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
        tape = buffer_pool.take(self.compiled.tape_size(plan, keep) * self.hidden, inputs.dtype)
        tensors = self._of_known_size(tensors)
        inputs = _side_by_side(inputs)
        fold = self._fold(inputs, tensors, states, tape, keep)
        self._split(fold, inputs)
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
    ) -> DriverResult:
        """What is wanted, given the gradient in each part of the states from outside."""
        plan, dtype = self.schedule, inputs.dtype
        before = plan.inner if self.initial else 0
        inputs = _side_by_side(inputs)
        tensors = self._of_known_size(tensors)
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
        intervention = None
        if self.intervention is not None:
            intervention = DriverIntervention(self.intervention, plan.rows, before, self.rows_of, count, wanted.limits)
            fold.intervention = ctypes.pointer(intervention.struct)
        if self.compiled.gradients_split or not any(wanted.tensors):
            self._split(fold, inputs)
        self._call(self.compiled.driver.fold_backward, fold)
        first = [rows[:before] for rows in with_initial] if before else []
        return DriverResult(adjoints, first, dinputs, gradients, norms, recurrent, intervention)

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

    def _of_known_size(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The cell's tensors, as the kernel reads them.

        Raises:
            RuntimeError: they have other shapes or another type than at first: the kernel would read beyond them.
        """
        sizes = [(tensor.dtype, tensor.shape) for tensor in tensors]
        self._sizes = self._sizes or sizes
        if sizes != self._sizes:
            raise RuntimeError(
                "backward: the cell's parameters have other shapes or another type than at the unroll (by `.float()`, "
                "`.to(...)` or `.data = ...`); change them after the backward pass, and after its parts are read"
            )
        return [tensor.resolve_neg().contiguous() for tensor in tensors]

    def _split(self, fold: Any, inputs: Tensor) -> None:
        """Over threads, where there is enough for them."""
        fold.threads = self.compiled.threads(self.schedule, inputs.shape[-1])
        if fold.threads > 1:
            fold.samples, fold.sample = self.schedule.samples, self.schedule.sample.ctypes.data

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
    tensor = tensor.resolve_neg()  # what torch has negated may not be so in memory yet
    return tensor if tensor.stride(-1) == 1 or tensor.shape[-1] == 1 else tensor.contiguous()
