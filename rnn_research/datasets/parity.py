"""Parity: whether a sequence of bits has an odd number of ones. Every bit counts, however early."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import final

import numpy as np

from rnn_research.checks import choice, integer, integers
from rnn_research.datasets.generated import GeneratedModule
from rnn_research.datasets.streams import CHECKSUMS, rows_with_checksums
from rnn_research.datasets.task import SolvedCriterion, Task
from rnn_research.structures import Sample, SampleArrays
from rnn_research.structures.layouts import NO_INPUT

CODES = {"signs": (-1.0, 1.0), "binary": (0.0, 1.0)}


@final
class Parity(GeneratedModule):
    """Bits, each uniform; the class is the number of ones modulo 2, asked for after the last.

    Hochreiter & Schmidhuber 1996, "Bridging long time lags by weight guessing and Long Short-Term Memory"
    (bits of -1 and 1, sequences of 500 to 600 steps). The best blind answer is right half the time, and so is any
    answer that leaves out a bit. Solved is a run with fewer than 1% of sequences wrong, as in the tasks of
    Hochreiter & Schmidhuber 1997.

    No sequence is in two splits, however short sequences are: the checksum of its bits decides the split.

    Samples: inputs (length, 1) float32.

    Args:
        length: steps, at least 8: there are few shorter sequences.
        max_length: each sequence has a length uniform in [length, max_length]; None: `length` exactly.
        bits: what a zero and a one are read as; signs: -1 and 1; binary: 0 and 1.
        test_lengths: also evaluate on sequences of exactly these lengths, each a set `length_<steps>`.
        train_size: samples of train; likewise `val_size`, `test_size`.
        seed: which samples are drawn.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        length: int = 20,
        max_length: int | None = None,
        bits: str = "signs",
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
        self.length = integer("length", length, least=8)
        self.max_length = length if max_length is None else integer("max_length", max_length, least=length)
        self.bits = choice("bits", bits, CODES)
        self.test_lengths = integers("test_lengths", test_lengths, least=8)

    def load(self) -> tuple[Task, dict[str, Sequence[Sample]]]:
        make = partial(_make, CODES[self.bits])
        further = {f"length_{steps}": partial(make, steps, steps, CHECKSUMS["test"]) for steps in self.test_lengths}
        samples = self.streams(lambda split: partial(make, self.length, self.max_length, CHECKSUMS[split]), further)
        return Task("classification", input_size=1, output_size=2, success=SolvedCriterion("accuracy", 0.99)), samples


def _make(
    codes: tuple[float, float],
    shortest: int,
    longest: int,
    checksums: tuple[int, ...],
    random: np.random.Generator,
    count: int,
) -> SampleArrays:
    def draw(rows: int) -> tuple[np.ndarray, np.ndarray]:
        lengths = random.integers(shortest, longest + 1, size=rows)
        ones = random.integers(2, size=(rows, longest), dtype=np.int8)
        ones[np.arange(longest) >= lengths[:, None]] = 0
        return ones, lengths

    ones, lengths = rows_with_checksums(draw, checksums, count)
    inputs = np.array(codes, dtype=np.float32).take(ones)[:, :, None]
    inputs[np.arange(longest) >= lengths[:, None]] = NO_INPUT
    return SampleArrays(inputs, lengths, ones.sum(axis=1, dtype=np.int64) % 2)
