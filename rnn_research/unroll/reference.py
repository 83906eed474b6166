"""The reference engine: plain autograd, one `step` at a time along a chain, one level at a time up a forest.

It is the oracle for any faster engine. Two things make its adjoints exact. Each state has two readers, and each gets
its own alias of it: the `states` that leave (readouts, the layer above) and `passed`, which the next update reads. So
autograd itself keeps apart what reaches a state from each, with nothing subtracted. And projected inputs are cut
into steps by one `split` (or kept a level apart), never by indexing: the backward of an index writes a zero tensor
of the full size for every step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rnn_research.cells.base import Cell, State
from rnn_research.structures import Chain, Forest


@dataclass(frozen=True, eq=False)
class Call:
    """One call of `cell.step`: its arguments, its result (whose parts keep their gradients), and which rows of the
    fold the result became."""

    rows: Tensor
    projected: Tensor
    previous: tuple[State, ...]
    state: State


@dataclass(frozen=True, eq=False)
class Fold:
    """All states of one layer, in the order of `positions`: an index into the structure's flat positions.

    `states` and `passed` hold the same numbers, an entry a step of the chain or a level of the forest; `passed` is
    what the next update read.
    """

    positions: Tensor
    states: list[State]
    passed: list[State]
    calls: list[Call]


def fold_chain(cell: Cell, chain: Chain, inputs: Tensor, initial: State | None, record: bool) -> Fold:
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
    return Fold(positions, states, passed, calls)


def fold_forest(cell: Cell, forest: Forest, inputs: Tensor, record: bool) -> Fold:
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
    return Fold(torch.arange(forest.nodes, device=inputs.device), states[::-1], passed[::-1], calls)


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
