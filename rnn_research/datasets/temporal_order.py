"""The temporal order problem: which of two symbols came first, long before the answer is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import final

import numpy as np

from rnn_research.checks import integer, integers
from rnn_research.datasets.generated import GeneratedModule
from rnn_research.datasets.task import SolvedCriterion, Task
from rnn_research.structures import Sample, SampleArrays
from rnn_research.structures.layouts import NO_INPUT

SYMBOLS = ("A", "B", "c", "d", "e", "f")
RELEVANT = 2  # A and B; the other four distract
# Distractors' sums modulo 4, of each split: no sequence can occur in two splits, however short sequences are.
SUMS = {"train": (0, 1), "val": (2,), "test": (3,)}
PLACES = {2: ((1, 2), (5, 6)), 3: ((1, 2), (3, 4), (6, 7))}
"""Where the relevant symbols stand, by their number: from and below which tenth of the sequence."""


@final
class TemporalOrder(GeneratedModule):
    """Six symbols, one-hot: A or B at two places, else c, d, e or f. The class is the pair: AA, BA, AB, BB.

    Hochreiter & Schmidhuber 1997, experiment 6a, in the form of Pascanu, Mikolov & Bengio 2013
    (arXiv:1211.5063, section 4.1): in a sequence of length L the places are uniform in [L/10, L/5) and in
    [L/2, 3L/5), and the class is `v0 + 2 v1`, where v is 0 for A and 1 for B. With three symbols (experiment
    6b), the places are in [L/10, L/5), [3L/10, 2L/5) and [3L/5, 7L/10), as in the code of the same authors, and
    the class is `v0 + 2 v1 + 4 v2`. All draws are uniform and independent, save that the last distractor
    decides the split (see `SUMS`) and tells nothing of the class.

    Solved is a run with fewer than 1% of sequences wrong (Pascanu et al.).

    Samples: inputs (length, 6) float32.

    Args:
        length: steps, at least 10: shorter sequences have no room for the places.
        max_length: each sequence has a length uniform in [length, max_length]; None: `length` exactly.
        symbols: how many places are relevant, 2 (4 classes) or 3 (8 classes).
        test_lengths: also evaluate on sequences of exactly these lengths, each a set `length_<steps>`.
        train_size: samples of train; likewise `val_size`, `test_size`.
        seed: which samples are drawn.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        length: int = 50,
        max_length: int | None = None,
        symbols: int = 2,
        test_lengths: list[int] | None = None,
        train_size: int = 20_000,
        val_size: int = 1_000,
        test_size: int = 2_000,
        seed: int = 0,
        batch_size: int = 32,
        num_workers: int = 0,
        bucket: bool = False,
    ) -> None:
        super().__init__(train_size, val_size, test_size, seed, batch_size, num_workers, bucket)
        self.length = integer("length", length, least=10)
        self.max_length = length if max_length is None else integer("max_length", max_length, least=length)
        self.symbols = integer("symbols", symbols, least=2, most=3)
        self.test_lengths = integers("test_lengths", test_lengths, least=10)

    def load(self) -> tuple[Task, dict[str, Sequence[Sample]]]:
        make = partial(_make, PLACES[self.symbols])
        further = {f"length_{steps}": partial(make, steps, steps, SUMS["test"]) for steps in self.test_lengths}
        samples = self.streams(lambda split: partial(make, self.length, self.max_length, SUMS[split]), further)
        classes = 2**self.symbols
        return Task("classification", len(SYMBOLS), classes, success=SolvedCriterion("accuracy", 0.99)), samples


def _make(
    tenths: tuple[tuple[int, int], ...],
    shortest: int,
    longest: int,
    sums: tuple[int, ...],
    random: np.random.Generator,
    count: int,
) -> SampleArrays:
    lengths = random.integers(shortest, longest + 1, size=count)
    rows = np.arange(count)
    places = [random.integers(_ceil(first * lengths, 10), _ceil(end * lengths, 10)) for first, end in tenths]
    distractors = random.integers(4, size=(count, longest))
    padding = np.arange(longest) >= lengths[:, None]
    distractors[padding] = 0
    for place in (*places, lengths - 1):
        distractors[rows, place] = 0
    wanted = random.choice(sums, size=count)
    distractors[rows, lengths - 1] = (wanted - distractors.sum(axis=1)) % 4
    relevant = random.integers(2, size=(len(places), count))
    codes = distractors + RELEVANT
    for place, symbol in zip(places, relevant, strict=True):
        codes[rows, place] = symbol
    inputs = np.eye(len(SYMBOLS), dtype=np.float32).take(codes, axis=0)
    inputs[padding] = NO_INPUT
    return SampleArrays(inputs, lengths, 2 ** np.arange(len(places)) @ relevant)


def _ceil(numerator: np.ndarray, denominator: int) -> np.ndarray:
    return -(-numerator // denominator)
