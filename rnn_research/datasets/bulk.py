"""Many trees at once, as arrays: what generators and readers of bracketed files make samples from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rnn_research.structures import Sample, Tree


@dataclass(frozen=True, eq=False)
class Nodes:
    """The nodes of many trees, in any order: arrays of shape (nodes,).

    `tree` numbers the trees from 0. `parent` is the place in these arrays of the node above, -1 at a root. `depth` is
    edges from the root. Of the nodes of one tree and depth, `start` grows from left to right (where a node's text
    starts, say). `token` is what the node reads, 0 for nothing.
    """

    tree: np.ndarray
    parent: np.ndarray
    depth: np.ndarray
    start: np.ndarray
    token: np.ndarray

    def chosen(self, mask: np.ndarray) -> Nodes:
        """The nodes where `mask` is true, which must be whole trees or leave out whole subtrees. Trees left without a
        node are not counted."""
        place = np.cumsum(mask) - 1
        parent = self.parent[mask]
        tree = np.unique(self.tree[mask], return_inverse=True)[1]
        above = np.where(parent < 0, -1, place[parent])
        return Nodes(tree, above, self.depth[mask], self.start[mask], self.token[mask])


def assemble(nodes: Nodes, inputs: np.ndarray, lengths: np.ndarray, targets: np.ndarray) -> list[Sample]:
    """A sample of each tree.

    Args:
        inputs: the tokens of the trees' sequences, end to end.
        lengths: of each tree's sequence.
        targets: of each tree.
    """
    wide, deep = int(nodes.start.max()) + 1, int(nodes.depth.max()) + 1
    order = np.argsort((nodes.tree * deep + nodes.depth) * wide + nodes.start)
    sizes = np.bincount(nodes.tree)
    ends = np.cumsum(sizes)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - np.repeat(ends - sizes, sizes)
    above = nodes.parent[order]
    parents = np.split(np.where(above < 0, -1, place[above]), ends[:-1])
    tokens = np.split(nodes.token[order], ends[:-1])
    sequences = np.split(inputs, np.cumsum(lengths)[:-1])
    rows = zip(sequences, targets.tolist(), parents, tokens, strict=True)
    return [Sample(read, target, tree=Tree(parent), tree_inputs=at) for read, target, parent, at in rows]


def sums(values: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """The sum of the values that belong to each of `count` rows, as whole numbers."""
    return np.bincount(rows, weights=values, minlength=count).astype(np.int64)


def first_of(samples: Sequence[Sequence[Sample]], count: int) -> list[Sample]:
    """The first `count` of some lists of samples together."""
    return [sample for part in samples for sample in part][:count]
