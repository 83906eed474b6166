"""The reference engine's pass forward: one `step` at a time along a chain, one level at a time up a forest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rnn_research.cells.base import Cell, State
from rnn_research.structures import Chain, Forest
from rnn_research.structures.order import parents, time_order
from rnn_research.unroll.intervention import Intervention
from rnn_research.unroll.reference.intervention import ActiveIntervention, Rows
from rnn_research.unroll.undisturbed import random_state
from rnn_research.unroll.update import UpdateCaller


@dataclass(frozen=True, eq=False)
class Call:
    """One call of `cell.step`: its arguments, its result (whose parts keep their gradients), and which rows of the
    loop the result became."""

    rows: Tensor
    projected: Tensor
    previous: tuple[State, ...]
    state: State


@dataclass(frozen=True, eq=False)
class LoopStates:
    """All states of one layer, in the order of `positions`: an index into the structure's flat positions.

    `states` and `passed` hold the same numbers, an entry a step of the chain or a level of the forest; `passed` is
    what the next update read. `active` is what acts on their gradients. `random` is the state of torch's random numbers
    before the first call, where it is to be recorded.
    """

    positions: Tensor
    states: list[State]
    passed: list[State]
    calls: list[Call]
    active: ActiveIntervention | None
    random: list[Tensor] | None


def loop_over_chain(
    cell: Cell,
    chain: Chain,
    inputs: Tensor,
    initial: State | None,
    record: bool,
    intervention: Intervention | None = None,
) -> LoopStates:
    """Time runs forwards over the sequences that have not ended, longest first: padding is never computed."""
    order = time_order(chain.lengths.cpu().numpy())
    positions = order.positions.to(inputs.device)
    if order.equal_lengths:
        flat = inputs.transpose(0, 1).reshape(-1, inputs.shape[-1])
    else:
        flat = inputs.reshape(-1, inputs.shape[-1]).index_select(0, positions)
        initial = None if initial is None else _apply(initial, lambda part: part[torch.from_numpy(order.samples)])
    active = None
    if intervention is not None:
        active = ActiveIntervention(intervention, cell, positions, order.later, inputs, record)
    states: list[State] = []
    passed: list[State] = []
    calls: list[Call] = []
    previous, row, updates = initial, 0, UpdateCaller(cell)
    everything = _project(cell, flat, record)
    random = random_state(inputs.device) if record else None
    for projected, count in zip(everything.split(order.counts), order.counts, strict=True):
        if previous is not None and len(previous[0]) > count:
            previous = _apply(previous, lambda part, count=count: part[:count])
        arguments = () if previous is None else (previous,)
        rows = slice(row, row + count)
        state = _recorded(_step(updates, active, rows, projected, arguments), record)
        calls.append(Call(torch.arange(row, row + count), projected, arguments, state))
        handed, previous = _readers(state, record, active, rows)
        states.append(handed)
        passed.append(previous)
        row += count
    return LoopStates(positions, states, passed, calls, active, random)


def loop_over_forest(
    cell: Cell, forest: Forest, inputs: Tensor, record: bool, intervention: Intervention | None = None
) -> LoopStates:
    """Levels run from the deepest to the roots; the nodes of a level with equally many children go together."""
    depths = range(len(forest.groups))
    sizes = [forest.levels[depth + 1] - forest.levels[depth] for depth in depths]
    projected = _project(cell, inputs, record).split(sizes)
    positions = torch.arange(forest.nodes, device=inputs.device)
    active = None
    if intervention is not None:
        active = ActiveIntervention(intervention, cell, positions, parents(forest), inputs, record)
    states: list[State] = []
    passed: list[State] = []
    calls: list[Call] = []
    below: State | None = None
    updates, random = UpdateCaller(cell), random_state(inputs.device) if record else None
    for depth in reversed(depths):
        results = []
        for group in forest.groups[depth]:
            rows = projected[depth] if len(forest.groups[depth]) == 1 else projected[depth].index_select(0, group.rows)
            arguments = _children(cell, below, group.children)
            places = group.rows + forest.levels[depth]
            results.append(_recorded(_step(updates, active, places, rows, arguments), record))
            calls.append(Call(places, rows, arguments, results[-1]))
        state = _joined(results, [group.rows for group in forest.groups[depth]])
        handed, below = _readers(state, record, active, slice(forest.levels[depth], forest.levels[depth + 1]))
        states.append(handed)
        passed.append(below)
    return LoopStates(positions, states[::-1], passed[::-1], calls, active, random)


def _step(
    updates: UpdateCaller, active: ActiveIntervention | None, rows: Rows, projected: Tensor, previous: tuple[State, ...]
) -> State:
    return updates(projected, *previous, step=None if active is None else partial(active.step, rows))


def _readers(state: State, record: bool, active: ActiveIntervention | None, rows: Rows) -> tuple[State, State]:
    """The state for its own position's readers, and an alias for the later state."""
    if active is not None:
        return active.readers(rows, state)
    return state, _recorded(_alias(state), record)


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
            part.retain_grad()
    return state
