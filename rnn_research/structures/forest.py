"""A batch of trees: the states of a node's children feed the node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rnn_research.structures.tree import Tree


@dataclass(frozen=True, eq=False)
class NodeGroup:
    """The nodes of one level that have the same number of children.

    `rows` are their places in the level, `children` the places of their children in the next deeper level.
    """

    rows: Int[Tensor, " nodes"]
    children: Int[Tensor, "nodes arity"]

    @property
    def arity(self) -> int:
        return self.children.shape[1]

    def to(self, *args: Any, **kwargs: Any) -> NodeGroup:
        return NodeGroup(self.rows.to(*args, **kwargs), self.children.to(*args, **kwargs))


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees of any arity, their nodes sorted by depth from the root, within a depth by tree, siblings in order.

    Sorted so, the children of the nodes at one depth are exactly the nodes of the next depth, in order. A position
    is a node; states have shape (nodes, hidden). `order[v]` is where node v of the forest stands in the
    concatenation of the trees' own (breadth-first) numberings.
    """

    sample: Int[Tensor, " nodes"]
    distance: Int[Tensor, " nodes"]
    order: Int[Tensor, " nodes"]
    levels: tuple[int, ...]
    groups: tuple[tuple[NodeGroup, ...], ...]

    @staticmethod
    def of(trees: Sequence[Tree]) -> Forest:
        """The forest of `trees`.

        Raises:
            ValueError: no trees.
        """
        if not trees:
            raise ValueError("trees: given none, expected at least one")
        depth = np.concatenate([tree.depth for tree in trees])
        arity = np.concatenate([tree.arity for tree in trees])
        tree = np.repeat(np.arange(len(trees)), [len(tree) for tree in trees])
        order = np.argsort(depth, kind="stable")  # within a depth: by tree, then breadth-first
        depth, arity = depth[order], arity[order]
        levels = np.concatenate([[0], np.cumsum(np.bincount(depth))])
        return Forest(
            sample=torch.from_numpy(tree[order]),
            distance=torch.from_numpy(depth),
            order=torch.from_numpy(order),
            levels=tuple(levels.tolist()),
            groups=_groups(depth, arity, levels),
        )

    def __len__(self) -> int:
        """Trees."""
        return self.levels[1]

    @property
    def nodes(self) -> int:
        return self.levels[-1]

    @property
    def shape(self) -> tuple[int]:
        """The shape of the positions: (nodes,)."""
        return (self.nodes,)

    @cached_property
    def max_children(self) -> int:
        """The largest arity."""
        return max(group.arity for level in self.groups for group in level)

    @cached_property
    def mask(self) -> Bool[Tensor, " nodes"]:
        """True everywhere: a forest has no padding."""
        return torch.ones_like(self.sample, dtype=torch.bool)

    def terminal(self, values: Float[Tensor, "nodes features"]) -> Float[Tensor, "trees features"]:
        """The value at each tree's root."""
        return values[: len(self)]

    def to(self, *args: Any, **kwargs: Any) -> Forest:
        """The same forest on another device; itself where it is there."""
        sample = self.sample.to(*args, **kwargs)
        if sample is self.sample:
            return self
        return Forest(
            sample,
            self.distance.to(*args, **kwargs),
            self.order.to(*args, **kwargs),
            self.levels,
            tuple(tuple(group.to(*args, **kwargs) for group in level) for level in self.groups),
        )


def _groups(depth: np.ndarray, arity: np.ndarray, levels: np.ndarray) -> tuple[tuple[NodeGroup, ...], ...]:
    """Each level's nodes by number of children; the next level holds the children in order. All levels are worked out
    together, and then cut."""
    place = np.arange(len(depth)) - levels[depth]
    first = levels[1] + np.cumsum(arity) - arity - levels[depth + 1]
    groups: list[list[NodeGroup]] = [[] for _ in range(len(levels) - 1)]
    for count in np.flatnonzero(np.bincount(arity)):
        nodes = np.flatnonzero(arity == count)
        rows, children = torch.from_numpy(place[nodes]), torch.from_numpy(first[nodes, None] + np.arange(count))
        sizes = np.bincount(depth[nodes], minlength=len(groups)).tolist()
        for level, size, *group in zip(groups, sizes, rows.split(sizes), children.split(sizes), strict=True):
            if size:
                level.append(NodeGroup(*group))
    return tuple(map(tuple, groups))
