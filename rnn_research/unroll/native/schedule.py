"""The order in which a structure's nodes are computed, as the driver wants it: groups of nodes with equally many
previous states, each group after those it reads."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rnn_research.structures import Chain, Forest

FOREST = 2**40  # rows in one run: a forest's tensors have no second axis


@dataclass(frozen=True, eq=False)
class Schedule:
    """`arity` and `count` of each group; of each node in turn its `row` in the states and the row of its first previous
    state (the others follow it). A chain's rows are time-major, t * batch + b, with rows for padding that no node has;
    rows below 0 are initial states. A tensor's row r lies at (r % inner, r // inner)."""

    arity: np.ndarray
    count: np.ndarray
    row: np.ndarray
    child: np.ndarray
    rows: int
    inner: int
    padded: bool

    def by_arity(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Each number of previous states there is, with the `row` and `child` of all its nodes."""
        of_node = np.repeat(self.arity, self.count)
        for arity in np.unique(self.arity).tolist():
            here = of_node == arity
            yield arity, torch.from_numpy(self.row[here]).long(), torch.from_numpy(self.child[here]).long()


_KNOWN: weakref.WeakKeyDictionary[Chain | Forest, dict[bool, Schedule]] = weakref.WeakKeyDictionary()


def schedule(structure: Chain | Forest, initial: bool) -> Schedule:
    """The schedule; `initial`: a chain's first steps have previous states."""
    known = _KNOWN.setdefault(structure, {})
    if initial not in known:
        known[initial] = _of_chain(structure, initial) if isinstance(structure, Chain) else _of_forest(structure)
    return known[initial]


def _of_chain(chain: Chain, initial: bool) -> Schedule:
    lengths, time, batch = chain.lengths.numpy(), chain.time, len(chain)
    order = np.argsort(-lengths, kind="stable")
    active = lengths[order] > np.arange(time)[:, None]
    row = (np.arange(time)[:, None] * batch + order)[active]
    arity = np.ones(time, np.int32)
    arity[0] = initial
    return Schedule(
        arity,
        active.sum(1, dtype=np.int32),
        row.astype(np.int32),
        (row - batch).astype(np.int32),
        time * batch,
        batch,
        not bool(active.all()),
    )


def _of_forest(forest: Forest) -> Schedule:
    arity, count, row, child = [], [], [], []
    for depth in reversed(range(len(forest.groups))):
        for group in forest.groups[depth]:
            arity.append(group.arity)
            count.append(len(group.rows))
            row.append(group.rows.numpy() + forest.levels[depth])
            first = group.children[:, 0].numpy() + forest.levels[depth + 1] if group.arity else np.zeros(len(group.rows))
            child.append(first)
    joined = [np.concatenate(parts).astype(np.int32) for parts in (row, child)]
    return Schedule(np.array(arity, np.int32), np.array(count, np.int32), *joined, forest.nodes, FOREST, False)
