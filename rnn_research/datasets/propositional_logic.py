"""Propositional logic: which of seven relations holds between two statements."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import final

import numpy as np

from rnn_research.checks import integer, integers, path_of
from rnn_research.datasets.generated import GeneratedModule
from rnn_research.datasets.logic_files import operators, read
from rnn_research.datasets.logic_statements import (
    RELATIONS,
    SEPARATOR,
    VOCABULARY,
    as_if_distinct,
    draw,
    relations,
    samples,
    sound,
    truths,
    write,
)
from rnn_research.datasets.streams import CHECKSUMS, OVERDRAW, checksum
from rnn_research.datasets.task import Task
from rnn_research.structures import Sample

MOST = 12  # operators: what the published files go to
TENTH = 10  # each tenth pair of the files for train is val


@final
class PropositionalLogic(GeneratedModule):
    """Two statements such as `( a ( and ( not b ) ) )`; the class is their relation, of seven: < > = ^ | # v.

    Bowman, Manning & Potts 2015, "Tree-structured composition in neural networks without tree-structured architectures"
    (arXiv:1506.04834), with the protocol of Tran et al. 2018 (arXiv:1803.03585): train on pairs whose longer statement
    (that with more operators) has at most six, evaluate by that number up to twelve. The relations are entailment
    forward and backward, equality, negation, alternation, independence and cover (MacCartney & Manning 2009), between
    the sets of the 64 worlds in which each statement is true; statements true in all or none are left out.

    Generated: as by the authors' program. A pair uses four of the six variables. An operand is a variable with
    probability 5/9, else `and` or `or` of two more, three levels deep at most, and is negated with probability
    1/3. The published 249,069 pairs are what differs among 500,000: short ones, which are few, are as rare as in
    that set. A pair's checksum decides its split.

    Files: with `root`, every file there whose name starts with train or test (train0 to train12, test0 to test12):
    `relation<TAB>left<TAB>right` a line. Val is each tenth pair for train, as in the code of Shen et al. 2019
    (arXiv:1910.13466); `train_size`, `val_size`, `test_size` and `seed` are without effect.

    Parse: `( left ( <sep> right ) )`, tokens at the leaves, nothing read at internal nodes, binary: the separator
    stands as an operator does, so that a cell that sums its children tells left from right. Sequence: `left <sep>
    right`, with the brackets, without which statements are ambiguous. The papers fold both statements on their own and
    give both vectors to a comparison layer (a neural tensor layer; in Shen et al. two layers on both, their product
    and their difference). Here the cell compares, at the root or in the last steps, and the readout is linear.

    The literature has no rule for when a run counts as solved.

    Args:
        root: the folder with the published files; None: generated samples.
        max_operators: of the longer statement in train, val and test, 1 to 12.
        test_operators: also evaluate on pairs whose longer statement has exactly so many, each a set
            `operators_<count>`; 1 to 12. (In the published files 12 stands for 12 and more: here for 12.)
        train_size: samples of train; likewise `val_size`, `test_size`.
        seed: which samples are drawn.

    Raises:
        ValueError: an argument is out of range; on loading, a file is missing or malformed (says which line).
    """

    def __init__(
        self,
        root: str | None = None,
        max_operators: int = 6,
        test_operators: list[int] | None = None,
        train_size: int = 100_000,
        val_size: int = 1_000,
        test_size: int = 2_000,
        seed: int = 0,
        batch_size: int = 32,
        num_workers: int = 0,
        bucket: bool = False,
    ) -> None:
        super().__init__(train_size, val_size, test_size, seed, batch_size, num_workers, bucket)
        self.root = None if root is None else path_of("root", root)
        self.overlaps = root is not None
        self.max_operators = integer("max_operators", max_operators, most=MOST)
        self.test_operators = integers("test_operators", test_operators, most=MOST)

    def load(self) -> tuple[Task, dict[str, Sequence[Sample]]]:
        found = self._generated() if self.root is None else self._read(self.root)
        return Task("classification", len(VOCABULARY), len(RELATIONS), tokens=True, max_children=2), found

    def features(self, split: str) -> dict[str, np.ndarray]:
        """Also `operators`: of the statement that has more."""
        counts = [_operators(sample.inputs) for sample in self.samples(split)]
        return super().features(split) | {"operators": np.array(counts)}

    def _generated(self) -> dict[str, Sequence[Sample]]:
        # No pair of train has more than max_operators: those that have need no checksum of their own.
        anything = tuple(range(4))
        further = {
            f"operators_{count}": partial(
                _make, (count, count), CHECKSUMS["test"] if count <= self.max_operators else anything
            )
            for count in self.test_operators
        }
        return self.streams(lambda split: partial(_make, (0, self.max_operators), CHECKSUMS[split]), further)

    def _read(self, root: Path) -> dict[str, Sequence[Sample]]:
        (train, sizes), (test, test_sizes) = (read(root, name) for name in ("train", "test"))
        train = _where(train, sizes <= self.max_operators, f"max_operators: given {self.max_operators}")
        found: dict[str, Sequence[Sample]] = {
            "train": [sample for index, sample in enumerate(train, start=1) if index % TENTH],
            "val": train[TENTH - 1 :: TENTH],
            "test": _where(test, test_sizes <= self.max_operators, f"max_operators: given {self.max_operators}"),
        }
        for count in self.test_operators:
            found[f"operators_{count}"] = _where(test, test_sizes == count, f"test_operators: given {count}")
        if not found["val"]:
            raise ValueError(
                f"dataset.root: {root} has {len(train)} pairs to train on, expected {TENTH} or more; fetch the files"
            )
        return found


def _where(pairs: list[Sample], mask: np.ndarray, given: str) -> list[Sample]:
    found = [pairs[index] for index in np.flatnonzero(mask)]
    if not found:
        raise ValueError(
            f"dataset.{given}, expected a number of operators for which the files have pairs; give another"
        )
    return found


def _operators(inputs: np.ndarray) -> int:
    words = inputs.tolist()
    middle = words.index(SEPARATOR)
    return max(operators(words[:middle]), operators(words[middle:]))


def _make(sizes: tuple[int, int], allowed: tuple[int, ...], random: np.random.Generator, count: int) -> list[Sample]:
    """Pairs are drawn until `count` of them belong to the set."""
    made: list[Sample] = []
    while len(made) < count:
        pairs = draw(random, 2 * OVERDRAW * count)
        longer = pairs.operators()
        pairs = pairs.chosen(np.flatnonzero((longer >= sizes[0]) & (longer <= sizes[1])))
        pairs = pairs.chosen(as_if_distinct(random, pairs))
        truth = truths(pairs)
        kept = sound(truth)
        pairs, classes = pairs.chosen(kept), relations(truth[kept])
        if len(pairs):
            wanted = np.flatnonzero(np.isin(checksum(*write(pairs)), allowed))[: count - len(made)]
            made += samples(*write(pairs.chosen(wanted)), classes[wanted]) if len(wanted) else []
    return made
