"""The noiseless memorisation problem: a pattern must be reproduced in order, when a trigger comes after a delay."""

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
from rnn_research.structures.layouts import NO_TARGET

FORMS = {5: (5, 2), 20: (10, 5)}
"""Symbols of a pattern, and values of a symbol, by the bits they are named for: 2^5 and 5^10, about 2^20."""


@final
class NoiselessMemorization(GeneratedModule):
    """A pattern of symbols, T blanks, the trigger, more blanks. From the trigger on, the answers are the pattern.

    Martens & Sutskever 2011, "Learning recurrent neural networks with Hessian-free optimization", in the form of
    Pascanu et al. 2013 (arXiv:1211.5063, section 4.1, and the code of the authors). A pattern has 5 symbols of 2 values
    (5 bits) or 10 of 5 (20 bits, roughly). With n symbols there are T + 2n steps; the trigger is at step T + n, as
    the first symbol is to be given; inputs are one-hot: values, blank, trigger.

    The steps of reproduction are labelled. (The code also labels the steps before them, with a class for silence, which
    says nothing of memory.) The best answer without memory is right for one in two symbols, or one in five. The
    sample's own label is the last symbol. Solved is a run with fewer than 1% of symbols wrong; Pascanu et al. ask for
    fewer than 1% of sequences. It can be told where steps are labelled: with structure=chain.

    No pattern is in two splits: its checksum decides the split. So the 32 patterns of 5 bits are shared out, where the
    papers train and test on all 32.

    Samples: inputs (T + 2n, values + 2) float32, step_targets (T + 2n,).

    Args:
        bits: 5 or 20.
        delay: T.
        test_delays: also evaluate at exactly these delays, each a set `delay_<T>`.
        train_size: samples of train; likewise `val_size`, `test_size`.
        seed: which samples are drawn.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        bits: int = 5,
        delay: int = 50,
        test_delays: list[int] | None = None,
        train_size: int = 20_000,
        val_size: int = 1_000,
        test_size: int = 2_000,
        seed: int = 0,
        batch_size: int = 32,
        num_workers: int = 0,
        bucket: bool = False,
    ) -> None:
        super().__init__(train_size, val_size, test_size, seed, batch_size, num_workers, bucket)
        if integer("bits", bits) not in FORMS:
            raise ValueError(f"bits: given {bits}, expected 5 or 20")
        self.bits = bits
        self.delay = integer("delay", delay)
        self.test_delays = integers("test_delays", test_delays)

    def load(self) -> tuple[Task, dict[str, Sequence[Sample]]]:
        make = partial(_make, *FORMS[self.bits])
        further = {f"delay_{delay}": partial(make, delay, CHECKSUMS["test"]) for delay in self.test_delays}
        samples = self.streams(lambda split: partial(make, self.delay, CHECKSUMS[split]), further)
        values, rule = FORMS[self.bits][1], SolvedCriterion("position_accuracy", 0.99)
        return Task("classification", values + 2, values, step_targets=True, success=rule), samples


def _make(
    symbols: int, values: int, delay: int, checksums: tuple[int, ...], random: np.random.Generator, count: int
) -> SampleArrays:
    def draw(rows: int) -> tuple[np.ndarray, np.ndarray]:
        return random.integers(values, size=(rows, symbols)), np.full(rows, symbols)

    pattern, _ = rows_with_checksums(draw, checksums, count)
    read = np.full((count, delay + 2 * symbols), values)  # blank
    read[:, :symbols], read[:, symbols + delay] = pattern, values + 1
    wanted = np.full_like(read, NO_TARGET)
    wanted[:, -symbols:] = pattern
    inputs = np.eye(values + 2, dtype=np.float32).take(read, axis=0)
    return SampleArrays(inputs, np.full(count, read.shape[1]), pattern[:, -1].copy(), wanted)
