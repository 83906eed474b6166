"""One sample's tree, and the trees that can be made from a sequence.

A `Tree` knows its shape alone: what stands at the nodes (words, labels) lies in arrays aligned with it. Nodes are
numbered breadth-first from the root, siblings in order, so that each depth is a contiguous slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np


@dataclass(frozen=True, eq=False)
class Tree:
    """A rooted ordered tree: `parent[v]` is the node above v, -1 at the root (node 0), breadth-first.

    Raises:
        ValueError: `parent` is empty, not a tree, or not numbered breadth-first (see `Tree.of`).
    """

    parent: np.ndarray

    def __post_init__(self) -> None:
        parent = np.asarray(self.parent, dtype=np.int64)
        object.__setattr__(self, "parent", parent)
        if parent.ndim != 1 or parent.size == 0:
            raise ValueError(f"parent: given shape {parent.shape}, expected a vector of at least one node")
        if parent[0] != -1 or (parent[1:] < 0).any() or (parent[1:] >= np.arange(1, parent.size)).any():
            raise ValueError("parent: expected -1 at node 0 and an earlier node elsewhere; number it with Tree.of")
        if (np.diff(parent) < 0).any():
            raise ValueError("parent: nodes are not numbered breadth-first; number them with Tree.of")

    @staticmethod
    def of(parent: np.ndarray | list[int]) -> tuple[Tree, np.ndarray]:
        """The tree with any numbering of its nodes (siblings ordered by number), and `order`, such that node v of
        the tree is node `order[v]` of the numbering given.

        Raises:
            ValueError: not one root, a parent that does not exist, or a cycle.
        """
        parents = np.asarray(parent, dtype=np.int64)
        roots = np.flatnonzero(parents == -1)
        if len(roots) != 1:
            raise ValueError(f"parent: given {len(roots)} roots (entries -1), expected exactly one")
        if ((parents < -1) | (parents >= parents.size)).any():
            raise ValueError(f"parent: an entry is outside -1..{parents.size - 1}")
        children: list[list[int]] = [[] for _ in range(parents.size)]
        for node, above in enumerate(parents.tolist()):
            if above >= 0:
                children[above].append(node)
        order, position = [int(roots[0])], {}
        for node in order:
            position[node] = len(position)
            order.extend(children[node])
        if len(order) != parents.size:
            raise ValueError("parent: some nodes are not reached from the root (a cycle)")
        renamed = [-1] + [position[int(parents[node])] for node in order[1:]]
        return Tree(np.array(renamed)), np.array(order)

    def __len__(self) -> int:
        return self.parent.size

    @cached_property
    def arity(self) -> np.ndarray:
        """Children of each node, shape (nodes,)."""
        return np.bincount(self.parent[1:], minlength=len(self))

    @cached_property
    def depth(self) -> np.ndarray:
        """Edges from the root to each node, shape (nodes,)."""
        depth = [0] * len(self)
        for node, above in enumerate(self.parent.tolist()[1:], start=1):  # quicker than arrays: most trees are small
            depth[node] = depth[above] + 1
        return np.array(depth)

    @cached_property
    def leaves(self) -> np.ndarray:
        """The leaves from left to right: the tree's sequence."""
        first = 1 + np.cumsum(self.arity) - self.arity  # node v's children start here
        found, stack = [], [0]
        while stack:
            node = stack.pop()
            if self.arity[node] == 0:
                found.append(node)
            stack.extend(range(int(first[node] + self.arity[node]) - 1, int(first[node]) - 1, -1))
        return np.array(found)


def _branching(length: int, side: int) -> Tree:
    """Internal nodes make a spine; each has a leaf on one side and the rest of the spine on the other."""
    if length < 1:
        raise ValueError(f"length: given {length}, expected at least 1 leaf")
    parent, spine = [-1], 0
    for _ in range(length - 1):
        parent += [spine, spine]
        spine = len(parent) - 1 - side
    return Tree(np.array(parent))


@lru_cache(maxsize=4096)
def left_branching(length: int) -> Tree:
    """`(((1 2) 3) 4)`: the first leaf is deepest. Binary, `2 * length - 1` nodes."""
    return _branching(length, side=1)


@lru_cache(maxsize=4096)
def right_branching(length: int) -> Tree:
    """`(1 (2 (3 4)))`: the last leaf is deepest. Binary, `2 * length - 1` nodes."""
    return _branching(length, side=0)


@lru_cache(maxsize=4096)
def balanced(length: int) -> Tree:
    """The binary tree over `length` leaves whose depth is ceil(log2(length)); the left half is the larger."""
    if length < 1:
        raise ValueError(f"length: given {length}, expected at least 1 leaf")
    parent, spans = [-1], [length]
    for node, span in enumerate(spans):  # breadth-first: spans grows while it is read
        if span > 1:
            parent += [node, node]
            spans += [span - span // 2, span // 2]
    return Tree(np.array(parent))


@lru_cache(maxsize=4096)
def unary(length: int) -> Tree:
    """A chain as a tree: one child a node, the last step at the root, the first step the one leaf."""
    if length < 1:
        raise ValueError(f"length: given {length}, expected at least 1 node")
    return Tree(np.arange(-1, length - 1))
