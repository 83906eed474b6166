"""The order in which a structure's states are computed, and where their rows lie."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

from rnn_research.structures import Chain, Forest

Where = slice | Tensor
"""Rows, as a view where they lie side by side."""


def take(values: Tensor, where: Where) -> Tensor:
    """The rows there: a view of them where they lie side by side, else a copy."""
    return values[where] if isinstance(where, slice) else values.index_select(0, where)


def put(values: Tensor, where: Where, rows: Tensor) -> None:
    """Overwrite the rows there."""
    if isinstance(where, slice):
        values[where] = rows
    else:
        values.index_copy_(0, where, rows)


def add(values: Tensor, where: Where, rows: Tensor) -> None:
    """Add to the rows there, each of which is named once."""
    if isinstance(where, slice):
        values[where].add_(rows)
    else:
        values.index_add_(0, where, rows)


def cut(rows: Tensor, counts: tuple[int, ...]) -> Sequence[Tensor]:
    """Into steps of so many rows, none more than the one before. Torch cuts equal ones six times as fast."""
    return rows.split(counts[0] if counts[0] == counts[-1] else counts)


@dataclass(frozen=True, eq=False)
class Step:
    """Nodes that are computed together, with equally many previous states each.

    `nodes` are their rows in the states, and `within` among all nodes of that arity. `children` are the rows of
    their previous states in the buffers, a node's side by side.
    """

    arity: int
    nodes: Where
    children: Where
    within: slice


@dataclass(frozen=True, eq=False)
class RowOrder:
    """A structure's states are `rows`: a chain's time-major over the sequences that have not ended, longest first (as
    in torch's `PackedSequence`), and a forest's in its own order. A buffer is `before` rows of initial states, and
    then these.

    `counts` are a chain's sequences at each step; `order` is the longest first, and `positions` the flat position of
    each row: None where that is the structure's own order.
    """

    device: torch.device
    before: int
    rows: int
    counts: tuple[int, ...] = ()
    order: Tensor | None = None
    forest: tuple[Step, ...] = ()

    @property
    def uniform(self) -> bool:
        """A chain of equally long sequences."""
        return bool(self.counts) and self.order is None

    @property
    def first(self) -> int:
        """A chain's first row that has a previous state."""
        return 0 if self.before else self.counts[0]

    @cached_property
    def positions(self) -> Tensor:
        """The flat position of each row."""
        if not self.counts:
            return torch.arange(self.rows, device=self.device)
        batch = torch.arange(self.counts[0]) if self.order is None else self.order.cpu()
        sample = torch.cat([batch[:count] for count in self.counts])
        step = torch.repeat_interleave(torch.arange(len(self.counts)), torch.tensor(self.counts))
        return (sample * len(self.counts) + step).to(self.device)

    def gather(self, values: Tensor) -> Tensor:
        """The structure's positions -> rows."""
        if not self.counts:
            return values
        if self.uniform:
            return values.transpose(0, 1).reshape(-1, values.shape[-1])
        return values.reshape(-1, values.shape[-1]).index_select(0, self.positions)

    def place(self, rows: Tensor) -> Tensor:
        """Rows -> the structure's positions, with zeros at padding."""
        if not self.counts:
            return rows
        batch, time = self.counts[0], len(self.counts)
        if self.uniform:
            return rows.view(time, batch, -1).transpose(0, 1)
        return rows.new_zeros(batch * time, rows.shape[-1]).index_copy(0, self.positions, rows).view(batch, time, -1)

    @cached_property
    def steps(self) -> Sequence[Step]:
        """In an order in which each step's previous states are there."""
        return self.forest or self._chain()

    @cached_property
    def by_arity(self) -> list[Step]:
        """All nodes with equally many previous states as one, in the order of the steps."""
        if self.counts:
            return self._chain_by_arity()
        arities = {step.arity: [other for other in self.steps if other.arity == step.arity] for step in self.steps}
        return [
            Step(
                arity,
                _together([step.nodes for step in steps], self.device),
                _together([step.children for step in steps], self.device),
                slice(0, steps[-1].within.stop),
            )
            for arity, steps in arities.items()
        ]

    def _chain(self) -> list[Step]:
        starts = [*accumulate(self.counts, initial=0)]
        steps = []
        for t, count in enumerate(self.counts):
            start = starts[t]
            if t == 0 and not self.before:
                steps.append(Step(0, slice(0, count), slice(0, 0), slice(0, count)))
                continue
            child = self.before + starts[t - 1] if t else 0
            within = slice(start - self.first, start - self.first + count)
            steps.append(Step(1, slice(start, start + count), slice(child, child + count), within))
        return steps

    def _chain_by_arity(self) -> list[Step]:
        leaves = [] if self.before else [self.steps[0]]
        inner = [step for step in self.steps if step.arity]
        if not inner:
            return leaves
        nodes = slice(self.first, self.rows)
        if self.uniform:
            children: Where = slice(0, self.before + self.rows - self.counts[-1])
        else:
            children = _together([step.children for step in inner], self.device)
        return [*leaves, Step(1, nodes, children, slice(0, self.rows - self.first))]


def _together(places: Sequence[Where], device: torch.device) -> Tensor:
    ranges = [torch.arange(at.start, at.stop, device=device) if isinstance(at, slice) else at for at in places]
    return torch.cat(ranges)


_KNOWN: weakref.WeakKeyDictionary[Chain | Forest, dict[tuple[bool, torch.device], RowOrder]] = (
    weakref.WeakKeyDictionary()
)


def plan_of(structure: Chain | Forest, initial: bool, device: torch.device) -> RowOrder:
    """The plan; `initial`: a chain's first steps have previous states."""
    known = _KNOWN.setdefault(structure, {})
    if (initial, device) not in known:
        known[initial, device] = _made(structure, initial, device)
    return known[initial, device]


def _made(structure: Chain | Forest, initial: bool, device: torch.device) -> RowOrder:
    if isinstance(structure, Forest):
        return RowOrder(device, 0, structure.nodes, forest=tuple(_steps(structure, device)))
    lengths, before = structure.lengths.cpu(), len(structure) if initial else 0
    if int(lengths.min()) == structure.time:
        return RowOrder(device, before, len(lengths) * structure.time, (len(lengths),) * structure.time)
    order = lengths.argsort(descending=True, stable=True)
    counts = (lengths[:, None] > torch.arange(structure.time)).sum(0)
    return RowOrder(device, before, int(lengths.sum()), tuple(counts.tolist()), order.to(device))


def _steps(forest: Forest, device: torch.device) -> Iterator[Step]:
    """All leaves at once, and then the levels from the deepest to the roots."""
    levels = forest.levels
    leaves = [
        group.rows + start
        for start, groups in zip(levels, forest.groups, strict=False)
        for group in groups
        if not group.arity
    ]
    nodes = torch.cat(leaves).to(device)
    yield Step(0, nodes, slice(0, 0), slice(0, len(nodes)))
    done: dict[int, int] = {}
    for depth in reversed(range(len(forest.groups))):
        groups = [group for group in forest.groups[depth] if group.arity]
        start, below = levels[depth], levels[depth + 1]
        for group in groups:
            # The children of a level are the next one, in order, and where all have equally many there is no gap.
            children = (
                (group.children.reshape(-1) + below).to(device) if len(groups) > 1 else slice(below, levels[depth + 2])
            )
            whole = len(forest.groups[depth]) == 1
            where = slice(start, below) if whole else (group.rows + start).to(device)
            first = done.get(group.arity, 0)
            done[group.arity] = first + len(group.rows)
            yield Step(group.arity, where, children, slice(first, done[group.arity]))
