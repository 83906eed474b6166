"""Many trees at once, as arrays: what generators and readers of bracketed files make samples from."""

from __future__ import annotations

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


def bracketed(text: np.ndarray, lengths: np.ndarray, opening: int, closing: int) -> Nodes:
    """The trees that brackets make of tokens: a bracket's node reads nothing, every other token is a leaf.

    Args:
        text: the tokens of all trees, end to end; brackets are balanced, and around the whole of a tree of several.
        lengths: tokens of each tree, brackets included.
        opening, closing: the tokens that are brackets.
    """
    opens, node = text == opening, text != closing
    depth = np.cumsum(np.where(node, opens, -1)) - opens
    at, deep = np.flatnonzero(node), len(text)
    keys = depth[at] * deep + at
    above = np.sort(keys[opens[at]])
    # A node's parent is the last bracket opened before it, of those one less deep.
    found = above[np.searchsorted(above, keys - deep) - 1] % deep if len(above) else at
    place = np.cumsum(node) - 1
    parent = np.where(depth[at] > 0, place[found], -1)
    tree, starts = np.repeat(np.arange(len(lengths)), lengths), np.cumsum(lengths) - lengths
    return Nodes(tree[at], parent, depth[at], at - starts[tree[at]], np.where(opens, 0, text)[at])
