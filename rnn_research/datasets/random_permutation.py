"""The random permutation problem: the first symbol of a sequence must be given after many random ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import final

import numpy as np

from rnn_research.checks import integer, integers
from rnn_research.datasets.generated import GeneratedModule
from rnn_research.datasets.streams import CHECKSUMS, rows_with_checksums
from rnn_research.datasets.task import SolvedCriterion, Task
from rnn_research.structures import Sample, SampleArrays
from rnn_research.structures.layouts import NO_INPUT

SYMBOLS = 100
RELEVANT = 2  # the first symbol is one of these; the other 98 distract


@final
class RandomPermutation(GeneratedModule):
    """A hundred symbols, one-hot: the first is 0 or 1, the others any of 2 to 99. The next is the first again: name it.

    Pascanu, Mikolov & Bengio 2013 (arXiv:1211.5063, section 4.1), after Martens & Sutskever 2011 and Hochreiter &
    Schmidhuber 1997, experiment 2. As in the code of Pascanu et al., the symbols between are drawn uniformly with
    replacement (a permutation proper ends after 98), the answer is one of the hundred symbols, and only the last
    step is labelled, since no other can be foretold. The best blind answer is right half the time. Solved is a
    run with fewer than 1% of sequences wrong (Pascanu et al.).

    No sequence is in two splits, however short sequences are: the checksum of its symbols decides the split.

    Samples: inputs (length, 100) float32. A block of 256 takes 0.1 MB a step.

    Args:
        length: steps that are read, at least 3.
        max_length: each sequence has a length uniform in [length, max_length]; None: `length` exactly.
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
        self.length = integer("length", length, least=3)
        self.max_length = length if max_length is None else integer("max_length", max_length, least=length)
        self.test_lengths = integers("test_lengths", test_lengths, least=3)

    def load(self) -> tuple[Task, dict[str, Sequence[Sample]]]:
        tests = {f"length_{steps}": partial(_make, steps, steps, CHECKSUMS["test"]) for steps in self.test_lengths}
        samples = self.streams(lambda split: partial(_make, self.length, self.max_length, CHECKSUMS[split]), tests)
        return Task("classification", SYMBOLS, SYMBOLS, success=SolvedCriterion("accuracy", 0.99)), samples


def _make(
    shortest: int, longest: int, checksums: tuple[int, ...], random: np.random.Generator, count: int
) -> SampleArrays:
    def draw(rows: int) -> tuple[np.ndarray, np.ndarray]:
        lengths = random.integers(shortest, longest + 1, size=rows)
        symbols = random.integers(RELEVANT, SYMBOLS, size=(rows, longest))
        symbols[:, 0] = random.integers(RELEVANT, size=rows)
        symbols[np.arange(longest) >= lengths[:, None]] = 0
        return symbols, lengths

    symbols, lengths = rows_with_checksums(draw, checksums, count)
    inputs = np.eye(SYMBOLS, dtype=np.float32).take(symbols, axis=0)
    inputs[np.arange(longest) >= lengths[:, None]] = NO_INPUT
    return SampleArrays(inputs, lengths, symbols[:, 0].copy())
