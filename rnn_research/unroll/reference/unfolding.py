"""The reference engine: plain autograd, one `step` at a time along a chain, one level at a time up a forest.

It is the oracle for any faster engine. Two things make its adjoints exact. Each state has two readers, and each gets
its own alias of it: the `states` that leave (readouts, the layer above) and `passed`, which the next update reads. So
autograd itself keeps apart what reaches a state from each, with nothing subtracted. And projected inputs are cut
into steps by one `split` (or kept a level apart), never by indexing: the backward of an index writes a zero tensor
of the full size for every step.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from rnn_research.cells.base import Cell, State
from rnn_research.structures import Chain, Forest
from rnn_research.unroll.backward import BackwardRecord
from rnn_research.unroll.intervention import Intervention, NormsByPoint
from rnn_research.unroll.reference.loop import Call, loop_over_chain, loop_over_forest
from rnn_research.unroll.undisturbed import set_random_state
from rnn_research.unroll.unfolding import PastUpdate, Record, Unfolding


class ReferenceUnfolding(Unfolding):
    """The states by one `step` after the other, and their gradients as autograd retained them.

    Args:
        family: the unfoldings of all layers; those above are added later. `adjoints_of` leaves their records alone.

    Raises:
        ValueError: pre-activations are to be clamped, and the cell marks none.
    """

    def __init__(
        self,
        cell: Cell,
        structure: Chain | Forest,
        inputs: Tensor,
        initial: State | None,
        record: Record,
        family: Sequence[Unfolding] | None = None,
        intervention: Intervention | None = None,
    ) -> None:
        super().__init__(cell, structure, record)
        if isinstance(structure, Chain):
            self.loop = loop_over_chain(cell, structure, inputs, initial, bool(record), intervention)
        else:
            self.loop = loop_over_forest(cell, structure, inputs, bool(record), intervention)
        self._intervention = self.loop.active
        if self._intervention is not None:
            self._intervention.check()
        self._family = [self] if family is None else family  # not copied: it grows
        self._placed: dict[str, Tensor] = {}
        self._recorded = BackwardRecord()

    @property
    def states(self) -> State:
        return self.cell.state_type(*map(self._part, self.cell.state_names))

    @property
    def hidden(self) -> Tensor:
        return self._part("hidden")

    @property
    def passes(self) -> int:
        return self._recorded.passes

    def adjoints(self) -> State:
        return self._by_call([[part.grad for part in call.state] for call in self.loop.calls])

    def norms_by_point(self) -> NormsByPoint | None:
        if self._intervention is None:
            return {}
        if not self._intervention.reached:
            return None
        points = self._intervention.points().items()
        return {point: (self._scatter(before), self._scatter(after)) for point, (before, after) in points}

    def _check_hooks(self) -> None:
        """A hook on a state acts on the sum of its parts: what each is, nothing says.

        Raises:
            RuntimeError: the update has put one on a part of its state.
        """
        if any(part._backward_hooks for call in self.loop.calls for part in call.state):
            raise RuntimeError(
                f"direct and recurrent: {type(self.cell).__name__}.step puts a hook on a part of its state, which acts "
                "on the sum of the two; the adjoints are those after the hook"
            )

    def direct(self) -> State:
        self._check_hooks()
        if self._intervention is not None:
            return self.carried_through_update([self._scatter(part) for part in self._intervention.direct])
        like = [torch.cat([state[k].detach() for state in self.loop.states]) for k in self._parts]
        found = [self._recorded.direct.get(k) for k in self._parts]
        rows = [torch.zeros_like(part) if grad is None else grad for part, grad in zip(like, found, strict=True)]
        return self.carried_through_update([self._scatter(part) for part in rows])

    def recurrent(self) -> State:
        self._check_hooks()
        if self._intervention is not None:
            return self.carried_through_update([self._scatter(part) for part in self._intervention.recurrent])
        passed = self.loop.passed
        return self.carried_through_update(
            [self._scatter(torch.cat([_grad(state[k]) for state in passed])) for k in self._parts]
        )

    def adjoints_of(self, loss: Tensor) -> State:
        parts = [part for call in self.loop.calls for part in call.state]
        family = [layer for layer in self._family if isinstance(layer, ReferenceUnfolding)]
        retained = [tensor for layer in family for tensor in layer._retained()]
        before = [tensor.grad for tensor in retained]
        with contextlib.ExitStack() as stack:
            for layer in family:
                stack.enter_context(layer._recorded.disabled())
                if layer._intervention is not None:
                    stack.enter_context(layer._intervention.disabled())
            grads = iter(torch.autograd.grad(loss, parts, retain_graph=True, allow_unused=True))
        for tensor, grad in zip(retained, before, strict=True):
            tensor.grad = grad  # autograd.grad, too, adds to each gradient that is retained on its way
        return self._by_call([[next(grads) for _ in call.state] for call in self.loop.calls])

    def updates(self) -> Iterator[PastUpdate]:
        calls: dict[int, list[Call]] = {}
        for call in self.loop.calls:
            calls.setdefault(len(call.previous), []).append(call)
        for group in calls.values():
            yield self._update(group)

    def replays(self) -> Sequence[Callable[[], Iterator[PastUpdate]]]:
        return [self.updates, self._calls_again]

    def _calls_again(self) -> Iterator[PastUpdate]:
        """One call after the other, with the random numbers that they drew."""
        if self.loop.random is not None:
            set_random_state(self.loop.positions.device, self.loop.random)
        for call in self.loop.calls:
            yield self._update([call])

    def _update(self, calls: Sequence[Call]) -> PastUpdate:
        """Calls with equally many previous states, as one."""
        made = self.cell.state_type
        previous = tuple(
            made(*(_cat([call.previous[child][part] for call in calls]) for part in self._parts))
            for child in range(len(calls[0].previous))
        )
        rows = torch.cat([call.rows for call in calls]).to(self.loop.positions.device)
        state = made(*(_cat([call.state[part] for call in calls]) for part in self._parts))
        return self.loop.positions[rows], _cat([call.projected for call in calls]), previous, state

    def read_again(self) -> dict[str, Sequence[Tensor]]:
        calls = self.loop.calls
        return {
            "projected inputs": [call.projected for call in calls],
            "previous states": [part for call in calls for state in call.previous for part in state],
        }

    @property
    def _parts(self) -> range:
        return range(len(self.cell.state_names))

    def _retained(self) -> list[Tensor]:
        """Every tensor that keeps its gradient for the adjoints."""
        if not self.record:
            return []
        passed = self.loop.passed if self._intervention is None else []
        states = [*(call.state for call in self.loop.calls), *passed]
        return [part for state in states for part in state]

    def _part(self, name: str) -> Tensor:
        """One part of the states at every position, made once, so that its gradient is the readout's."""
        if name not in self._placed:
            index = self.cell.state_names.index(name)
            rows = torch.cat([state[index] for state in self.loop.states])
            if self.record and rows.requires_grad:
                rows.register_hook(functools.partial(_record_part, self._recorded, index))
            self._placed[name] = self._scatter(rows)
        return self._placed[name]

    def _scatter(self, flat: Tensor) -> Tensor:
        """Rows of the loop -> the structure's positions."""
        if isinstance(self.structure, Forest):
            return flat
        batch, time, rest = len(self.structure), self.structure.time, flat.shape[1:]
        if len(flat) == batch * time:
            return flat.view(time, batch, *rest).transpose(0, 1)
        padded = flat.new_zeros(batch * time, *rest).index_copy(0, self.loop.positions, flat)
        return padded.view(batch, time, *rest)

    def _by_call(self, grads: list[list[Tensor | None]]) -> State:
        """Gradients in the results of the calls -> the structure's positions; None (not reached) is zero."""
        columns = [torch.zeros_like(_cat([state[part] for state in self.loop.states])) for part in self._parts]
        for call, found in zip(self.loop.calls, grads, strict=True):
            for column, grad in zip(columns, found, strict=True):
                if grad is not None:
                    column[call.rows] = grad.to(column.dtype)  # in mixed precision some updates have another
        return self.cell.state_type(*(self._scatter(column) for column in columns))


def _record_part(record: BackwardRecord, part: int, grad: Tensor | None) -> None:
    """A hook on one part of the states that are handed out. What it keeps is the gradient in what was handed out, even
    where that is then changed in place."""
    if grad is not None:
        record.add([grad], first=part)


def _grad(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


def _cat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.detach() for tensor in tensors])
