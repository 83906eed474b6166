"""The order in which a structure's nodes are computed, as the driver wants it: in groups of nodes with equally many
previous states."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnn_research.structures import Chain, Forest
from rnn_research.structures.order import Rows, TimeOrder, forest_order, time_order

MOST = 96  # nodes of a group: what the driver keeps of it stays in the second-level cache


@dataclass(frozen=True, eq=False)
class Schedule:
    """The `count` of each group and its `kind`: which of `arities` its nodes have; of each node in turn its `row` in
    the states and the row of its first previous state, `child` (the others follow it). A chain's rows are time-major,
    t * batch + b, with rows for padding that no node has where `padded`; rows below 0 are initial states. A tensor's
    row r lies at (r % inner, r // inner). The last states, which feed no other, are the rows of `last`. `sample` is the
    sample of each node, a number below `samples`; nodes of a group lie by sample, those without previous states apart.
    No node depends on another sample's."""

    arities: tuple[int, ...]
    kind: np.ndarray
    count: np.ndarray
    row: np.ndarray
    child: np.ndarray
    rows: int
    inner: int
    padded: bool
    last: slice
    samples: int
    of_sample: Callable[[], np.ndarray]

    @cached_property
    def sample(self) -> np.ndarray:
        return np.ascontiguousarray(self.of_sample(), np.int32)

    @cached_property
    def nodes(self) -> tuple[list[int], list[int]]:
        """Of each arity, its nodes and the nodes of its largest group."""
        counts = [self.count[self.kind == kind] for kind in range(len(self.arities))]
        return [int(count.sum()) for count in counts], [int(count.max()) for count in counts]

    @cached_property
    def addresses(self) -> tuple[int, ...]:
        """Of the arrays, for the driver."""
        return tuple(array.ctypes.data for array in (self.kind, self.count, self.row, self.child))

    def by_arity(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Each number of previous states there is, with the `row` and `child` of all its nodes."""
        of_node = np.repeat(self.kind, self.count)
        for kind, arity in enumerate(self.arities):
            here = of_node == kind
            yield arity, torch.from_numpy(self.row[here]).long(), torch.from_numpy(self.child[here]).long()


_KNOWN: weakref.WeakKeyDictionary[Chain | Forest, dict[bool, Schedule]] = weakref.WeakKeyDictionary()


def schedule(structure: Chain | Forest, initial: bool) -> Schedule:
    """The schedule; `initial`: a chain's first steps have previous states."""
    known = _KNOWN.setdefault(structure, {})
    if initial not in known:
        known[initial] = _of_chain(structure, initial) if isinstance(structure, Chain) else _of_forest(structure)
    return known[initial]


def _of_chain(chain: Chain, initial: bool) -> Schedule:
    lengths = chain.lengths.numpy()
    if (lengths == chain.time).all():
        return _of_equal_lengths(len(chain), chain.time, initial)
    return _of_order(time_order(lengths), initial)


@functools.lru_cache(maxsize=64)
def _of_equal_lengths(batch: int, time: int, initial: bool) -> Schedule:
    """The same for every batch of these lengths, so made once."""
    return _of_order(time_order(np.full(batch, time)), initial)


def _of_order(order: TimeOrder, initial: bool) -> Schedule:
    time, batch = len(order.counts), len(order.samples)
    row = order.numbered(batch, 1)
    arity = np.ones(time, np.int64)
    arity[0] = initial
    last = slice((time - 1) * batch, None)
    padded = not order.equal_lengths

    def by_place() -> np.ndarray:
        """A sequence's number is its place at each step: the longest first."""
        return order.numbered(0, 1) if order.equal_lengths else np.concatenate([*map(np.arange, order.counts)])

    return _made(arity, np.array(order.counts), row, row - batch, time * batch, batch, padded, last, batch, by_place)


def _of_forest(forest: Forest) -> Schedule:
    order = forest_order(forest)
    arity, count = (np.array([getattr(nodes, name) for nodes in order]) for name in ("arity", "count"))
    row = np.concatenate([_numbers(nodes.rows) for nodes in order])
    leaves, *inner = order
    child = np.concatenate([np.zeros(leaves.count), *(_numbers(nodes.children)[:: nodes.arity] for nodes in inner)])
    rows, trees = forest.nodes, len(forest)
    return _made(
        arity, count, row, child, rows, rows, False, slice(0, trees), trees, lambda: forest.sample.numpy()[row]
    )


def _numbers(rows: Rows) -> np.ndarray:
    return np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows.numpy()


def _made(arity: np.ndarray, count: np.ndarray, row: np.ndarray, child: np.ndarray, *rest: Any) -> Schedule:
    """Groups of too many nodes are cut into pieces of even sizes: few rows take as long as a few more."""
    pieces = -(-count // MOST)
    number = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    arity, count = (
        np.repeat(arity, pieces),
        np.repeat(count // pieces, pieces) + (number < np.repeat(count % pieces, pieces)),
    )
    arities, kind = np.unique(arity, return_inverse=True)
    kind, count, row, child = (np.ascontiguousarray(array, np.int32) for array in (kind, count, row, child))
    return Schedule(tuple(arities.tolist()), kind, count, row, child, *rest)
