"""Boolean expressions with a known value at every node: trees whose depth is set exactly."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import final

import numpy as np

from rnn_research.checks import choice, integer, number
from rnn_research.datasets.generated import GeneratedModule
from rnn_research.datasets.task import Task
from rnn_research.structures import Sample, Tree

VOCABULARY = ("", "true", "false", "and", "or", "not")  # a token is its place here; 0 is the empty token
TRUE, FALSE, AND, OR, NOT = range(1, 6)
ARITY = np.array([0, 0, 0, 2, 2, 1])
DUAL = np.array([0, FALSE, TRUE, OR, AND, NOT])  # so exchanged, an expression changes its truth (De Morgan)
# Checksums modulo 4 of each split's expressions, so that none is in two splits: the shallow ones are few.
CHECKSUMS = {"train": (0, 1), "val": (2,), "test": (3,)}


@final
class BooleanTrees(GeneratedModule):
    """Expressions such as `and (not false) (or true false)`, to be evaluated; generated, with a chosen depth.

    In the spirit of the propositional logic of Bowman, Manning & Potts 2015 (arXiv:1506.04834) and of ListOps
    (Nangia & Bowman 2018, arXiv:1804.06028), but with the truth of every node known. A tree's depth is exact:
    of a node's two children one, on either side, is one edge less deep than the node, and the other's depth
    is uniform below it. So size grows far slower than 2^depth: 13 nodes at depth 4, 49 at 8, 320 at 16.

    Truth is drawn from the root down. The root is true half the time; `and` and `or` are equally likely
    whatever the node's truth; its children's truths are uniform over the pairs that give it. So operators
    alone tell nothing, and counting tokens is right for about 60 % at depth 4, and for less on deeper trees.

    Parse: each node reads its own token, operators too. Sequence: the tokens in prefix order, which with
    fixed arities is unambiguous. Classes: 0 false, 1 true.

    Args:
        depth: edges from the root to the deepest leaf, 2 to 20 (there are too few of depth 1).
        min_depth: each tree has a depth uniform in [min_depth, depth]; None: `depth` exactly.
        not_probability: share of `not` among operators, from 0 to 0.9.
        labels: `nodes` labels every node of the parse with its truth, `root` the root alone.
        train_size: samples of train; likewise `val_size`, `test_size`.
        seed: which samples are drawn.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        depth: int = 4,
        min_depth: int | None = None,
        not_probability: float = 0.2,
        labels: str = "nodes",
        train_size: int = 20_000,
        val_size: int = 1_000,
        test_size: int = 2_000,
        seed: int = 0,
        batch_size: int = 32,
        num_workers: int = 0,
        bucket: bool = False,
    ) -> None:
        super().__init__(train_size, val_size, test_size, seed, batch_size, num_workers, bucket)
        self.depth = integer("depth", depth, least=2, most=20)
        self.min_depth = depth if min_depth is None else integer("min_depth", min_depth, least=2, most=depth)
        self.not_probability = number("not_probability", not_probability, least=0.0, most=0.9)
        self.labels = choice("labels", labels, ("nodes", "root"))

    def load(self) -> tuple[Task, dict[str, Sequence[Sample]]]:
        depths, of_nodes = (self.min_depth, self.depth), self.labels == "nodes"
        samples = self.streams(lambda split: partial(_make, depths, self.not_probability, of_nodes, CHECKSUMS[split]))
        task = Task(
            "classification",
            input_size=len(VOCABULARY),
            output_size=2,
            tokens=True,
            max_children=2,
            tree_targets=of_nodes,
        )
        return task, samples


def _make(
    depths: tuple[int, int],
    not_probability: float,
    of_nodes: bool,
    checksums: tuple[int, ...],
    random: np.random.Generator,
    count: int,
) -> list[Sample]:
    """Expressions are drawn until `count` of them belong to the split."""
    samples: list[Sample] = []
    while len(samples) < count:
        heights = random.integers(depths[0], depths[1] + 1, size=2 * count)
        samples += [
            _sample(token, truth, of_nodes)
            for token, truth in _grow(random, heights, not_probability)
            if zlib.crc32(_dual(token, truth).tobytes()) % 4 in checksums
        ]
    return samples[:count]


def _dual(token: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The true one of an expression and its dual. The two share a split, which keeps its classes balanced."""
    return token if truth[0] else DUAL[token]


def _sample(token: np.ndarray, truth: np.ndarray, of_nodes: bool) -> Sample:
    """The sample whose nodes are given breadth-first; fixed arities make that unambiguous too."""
    arity = ARITY[token]
    tree = Tree(np.concatenate([[-1], np.repeat(np.arange(len(token)), arity)]))
    targets = truth if of_nodes else None
    return Sample(token[_prefix(arity)], int(truth[0]), tree=tree, tree_inputs=token, tree_targets=targets)


def _prefix(arity: np.ndarray) -> list[int]:
    """The nodes in prefix order: each before its children's subtrees, left to right."""
    arities, first = arity.tolist(), (1 + np.cumsum(arity) - arity).tolist()
    order, stack = [], [0]
    while stack:
        node = stack.pop()
        order.append(node)
        stack.extend(reversed(range(first[node], first[node] + arities[node])))
    return order


def _grow(
    random: np.random.Generator, heights: np.ndarray, not_probability: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A tree of each height: its nodes' tokens and truths, breadth-first. All grow level by level."""
    tree, height = np.arange(len(heights)), heights
    truth = random.random(len(tree)) < 0.5
    levels = []
    while len(tree):
        token = _tokens(random, height > 0, truth, not_probability)
        levels.append((tree, token, truth.astype(np.int64)))
        owner = np.repeat(np.arange(len(tree)), ARITY[token])
        side = np.arange(len(owner)) - np.searchsorted(owner, owner)  # 0: the first child, 1: the second
        truth = _truths(random, token, truth)[owner, side]
        deepest = np.where(token == NOT, 0, random.integers(2, size=len(tree)))
        height, tree = height[owner], tree[owner]
        height = np.where(side == deepest[owner], height - 1, random.integers(0, height))
    trees, tokens, truths = (np.concatenate(parts) for parts in zip(*levels, strict=True))
    order, bounds = np.argsort(trees, kind="stable"), np.cumsum(np.bincount(trees))[:-1]
    return zip(np.split(tokens[order], bounds), np.split(truths[order], bounds), strict=True)


def _tokens(random: np.random.Generator, inner: np.ndarray, truth: np.ndarray, not_probability: float) -> np.ndarray:
    negation = random.random(len(inner)) < not_probability
    conjunction = random.random(len(inner)) < 0.5
    return np.select([~inner & truth, ~inner, negation, conjunction], [TRUE, FALSE, NOT, AND], OR)


def _truths(random: np.random.Generator, token: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The truths of two children of each node, shape (nodes, 2), that give the node's own."""
    # One child decides a false `and` and a true `or`: the other may differ. Else children are like the node.
    decided = np.where(token == AND, ~truth, truth) & (token != NOT)
    differs = decided[:, None] & (random.integers(3, size=len(token))[:, None] == np.arange(2))
    return truth[:, None] ^ (differs | (token == NOT)[:, None])
