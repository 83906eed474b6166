"""The reference engine: plain autograd, one `step` at a time along a chain, one level at a time up a forest.

It is the oracle for any faster engine. Two things make its adjoints exact. Each state has two readers, and each gets
its own alias of it: the `states` that leave (readouts, the layer above) and `passed`, which the next update reads. So
autograd itself keeps apart what reaches a state from each, with nothing subtracted. And projected inputs are cut
into steps by one `split` (or kept a level apart), never by indexing: the backward of an index writes a zero tensor
of the full size for every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rnn_research.cells.base import Cell, State
from rnn_research.structures import Chain, Forest
from rnn_research.unroll.fold import Fold, Record


@dataclass(frozen=True, eq=False)
class Call:
    """One call of `cell.step`: its arguments, its result (whose parts keep their gradients), and which rows of the
    fold the result became."""

    rows: Tensor
    projected: Tensor
    previous: tuple[State, ...]
    state: State


@dataclass(frozen=True, eq=False)
class Pieces:
    """All states of one layer, in the order of `positions`: an index into the structure's flat positions.

    `states` and `passed` hold the same numbers, an entry a step of the chain or a level of the forest; `passed` is
    what the next update read.
    """

    positions: Tensor
    states: list[State]
    passed: list[State]
    calls: list[Call]


class ReferenceFold(Fold):
    """The states by one `step` after the other, and their gradients as autograd retained them.

    Args:
        family: the folds of all layers (those above are added later), whose gradients another loss's must not disturb.
    """

    def __init__(
        self,
        cell: Cell,
        structure: Chain | Forest,
        inputs: Tensor,
        initial: State | None,
        record: Record,
        family: Sequence[Fold] | None = None,
    ) -> None:
        super().__init__(cell, structure, record)
        if isinstance(structure, Chain):
            self.pieces = fold_chain(cell, structure, inputs, initial, bool(record))
        else:
            self.pieces = fold_forest(cell, structure, inputs, bool(record))
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

    def direct(self) -> State:
        return self.inside_update([_grad(self._part(name)) for name in self.cell.state_names])

    def recurrent(self) -> State:
        passed = self.pieces.passed
        return self.inside_update([self._scatter(torch.cat([_grad(state[k]) for state in passed])) for k in self._parts])

    def adjoints_of(self, loss: Tensor) -> State:
        parts = [part for call in self.pieces.calls for part in call.state]
        retained = [tensor for fold in self._family if isinstance(fold, ReferenceFold) for tensor in fold._retained()]
        before = [tensor.grad for tensor in retained]
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
        states = [*(call.state for call in self.pieces.calls), *self.pieces.passed]
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
        batch, time = len(self.structure), self.structure.time
        if len(flat) == batch * time:
            return flat.view(time, batch, -1).transpose(0, 1)
        padded = flat.new_zeros(batch * time, flat.shape[-1]).index_copy(0, self.pieces.positions, flat)
        return padded.view(batch, time, -1)

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


def fold_chain(cell: Cell, chain: Chain, inputs: Tensor, initial: State | None, record: bool) -> Pieces:
    """Time runs forwards over the sequences that have not ended, longest first: padding is never computed."""
    lengths = chain.lengths.tolist()
    longest_first = sorted(range(len(lengths)), key=lambda b: -lengths[b])
    active = [sum(length > t for length in lengths) for t in range(chain.time)]
    batch = torch.cat([torch.tensor(longest_first[:count]) for count in active])
    step = torch.repeat_interleave(torch.arange(chain.time), torch.tensor(active))
    positions = (batch * chain.time + step).to(inputs.device)
    if min(lengths) == max(lengths):
        flat = inputs.transpose(0, 1).reshape(-1, inputs.shape[-1])
    else:
        flat = inputs.reshape(-1, inputs.shape[-1]).index_select(0, positions)
        initial = None if initial is None else _apply(initial, lambda part: part[longest_first])
    states: list[State] = []
    passed: list[State] = []
    calls: list[Call] = []
    previous, row = initial, 0
    for projected, count in zip(_project(cell, flat, record).split(active), active, strict=True):
        if previous is not None and len(previous[0]) > count:
            previous = _apply(previous, lambda part, count=count: part[:count])
        arguments = () if previous is None else (previous,)
        state = _recorded(cell.step(projected, *arguments), record)
        calls.append(Call(torch.arange(row, row + count), projected, arguments, state))
        previous = _recorded(_alias(state), record)
        states.append(state)
        passed.append(previous)
        row += count
    return Pieces(positions, states, passed, calls)


def fold_forest(cell: Cell, forest: Forest, inputs: Tensor, record: bool) -> Pieces:
    """Levels run from the deepest to the roots; the nodes of a level with equally many children go together."""
    depths = range(len(forest.groups))
    sizes = [forest.levels[depth + 1] - forest.levels[depth] for depth in depths]
    projected = _project(cell, inputs, record).split(sizes)
    states: list[State] = []
    passed: list[State] = []
    calls: list[Call] = []
    below: State | None = None
    for depth in reversed(depths):
        results = []
        for group in forest.groups[depth]:
            rows = projected[depth] if len(forest.groups[depth]) == 1 else projected[depth].index_select(0, group.rows)
            arguments = _children(cell, below, group.children)
            results.append(_recorded(cell.step(rows, *arguments), record))
            calls.append(Call(group.rows + forest.levels[depth], rows, arguments, results[-1]))
        state = _joined(results, [group.rows for group in forest.groups[depth]])
        below = _recorded(_alias(state), record)
        states.append(state)
        passed.append(below)
    return Pieces(torch.arange(forest.nodes, device=inputs.device), states[::-1], passed[::-1], calls)


def _project(cell: Cell, inputs: Tensor, record: bool) -> Tensor:
    """The projected inputs. Recording, they want a gradient even where no parameter does: autograd must see how
    the parts of a first state depend on each other (an LSTM's h on its c)."""
    projected = cell.project(inputs)
    if record and torch.is_grad_enabled() and not projected.requires_grad:
        return projected.detach().requires_grad_()
    return projected


def _children(cell: Cell, below: State | None, children: Tensor) -> tuple[State, ...]:
    """The states of the 1st, 2nd, ... child of each node of a group."""
    if children.shape[1] == 0 or below is None:
        return ()
    parts = [part.index_select(0, children.reshape(-1)).view(*children.shape, -1).unbind(1) for part in below]
    return tuple(cell.state_type(*child) for child in zip(*parts, strict=True))


def _joined(results: list[State], places: list[Tensor]) -> State:
    """The level's states from those of its groups."""
    if len(results) == 1:
        return results[0]
    order = torch.cat(places).argsort()
    return type(results[0])(*(torch.cat(parts).index_select(0, order) for parts in zip(*results, strict=True)))


def _apply(state: State, function: Callable[[Tensor], Tensor]) -> State:
    return type(state)(*map(function, state))


def _alias(state: State) -> State:
    return _apply(state, lambda part: part.view_as(part))


def _recorded(state: State, record: bool) -> State:
    """The state, whose parts keep their gradients in the backward pass."""
    if record and torch.is_grad_enabled():
        for part in state:
            if not part.requires_grad:
                part.requires_grad_()
            part.retain_grad()
    return state
