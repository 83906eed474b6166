"""Where the rows of a structure's states lie, in the order in which they are computed."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

from rnn_research.structures import Chain, Forest
from rnn_research.structures.order import Rows, TimeOrder, forest_order, time_order


def take(values: Tensor, where: Rows) -> Tensor:
    """The rows there: a view of them where they lie side by side, else a copy."""
    return values[where] if isinstance(where, slice) else values.index_select(0, where)


def put(values: Tensor, where: Rows, rows: Tensor) -> None:
    """Overwrite the rows there."""
    if isinstance(where, slice):
        values[where] = rows
    else:
        values.index_copy_(0, where, rows)


def add(values: Tensor, where: Rows, rows: Tensor) -> None:
    """Add to the rows there, each of which is named once."""
    if isinstance(where, slice):
        values[where].add_(rows)
    else:
        values.index_add_(0, where, rows)


def cut(rows: Tensor, counts: tuple[int, ...]) -> Sequence[Tensor]:
    """Into steps of so many rows, none more than the one before. Torch cuts equal ones six times as fast."""
    return rows.split(counts[0] if counts[0] == counts[-1] else counts)


@dataclass(frozen=True, eq=False)
class RowGroup:
    """Nodes that are computed together, with equally many previous states each.

    `nodes` are their rows in the states, and `within` among all nodes of that arity. `children` are the rows of
    their previous states in the buffers, a node's side by side.
    """

    arity: int
    nodes: Rows
    children: Rows
    within: slice


@dataclass(frozen=True, eq=False)
class RowOrder:
    """A structure's states are `rows`: a chain's time-major over the sequences that have not ended, longest first (as
    in torch's `PackedSequence`), and a forest's in its own order. A buffer is `before` rows of initial states, and
    then these.

    `time` is a chain's order, `forest` are a forest's groups.
    """

    device: torch.device
    before: int
    rows: int
    time: TimeOrder | None = None
    forest: tuple[RowGroup, ...] = ()

    @property
    def counts(self) -> tuple[int, ...]:
        """A chain's sequences at each step."""
        return () if self.time is None else self.time.counts

    @cached_property
    def uniform(self) -> bool:
        """Whether it is a chain of equally long sequences."""
        return self.time is not None and self.time.equal_lengths

    @cached_property
    def longest_first(self) -> Tensor | None:
        """A chain's sequences in the order of its rows; None: as they are."""
        return None if self.time is None or self.uniform else torch.from_numpy(self.time.samples).to(self.device)

    @property
    def first(self) -> int:
        """A chain's first row that has a previous state."""
        return 0 if self.before else self.counts[0]

    @cached_property
    def positions(self) -> Tensor:
        """The flat position of each row."""
        if self.time is None:
            return torch.arange(self.rows, device=self.device)
        return self.time.positions.to(self.device)

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
    def groups(self) -> Sequence[RowGroup]:
        """In an order in which each group's previous states are there."""
        return self.forest or self._chain()

    @cached_property
    def by_arity(self) -> list[RowGroup]:
        """All nodes with equally many previous states as one, in the order of the steps."""
        if self.counts:
            return self._chain_by_arity()
        arities = {step.arity: [other for other in self.groups if other.arity == step.arity] for step in self.groups}
        return [
            RowGroup(
                arity,
                _together([step.nodes for step in steps], self.device),
                _together([step.children for step in steps], self.device),
                slice(0, steps[-1].within.stop),
            )
            for arity, steps in arities.items()
        ]

    def _chain(self) -> list[RowGroup]:
        starts = [*accumulate(self.counts, initial=0)]
        steps = []
        for t, count in enumerate(self.counts):
            start = starts[t]
            if t == 0 and not self.before:
                steps.append(RowGroup(0, slice(0, count), slice(0, 0), slice(0, count)))
                continue
            child = self.before + starts[t - 1] if t else 0
            within = slice(start - self.first, start - self.first + count)
            steps.append(RowGroup(1, slice(start, start + count), slice(child, child + count), within))
        return steps

    def _chain_by_arity(self) -> list[RowGroup]:
        leaves = [] if self.before else [self.groups[0]]
        inner = [step for step in self.groups if step.arity]
        if not inner:
            return leaves
        nodes = slice(self.first, self.rows)
        if self.uniform:
            children: Rows = slice(0, self.before + self.rows - self.counts[-1])
        else:
            children = _together([step.children for step in inner], self.device)
        return [*leaves, RowGroup(1, nodes, children, slice(0, self.rows - self.first))]


def _together(places: Sequence[Rows], device: torch.device) -> Tensor:
    ranges = [torch.arange(at.start, at.stop, device=device) if isinstance(at, slice) else at for at in places]
    return torch.cat(ranges)


_KNOWN: weakref.WeakKeyDictionary[Chain | Forest, dict[tuple[bool, torch.device], RowOrder]] = (
    weakref.WeakKeyDictionary()
)


def row_order_of(structure: Chain | Forest, initial: bool, device: torch.device) -> RowOrder:
    """The order of a structure's rows, made once. `initial`: a chain's first steps have previous states."""
    known = _KNOWN.setdefault(structure, {})
    if (initial, device) not in known:
        known[initial, device] = _made(structure, initial, device)
    return known[initial, device]


def _made(structure: Chain | Forest, initial: bool, device: torch.device) -> RowOrder:
    if isinstance(structure, Forest):
        return RowOrder(device, 0, structure.nodes, forest=tuple(_groups(structure, device)))
    order = time_order(structure.lengths.cpu().numpy())
    return RowOrder(device, len(structure) if initial else 0, sum(order.counts), time=order)


def _groups(forest: Forest, device: torch.device) -> Iterator[RowGroup]:
    done: dict[int, int] = {}
    for ready in forest_order(forest):
        first = done.get(ready.arity, 0)
        done[ready.arity] = first + ready.count
        rows, children = (at if isinstance(at, slice) else at.to(device) for at in (ready.rows, ready.children))
        yield RowGroup(ready.arity, rows, children, slice(first, done[ready.arity]))
