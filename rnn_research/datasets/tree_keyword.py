"""A keyword in a random tree: its class must be told at the root, however deep it stands."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import final

import numpy as np

from rnn_research.checks import integer, integers
from rnn_research.datasets.generated import GeneratedModule
from rnn_research.datasets.streams import CHECKSUMS, rows_with_checksums
from rnn_research.datasets.task import SolvedCriterion, Task
from rnn_research.datasets.tree_arrays import Nodes, assemble
from rnn_research.structures import Sample

CLASSES = 10
KEYWORDS = 100  # tokens 1 to 100, ten a class
WORDS = 1000  # tokens 101 to 1100: irrelevant


@final
class TreeKeyword(GeneratedModule):
    """Random binary trees with one keyword among irrelevant words at their leaves; the class is the keyword's.

    Le & Zuidema 2016, "Quantifying the vanishing gradient and long distance dependency problem in recursive neural
    networks and recursive LSTMs" (arXiv:1603.00423): 100 keywords in 10 classes, 1000 other words, data sets by
    the number of leaves (1-10, 11-20, ..., 91-100). Here the number of leaves, the keyword, its leaf, and the other
    words are uniform. A tree is made by merging two random neighbours until one node is left; it is drawn from the
    root down, which is the same: the last merge is uniform over the gaps between leaves, and so on in both parts.

    The paper draws accuracy against length and depth. Solved is here a run with fewer than 1% of trees wrong, as in
    the tasks of Hochreiter & Schmidhuber 1997.

    Parse: words at the leaves, nothing read at internal nodes. Sequence: the words. No sequence of words is in two
    splits: its checksum decides the split.

    Args:
        min_leaves: of a tree, at least 1; null: max_leaves - 9, a data set of the paper.
        max_leaves: each tree has a number of leaves uniform in [min_leaves, max_leaves].
        test_leaves: also evaluate on trees of exactly so many leaves, each a set `leaves_<count>`.
        train_size: samples of train; likewise `val_size`, `test_size`.
        seed: which samples are drawn.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        min_leaves: int | None = None,
        max_leaves: int = 10,
        test_leaves: list[int] | None = None,
        train_size: int = 20_000,
        val_size: int = 1_000,
        test_size: int = 2_000,
        seed: int = 0,
        batch_size: int = 32,
        num_workers: int = 0,
        bucket: bool = False,
    ) -> None:
        super().__init__(train_size, val_size, test_size, seed, batch_size, num_workers, bucket)
        least = integer("max_leaves", max_leaves) - 9 if min_leaves is None else min_leaves
        self.min_leaves = integer("min_leaves", max(1, least) if min_leaves is None else least)
        self.max_leaves = integer("max_leaves", max_leaves, least=self.min_leaves)
        self.test_leaves = integers("test_leaves", test_leaves)

    def load(self) -> tuple[Task, dict[str, Sequence[Sample]]]:
        further = {f"leaves_{count}": partial(_make, count, count, CHECKSUMS["test"]) for count in self.test_leaves}
        samples = self.streams(
            lambda split: partial(_make, self.min_leaves, self.max_leaves, CHECKSUMS[split]), further
        )
        vocabulary, rule = KEYWORDS + WORDS + 1, SolvedCriterion("accuracy", 0.99)
        return Task("classification", vocabulary, CLASSES, tokens=True, max_children=2, success=rule), samples

    def features(self, split: str) -> dict[str, np.ndarray]:
        """Also `keyword_depth`: edges from the root to the keyword."""
        return super().features(split) | {"keyword_depth": np.array([_depth(one) for one in self.samples(split)])}


def _depth(sample: Sample) -> int:
    assert sample.tree is not None
    assert sample.tree_inputs is not None
    read = sample.tree_inputs
    return int(sample.tree.depth[(read > 0) & (read <= KEYWORDS)].item())


def _make(fewest: int, most: int, checksums: tuple[int, ...], random: np.random.Generator, count: int) -> list[Sample]:
    def draw(rows: int) -> tuple[np.ndarray, np.ndarray]:
        lengths = random.integers(fewest, most + 1, size=rows)
        words = random.integers(KEYWORDS + 1, KEYWORDS + WORDS + 1, size=(rows, most))
        words[np.arange(rows), random.integers(lengths)] = random.integers(1, KEYWORDS + 1, size=rows)
        words[np.arange(most) >= lengths[:, None]] = 0
        return words, lengths

    words, lengths = rows_with_checksums(draw, checksums, count)
    keyword = np.where(words <= KEYWORDS, words, 0).max(axis=1)
    targets = (keyword - 1) // (KEYWORDS // CLASSES)
    return assemble(_grow(random, words, lengths), words[words > 0], lengths, targets)


def _grow(random: np.random.Generator, words: np.ndarray, lengths: np.ndarray) -> Nodes:
    """Trees over so many leaves each, all grown level by level: a node over several leaves is cut in two anywhere."""
    tree, start, span = np.arange(len(lengths)), np.zeros_like(lengths), lengths
    parent, levels, made = np.full(len(lengths), -1), [], 0
    while len(tree):
        token = np.where(span == 1, words[tree, start], 0)
        levels.append((tree, parent, np.full_like(tree, len(levels)), start, token))
        inner = np.flatnonzero(span > 1)
        left = random.integers(1, span[inner])
        parent = np.repeat(made + inner, 2)
        made += len(tree)
        tree, start = np.repeat(tree[inner], 2), np.stack([start[inner], start[inner] + left], axis=1).ravel()
        span = np.stack([left, span[inner] - left], axis=1).ravel()
    return Nodes(*(np.concatenate(parts) for parts in zip(*levels, strict=True)))
