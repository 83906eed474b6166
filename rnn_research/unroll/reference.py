"""The reference engine: plain autograd, one `step` at a time along a chain, one level at a time up a forest.

It is the oracle for any faster engine. Two things make its adjoints exact. Each state has two readers, and each gets
its own alias of it: the `states` that leave (readouts, the layer above) and `passed`, which the next update reads. So
autograd itself keeps apart what reaches a state from each, with nothing subtracted. And projected inputs are cut
into steps by one `split` (or kept a level apart), never by indexing: the backward of an index writes a zero tensor
of the full size for every step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from rnn_research.cells.base import Cell, State
from rnn_research.structures import Chain, Forest
from rnn_research.unroll.fold import Fold, Record
from rnn_research.unroll.inside import Inside, Points
from rnn_research.unroll.pieces import Call, fold_chain, fold_forest


class ReferenceFold(Fold):
    """The states by one `step` after the other, and their gradients as autograd retained them.

    Args:
        family: the folds of all layers (those above are added later), whose gradients another loss's must not disturb.

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
        family: Sequence[Fold] | None = None,
        inside: Inside | None = None,
    ) -> None:
        super().__init__(cell, structure, record)
        if isinstance(structure, Chain):
            self.pieces = fold_chain(cell, structure, inputs, initial, bool(record), inside)
        else:
            self.pieces = fold_forest(cell, structure, inputs, bool(record), inside)
        self._acting = self.pieces.acting
        if self._acting is not None:
            self._acting.check()
        self._family = [self] if family is None else family  # not copied: it grows
        self._placed: dict[str, Tensor] = {}

    @property
    def states(self) -> State:
        return self.cell.state_type(*map(self._part, self.cell.state_names))

    @property
    def hidden(self) -> Tensor:
        return self._part("hidden")

    @property
    def reached(self) -> bool:
        return any(part.grad is not None for call in self.pieces.calls for part in call.state)

    def adjoints(self) -> State:
        return self._by_call([[part.grad for part in call.state] for call in self.pieces.calls])

    def acted(self) -> Points | None:
        if self._acting is None:
            return {}
        if not self._acting.reached:
            return None
        points = self._acting.points().items()
        return {point: (self._scatter(before), self._scatter(after)) for point, (before, after) in points}

    def direct(self) -> State:
        if self._acting is not None:
            return self.inside_update([self._scatter(part) for part in self._acting.direct])
        return self.inside_update([_grad(self._part(name)) for name in self.cell.state_names])

    def recurrent(self) -> State:
        if self._acting is not None:
            return self.inside_update([self._scatter(part) for part in self._acting.recurrent])
        passed = self.pieces.passed
        return self.inside_update(
            [self._scatter(torch.cat([_grad(state[k]) for state in passed])) for k in self._parts]
        )

    def adjoints_of(self, loss: Tensor) -> State:
        parts = [part for call in self.pieces.calls for part in call.state]
        family = [fold for fold in self._family if isinstance(fold, ReferenceFold)]
        retained = [tensor for fold in family for tensor in fold._retained()]
        before = [tensor.grad for tensor in retained]
        with contextlib.ExitStack() as stack:
            for fold in family:
                if fold._acting is not None:
                    stack.enter_context(fold._acting.unrecorded())
            grads = iter(torch.autograd.grad(loss, parts, retain_graph=True, allow_unused=True))
        for tensor, grad in zip(retained, before, strict=True):
            tensor.grad = grad  # autograd.grad, too, adds to each gradient that is retained on its way
        return self._by_call([[next(grads) for _ in call.state] for call in self.pieces.calls])

    def updates(self) -> Iterator[tuple[Tensor, Tensor, tuple[State, ...]]]:
        calls: dict[int, list[Call]] = {}
        for call in self.pieces.calls:
            calls.setdefault(len(call.previous), []).append(call)
        for count, group in calls.items():
            previous = tuple(
                self.cell.state_type(*(_cat([call.previous[child][part] for call in group]) for part in self._parts))
                for child in range(count)
            )
            rows = torch.cat([call.rows for call in group]).to(self.pieces.positions.device)
            yield self.pieces.positions[rows], _cat([call.projected for call in group]), previous

    @property
    def _parts(self) -> range:
        return range(len(self.cell.state_names))

    def _retained(self) -> list[Tensor]:
        """Every tensor that keeps its gradient for the adjoints."""
        if not self.record:
            return []
        passed = self.pieces.passed if self._acting is None else []
        states = [*(call.state for call in self.pieces.calls), *passed]
        return [*(part for state in states for part in state), *self._placed.values()]

    def _part(self, name: str) -> Tensor:
        """One part of the states at every position, made once, so that its gradient is the readout's."""
        if name not in self._placed:
            index = self.cell.state_names.index(name)
            placed = self._scatter(torch.cat([state[index] for state in self.pieces.states]))
            if self.record and placed.requires_grad:
                placed.retain_grad()
            self._placed[name] = placed
        return self._placed[name]

    def _scatter(self, flat: Tensor) -> Tensor:
        """Rows of the fold -> the structure's positions."""
        if isinstance(self.structure, Forest):
            return flat
        batch, time, rest = len(self.structure), self.structure.time, flat.shape[1:]
        if len(flat) == batch * time:
            return flat.view(time, batch, *rest).transpose(0, 1)
        padded = flat.new_zeros(batch * time, *rest).index_copy(0, self.pieces.positions, flat)
        return padded.view(batch, time, *rest)

    def _by_call(self, grads: list[list[Tensor | None]]) -> State:
        """Gradients in the results of the calls -> the structure's positions; None (not reached) is zero."""
        columns = [torch.zeros_like(_cat([state[part] for state in self.pieces.states])) for part in self._parts]
        for call, found in zip(self.pieces.calls, grads, strict=True):
            for column, grad in zip(columns, found, strict=True):
                if grad is not None:
                    column[call.rows] = grad
        return self.cell.state_type(*(self._scatter(column) for column in columns))


def _grad(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


def _cat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.detach() for tensor in tensors])
