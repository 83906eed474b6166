"""The native engine: a compiled update along a structure, as one operation of autograd."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from rnn_research.cells.base import Cell, State
from rnn_research.structures import Chain, Forest
from rnn_research.unroll.backward import added, reachable, unrecorded_gradients
from rnn_research.unroll.compiled.driver_call import DriverCall, DriverFunction, DriverRecord, DriverResult, Wanted
from rnn_research.unroll.compiled.graph import Untraceable, tensors_of
from rnn_research.unroll.intervention import Intervention, NormsByPoint, unmarked
from rnn_research.unroll.unfolding import GRADIENTS, GateActivations, PastUpdate, Record, Unfolding
from rnn_research.unroll.versions import CHANGED


class NativeUnfolding(Unfolding):
    """The states and, after a backward pass, their adjoints, which that pass leaves where it carried them.

    Raises:
        Untraceable, Unavailable: there is no native form of this update, or here.
        ValueError: pre-activations are to be clamped, and the cell marks none.
    """

    def __init__(
        self,
        cell: Cell,
        structure: Chain | Forest,
        inputs: Tensor,
        initial: State | None,
        record: Record,
        intervention: Intervention | None = None,
    ) -> None:
        super().__init__(cell, structure, record)
        self.tensors = tensors_of(cell)
        _check(inputs, self.tensors)
        if intervention is not None and intervention.calls:
            raise Untraceable(f"{' and '.join(intervention.calls)} is Python, which compiled code does not call")
        inputs = reachable(inputs, cell, record)
        self.driver_call = DriverCall(cell, structure, inputs.dtype, initial is not None, intervention)
        self.intervention, self._points = intervention, NormsByPoint()
        if intervention is not None and intervention.max_value < math.inf and not self.driver_call.compiled.marked:
            raise unmarked(cell)
        self.inputs, self.initial = inputs, () if initial is None else tuple(initial)
        self.recorded = DriverRecord(kinds=3 if record == "parts" else 1) if record else None
        arguments = (inputs, *self.initial, *self.tensors)
        keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in arguments)
        self._states = cell.state_type(
            *DriverFunction.apply(self.driver_call, self.recorded, self._points, keep, *arguments)
        )

    @property
    def states(self) -> State:
        return self._states

    @property
    def passes(self) -> int:
        return 0 if self.recorded is None else self.recorded.passes

    def adjoints(self) -> State:
        assert self.recorded is not None
        return self._of(self.recorded.adjoints)

    def norms_by_point(self) -> NormsByPoint | None:
        if self.intervention is None:
            return {}
        pairs = self._points.items()
        return {
            name: (self.driver_call.placed(one), self.driver_call.placed(other)) for name, (one, other) in pairs
        } or None

    def direct(self) -> State:
        return self.carried_through_update(self._readouts())

    def recurrent(self) -> State:
        assert self.recorded is not None
        self._check_weights()
        if self.intervention is None:
            return self._of(self._again(self._readouts(), Wanted(recurrent=True)).recurrent)
        wanted = [(one.direct, Wanted(recurrent=True, limits=one.limits)) for one in self.recorded.interventions]
        found = [self._again(*one).recurrent for one in wanted]
        return self._of([added(parts) for parts in zip(*found, strict=True)])

    def norms(self, which: str, known: State | None = None) -> State:
        assert self.recorded is not None
        count = len(self.cell.state_names)
        first = GRADIENTS.index(which) * count
        recorded = self.recorded.norms[first : first + count]
        return self._of(recorded) if recorded else super().norms(which, known)

    def adjoints_of(self, loss: Tensor) -> State:
        return self._of(self._again(unrecorded_gradients(loss, self._states), Wanted()).adjoints)

    def updates(self) -> Iterator[PastUpdate]:
        plan, made = self.driver_call.schedule, self.cell.state_type
        states = [part.detach() for part in self._states]
        after = [part.reshape(-1, part.shape[-1]) for part in states]
        if isinstance(self.structure, Chain):
            before = [part.detach() for part in self.initial] or [torch.zeros_like(part[:, 0]) for part in states]
            pairs = zip(before, states, strict=True)
            states = [torch.cat([first[None], part.transpose(0, 1)]) for first, part in pairs]
        flat = [part.reshape(-1, part.shape[-1]) for part in states]
        offset = len(self.structure) if isinstance(self.structure, Chain) else 0
        inputs = self.inputs.detach().reshape(-1, self.inputs.shape[-1])
        for arity, rows, child in plan.by_arity():
            positions = self.driver_call.positions(rows)
            previous = tuple(made(*(part.index_select(0, child + offset + k) for part in flat)) for k in range(arity))
            state = made(*(part.index_select(0, positions) for part in after))
            with torch.no_grad():
                projected = self.cell.project(inputs.index_select(0, positions))
            yield positions, projected.detach(), previous, state

    def read_again(self) -> dict[str, Sequence[Tensor]]:
        return {"inputs": [self.inputs], "initial states": self.initial, "states": self._states}

    def kept(self) -> GateActivations | None:
        """Of a chain's updates that have a previous state."""
        plan, tape = self.driver_call.schedule, None if self.recorded is None else self.recorded.tape
        plans = self.driver_call.compiled.plans
        slot = plans[plan.arities[-1]].gates
        if tape is None or not isinstance(self.structure, Chain) or set(slot) != set(range(len(self.cell.gates))):
            return None
        *before, count = plan.nodes[0]
        slots = [plans[arity].slots for arity in plan.arities]
        start = sum(some * each for some, each in zip(before, slots[:-1], strict=True))
        values = tape[start * self.cell.hidden_size :].view(count, slots[-1], self.cell.hidden_size)
        place = torch.full((plan.rows,), -1)
        place[torch.from_numpy(plan.row[len(plan.row) - count :]).long()] = torch.arange(count)
        return GateActivations(self.driver_call.placed(place), values, [slot[gate] for gate in range(len(slot))])

    def _check_weights(self) -> None:
        """Raise RuntimeError where what is read again gives other states: what `.data` changes tells nobody."""
        given = self.inputs.detach(), [part.detach() for part in self.initial], [one.detach() for one in self.tensors]
        states, _ = self.driver_call.forward(*given, keep=False)
        pairs = [(one, part.detach()) for one, part in zip(states, self._states, strict=True)]
        if any(bool(((one != part) & ((one == one) | (part == part))).any()) for one, part in pairs):  # NaN is itself
            raise RuntimeError(CHANGED)

    def _readouts(self) -> list[Tensor]:
        """The gradient that reached each part of the states from outside, times what its sum was scaled by."""
        assert self.recorded is not None
        if self.intervention is not None:
            return [self._scaled(number, part) for number, part in enumerate(self._states)]
        direct = self.recorded.direct
        return [direct[k] if k in direct else torch.zeros_like(part) for k, part in enumerate(self._states)]

    def _scaled(self, number: int, part: Tensor) -> Tensor:
        assert self.recorded is not None
        total = torch.zeros_like(part)
        for one in self.recorded.interventions:
            grad = one.direct[number]
            if grad is not None:
                total += grad * self.driver_call.placed(one.factor)[..., None].to(grad.dtype)
        return total

    def _again(self, direct: Sequence[Tensor | None], wanted: Wanted) -> DriverResult:
        """The backward pass once more, for adjoints alone."""
        states = [part.detach() for part in self._states]
        tensors = [tensor.detach() for tensor in self.tensors]
        inputs, tape = self.inputs.detach(), None if self.recorded is None else self.recorded.tape
        if tape is None:
            tape = self.driver_call.forward(inputs, [part.detach() for part in self.initial], tensors, True)[1]
        return self.driver_call.backward(direct, inputs, tensors, states, tape, wanted)

    def _of(self, parts: Sequence[Tensor]) -> State:
        return self.cell.state_type(*map(self.driver_call.placed, parts))


def _check(inputs: Tensor, tensors: Sequence[Tensor]) -> None:
    """Raise `Untraceable` where the compiled update would not do what torch would."""
    if inputs.device.type != "cpu":
        raise Untraceable(f"it computes on the CPU, the inputs are on {inputs.device}")
    if torch.is_autocast_enabled("cpu"):
        raise Untraceable("autocast is on, it has one precision")
    for tensor in tensors:
        if tensor.is_floating_point() and (tensor.dtype != inputs.dtype or tensor.device != inputs.device):
            raise Untraceable(f"the cell is {tensor.dtype} on {tensor.device}, the inputs are {inputs.dtype}")
