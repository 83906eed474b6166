"""The multiplication problem: two numbers far apart in a sequence must be remembered and multiplied."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import final

import numpy as np

from rnn_research.checks import choice, integer, integers
from rnn_research.datasets.adding import SHORTEST, TOLERANCES, marked
from rnn_research.datasets.generated import GeneratedModule
from rnn_research.datasets.task import SolvedCriterion, Task
from rnn_research.structures import Sample, SampleArrays


@final
class Multiplication(GeneratedModule):
    """Each step reads a value drawn from U(0, 1) and a marker; the target is the product of the marked values.

    Hochreiter & Schmidhuber 1997, "Long short-term memory", experiment 5. The best blind answer is 1/4, whose mean
    squared error is 7/144. Two forms, which differ in where markers stand and in what counts as correct:

    * `pascanu`: of Pascanu et al. 2013 (arXiv:1211.5063, section 4.1, and the code of the authors): one marker is in
      the first tenth of the sequence and one in the four tenths after it. Correct is a squared error of at most 0.04:
      within 0.2, where a blind answer is right for three in five. There, lengths are uniform in [L, 1.1 L).
    * `le`: markers as in the adding problem of Le et al. 2015: one in each half. Correct is an answer within 0.04, as
      in Hochreiter & Schmidhuber.

    Solved is a run with fewer than 1% of sequences wrong (Pascanu et al.).

    Samples: inputs (length, 2) float32, target (1,) float32.

    Args:
        length: steps, at least 2; at least 10 where form is pascanu.
        max_length: each sequence has a length uniform in [length, max_length]; None: `length` exactly.
        form: le or pascanu.
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
        form: str = "le",
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
        self.form = choice("form", form, TOLERANCES)
        self.length = integer("length", length, least=SHORTEST[form])
        self.max_length = length if max_length is None else integer("max_length", max_length, least=length)
        self.test_lengths = integers("test_lengths", test_lengths, least=SHORTEST[form])

    def load(self) -> tuple[Task, dict[str, Sequence[Sample]]]:
        further = {f"length_{steps}": partial(_make, steps, steps, self.form) for steps in self.test_lengths}
        samples = self.streams(lambda split: partial(_make, self.length, self.max_length, self.form), further)
        rule, tolerance = SolvedCriterion("accuracy", 0.99), TOLERANCES[self.form]
        return Task("regression", input_size=2, output_size=1, tolerance=tolerance, success=rule), samples


def _make(shortest: int, longest: int, form: str, random: np.random.Generator, count: int) -> SampleArrays:
    inputs, lengths, pair = marked(shortest, longest, form, random, count)
    return SampleArrays(inputs, lengths, pair.prod(axis=0)[:, None])
