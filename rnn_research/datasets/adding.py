"""The adding problem: two numbers far apart in a sequence must be remembered and added."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import final

import numpy as np

from rnn_research.checks import integer
from rnn_research.datasets.base import Task
from rnn_research.datasets.generated import GeneratedModule
from rnn_research.structures import Sample, Stack
from rnn_research.structures.layout import NO_INPUT

TOLERANCE = 0.04


@final
class Adding(GeneratedModule):
    """Each step reads a value drawn from U(0, 1) and a marker; the target is the sum of the marked values.

    Hochreiter & Schmidhuber 1997, "Long short-term memory", experiment 4, in the form of Le et al. 2015
    (arXiv:1504.00941, section 4.1): one marker is in the first half of the sequence and one in the second,
    each uniform. The best blind answer is 1, whose mean squared error is 1/6.

    An answer counts as correct within 0.04: the absolute error of Hochreiter & Schmidhuber, whose targets
    span [0, 1] where the sum spans [0, 2]. Pascanu et al. 2013 take a squared error of 0.04: five times as
    far.

    Samples: inputs (length, 2) float32, target (1,) float32.

    Args:
        length: steps, at least 2.
        max_length: each sequence has a length uniform in [length, max_length]; None: `length` exactly.
        train_size: samples of train; likewise `val_size`, `test_size`.
        seed: which samples are drawn.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        length: int = 50,
        max_length: int | None = None,
        train_size: int = 20_000,
        val_size: int = 1_000,
        test_size: int = 2_000,
        seed: int = 0,
        batch_size: int = 32,
        num_workers: int = 0,
        bucket: bool = False,
    ) -> None:
        super().__init__(train_size, val_size, test_size, seed, batch_size, num_workers, bucket)
        self.length = integer("length", length, least=2)
        self.max_length = length if max_length is None else integer("max_length", max_length, least=length)

    def load(self) -> tuple[Task, dict[str, Sequence[Sample]]]:
        samples = self.drawn(lambda split: partial(_make, self.length, self.max_length))
        return Task("regression", input_size=2, output_size=1, tolerance=TOLERANCE), samples


def _make(shortest: int, longest: int, random: np.random.Generator, count: int) -> Stack:
    lengths = random.integers(shortest, longest + 1, size=count)
    inputs = np.zeros((count, longest, 2), dtype=np.float32)
    inputs[:, :, 0] = random.random((count, longest), dtype=np.float32)
    if shortest < longest:
        inputs[np.arange(longest) >= lengths[:, None]] = NO_INPUT
    rows, halves = np.arange(count), lengths // 2
    first, second = random.integers(0, halves), random.integers(halves, lengths)
    inputs[rows, first, 1] = inputs[rows, second, 1] = 1
    sums = inputs[rows, first, 0] + inputs[rows, second, 0]
    return Stack(inputs, lengths, sums[:, None])
