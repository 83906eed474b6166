"""The order in which a structure's states are computed: after all that they read. Every engine takes it from here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from rnn_research.structures.forest import Forest

Rows = slice | Tensor
"""Rows of states. It is a slice where they lie side by side."""


@dataclass(frozen=True, eq=False)
class TimeOrder:
    """The states of sequences, one time step after the other. At each step come the sequences that have not ended, the
    longest first, so that each step's sequences are the first ones of the step before.

    Attributes:
        samples: the sequences, the longest first; equally long ones as they are given.
        counts: how many sequences each step has.
        present: (steps, sequences), True where the sequence, of `samples`, has that step.
    """

    samples: np.ndarray
    counts: tuple[int, ...]
    present: np.ndarray

    @property
    def equal_lengths(self) -> bool:
        """Whether all sequences are equally long."""
        return self.counts[0] == self.counts[-1]

    def numbered(self, by_step: int, by_sample: int) -> np.ndarray:
        """step * by_step + sample * by_sample of each state, in this order."""
        return (np.arange(len(self.counts))[:, None] * by_step + self.samples * by_sample)[self.present]

    @property
    def positions(self) -> Int[Tensor, " rows"]:
        """Each state's place in a flat array of (sequences, longest length)."""
        return torch.from_numpy(self.numbered(1, len(self.counts)))

    @property
    def later(self) -> Int[Tensor, " rows"]:
        """The row of the state that reads each state; -1: none does."""
        row = np.full(self.present.shape, -1)
        row[self.present] = np.arange(sum(self.counts))
        following = np.concatenate([row[1:], np.full_like(row[:1], -1)])
        return torch.from_numpy(following[self.present])


def time_order(lengths: np.ndarray) -> TimeOrder:
    """The order of sequences of these lengths."""
    longest = int(lengths.max())
    if (lengths == longest).all():
        every = np.ones((longest, len(lengths)), bool)
        return TimeOrder(np.arange(len(lengths)), (len(lengths),) * longest, every)
    samples = np.argsort(-lengths, kind="stable")
    present = lengths[samples] > np.arange(longest)[:, None]
    return TimeOrder(samples, tuple(present.sum(1).tolist()), present)


@dataclass(frozen=True, eq=False)
class ReadyNodes:
    """Nodes of a forest that can be computed together: they have equally many children, and these are known.

    Attributes:
        rows: the nodes.
        children: their children; those of one node side by side, in order.
    """

    arity: int
    count: int
    rows: Rows
    children: Rows


def forest_order(forest: Forest) -> list[ReadyNodes]:
    """All leaves at once, and then the levels from the deepest to the roots, by number of children."""
    levels = forest.levels
    leaves = torch.cat(
        [
            group.rows + levels[depth]
            for depth, groups in enumerate(forest.groups)
            for group in groups
            if group.arity == 0
        ]
    )
    order = [ReadyNodes(0, len(leaves), leaves, slice(0, 0))]
    for depth in reversed(range(len(forest.groups))):
        start, below = levels[depth], levels[depth + 1]
        inner = [group for group in forest.groups[depth] if group.arity]
        whole = len(forest.groups[depth]) == 1
        for group in inner:
            # The children of a level are the next one, in order. Where all have equally many there is no gap.
            children = slice(below, levels[depth + 2]) if len(inner) == 1 else group.children.reshape(-1) + below
            rows = slice(start, below) if whole else group.rows + start
            order.append(ReadyNodes(group.arity, len(group.rows), rows, children))
    return order


def parents(forest: Forest) -> Int[Tensor, " nodes"]:
    """The row of each node's parent; -1 at the roots."""
    found = torch.full((forest.nodes,), -1)
    for depth, groups in enumerate(forest.groups):
        for group in groups:
            if group.arity:
                above = (group.rows + forest.levels[depth])[:, None].expand_as(group.children)
                found[group.children + forest.levels[depth + 1]] = above.to(found.device)
    return found
