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
from rnn_research.unroll.intervention import Intervention, NormsByPoint
from rnn_research.unroll.pieces import Call, fold_chain, fold_forest
from rnn_research.unroll.undisturbed import set_random_state
from rnn_research.unroll.unfolding import Record, Unfolding, Update


class ReferenceFold(Unfolding):
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
        family: Sequence[Unfolding] | None = None,
        inside: Intervention | None = None,
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
        self._handed = _Handed()

    @property
    def states(self) -> State:
        return self.cell.state_type(*map(self._part, self.cell.state_names))

    @property
    def hidden(self) -> Tensor:
        return self._part("hidden")

    @property
    def passes(self) -> int:
        return self._handed.passes

    def adjoints(self) -> State:
        return self._by_call([[part.grad for part in call.state] for call in self.pieces.calls])

    def acted(self) -> NormsByPoint | None:
        if self._acting is None:
            return {}
        if not self._acting.reached:
            return None
        points = self._acting.points().items()
        return {point: (self._scatter(before), self._scatter(after)) for point, (before, after) in points}

    def _check_hooks(self) -> None:
        """A hook on a state acts on the sum of its parts: what each is, nothing says.

        Raises:
            RuntimeError: the update has put one on a part of its state.
        """
        if any(part._backward_hooks for call in self.pieces.calls for part in call.state):
            raise RuntimeError(
                f"direct and recurrent: {type(self.cell).__name__}.step puts a hook on a part of its state, which acts "
                "on the sum of the two; the adjoints are those after the hook"
            )

    def direct(self) -> State:
        self._check_hooks()
        if self._acting is not None:
            return self.inside_update([self._scatter(part) for part in self._acting.direct])
        like = [torch.cat([state[k].detach() for state in self.pieces.states]) for k in self._parts]
        found = [self._handed.direct.get(k) for k in self._parts]
        rows = [torch.zeros_like(part) if grad is None else grad for part, grad in zip(like, found, strict=True)]
        return self.inside_update([self._scatter(part) for part in rows])

    def recurrent(self) -> State:
        self._check_hooks()
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
                stack.enter_context(fold._handed.unrecorded())
                if fold._acting is not None:
                    stack.enter_context(fold._acting.unrecorded())
            grads = iter(torch.autograd.grad(loss, parts, retain_graph=True, allow_unused=True))
        for tensor, grad in zip(retained, before, strict=True):
            tensor.grad = grad  # autograd.grad, too, adds to each gradient that is retained on its way
        return self._by_call([[next(grads) for _ in call.state] for call in self.pieces.calls])

    def updates(self) -> Iterator[Update]:
        calls: dict[int, list[Call]] = {}
        for call in self.pieces.calls:
            calls.setdefault(len(call.previous), []).append(call)
        for group in calls.values():
            yield self._update(group)

    def replays(self) -> Sequence[Callable[[], Iterator[Update]]]:
        return [self.updates, self._calls_again]

    def _calls_again(self) -> Iterator[Update]:
        """One call after the other, with the random numbers that they drew."""
        if self.pieces.random is not None:
            set_random_state(self.pieces.positions.device, self.pieces.random)
        for call in self.pieces.calls:
            yield self._update([call])

    def _update(self, calls: Sequence[Call]) -> Update:
        """Calls with equally many previous states, as one."""
        made = self.cell.state_type
        previous = tuple(
            made(*(_cat([call.previous[child][part] for call in calls]) for part in self._parts))
            for child in range(len(calls[0].previous))
        )
        rows = torch.cat([call.rows for call in calls]).to(self.pieces.positions.device)
        state = made(*(_cat([call.state[part] for call in calls]) for part in self._parts))
        return self.pieces.positions[rows], _cat([call.projected for call in calls]), previous, state

    def read_again(self) -> dict[str, Sequence[Tensor]]:
        calls = self.pieces.calls
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
        passed = self.pieces.passed if self._acting is None else []
        states = [*(call.state for call in self.pieces.calls), *passed]
        return [part for state in states for part in state]

    def _part(self, name: str) -> Tensor:
        """One part of the states at every position, made once, so that its gradient is the readout's."""
        if name not in self._placed:
            index = self.cell.state_names.index(name)
            rows = torch.cat([state[index] for state in self.pieces.states])
            if self.record and rows.requires_grad:
                rows.register_hook(functools.partial(self._handed.add, index))
            self._placed[name] = self._scatter(rows)
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
                    column[call.rows] = grad.to(column.dtype)  # in mixed precision some updates have another
        return self.cell.state_type(*(self._scatter(column) for column in columns))


class _Handed:
    """What backward passes brought to the states that were handed out, by part. It is kept by hooks on them, not
    retained: so it is the gradient in what was handed out even where that is then changed in place.

    Apart from the fold, which the graph must not hold.
    """

    def __init__(self) -> None:
        self.direct: dict[int, Tensor] = {}
        self.passes, self._recording = 0, True

    def add(self, part: int, grad: Tensor | None) -> None:
        if self._recording and grad is not None:
            self.passes += 1
            self.direct[part] = self.direct[part] + grad if part in self.direct else grad

    @contextlib.contextmanager
    def unrecorded(self) -> Iterator[None]:
        """Within it, passes leave no trace."""
        self._recording = False
        try:
            yield
        finally:
            self._recording = True


def _grad(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


def _cat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.detach() for tensor in tensors])
