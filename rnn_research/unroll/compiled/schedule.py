"""The order in which a structure's nodes are computed, as the driver wants it: groups of nodes with equally many
previous states, each group after those it reads."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnn_research.structures import Chain, Forest

MOST = 96  # nodes of a group: what the driver keeps of it stays in the second-level cache


@dataclass(frozen=True, eq=False)
class Schedule:
    """The `count` of each group and its `kind`: which of `arities` its nodes have; of each node in turn its `row` in
    the states and the row of its first previous state, `child` (the others follow it). A chain's rows are time-major,
    t * batch + b, with rows for padding that no node has where `padded`; rows below 0 are initial states. A tensor's
    row r lies at (r % inner, r // inner). The last states, which feed no other, are the rows of `last`."""

    arities: tuple[int, ...]
    kind: np.ndarray
    count: np.ndarray
    row: np.ndarray
    child: np.ndarray
    rows: int
    inner: int
    padded: bool
    last: slice

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
    return _of_lengths(lengths, initial)


@functools.lru_cache(maxsize=64)
def _of_equal_lengths(batch: int, time: int, initial: bool) -> Schedule:
    """The same for every batch of these lengths, so made once."""
    return _of_lengths(np.full(batch, time), initial)


def _of_lengths(lengths: np.ndarray, initial: bool) -> Schedule:
    time, batch = int(lengths.max()), len(lengths)
    order = np.argsort(-lengths, kind="stable")
    active = lengths[order] > np.arange(time)[:, None]
    row = (np.arange(time)[:, None] * batch + order)[active]
    arity = np.ones(time, np.int64)
    arity[0] = initial
    last = slice((time - 1) * batch, None)
    padded = not bool(active.all())
    return _made(arity, active.sum(1), row, row - batch, time * batch, batch, padded, last)


def _of_forest(forest: Forest) -> Schedule:
    levels = [(depth, group) for depth, groups in enumerate(forest.groups) for group in groups]
    leaves = [forest.levels[depth] + group.rows.numpy() for depth, group in levels if group.arity == 0]
    arity, count, row, child = [0], [sum(map(len, leaves))], leaves, [np.zeros(sum(map(len, leaves)))]
    for depth, group in reversed(levels):
        if group.arity:  # leaves wait for none: they all come first, together
            arity.append(group.arity)
            count.append(len(group.rows))
            row.append(forest.levels[depth] + group.rows.numpy())
            child.append(forest.levels[depth + 1] + group.children[:, 0].numpy())
    joined = np.concatenate(row), np.concatenate(child)
    return _made(np.array(arity), np.array(count), *joined, forest.nodes, forest.nodes, False, slice(0, len(forest)))


def _made(arity: np.ndarray, count: np.ndarray, row: np.ndarray, child: np.ndarray, *rest: Any) -> Schedule:
    pieces = -(-count // MOST)
    start = np.repeat(np.cumsum(pieces) - pieces, pieces)
    left = np.repeat(count, pieces) - MOST * (np.arange(pieces.sum()) - start)
    arity, count = np.repeat(arity, pieces), np.minimum(left, MOST)
    arities, kind = np.unique(arity, return_inverse=True)
    kind, count, row, child = (np.ascontiguousarray(array, np.int32) for array in (kind, count, row, child))
    return Schedule(tuple(arities.tolist()), kind, count, row, child, *rest)
