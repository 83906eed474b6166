"""The adding problem: two numbers far apart in a sequence must be remembered and added."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import final

import numpy as np

from rnn_research.checks import choice, integer, integers
from rnn_research.datasets.generated import GeneratedModule
from rnn_research.datasets.task import SolvedCriterion, Task
from rnn_research.structures import Sample, SampleArrays
from rnn_research.structures.layouts import NO_INPUT

TOLERANCES = {"le": 0.04, "pascanu": 0.2}
"""How far from the target an answer is still right, by form."""
SHORTEST = {"le": 2, "pascanu": 10}
"""Steps that leave room for both markers."""
RULES = {"accuracy": SolvedCriterion("accuracy", 0.99), "mse": SolvedCriterion("mse", 0.05, above=False)}


@final
class Adding(GeneratedModule):
    """Each step reads a value drawn from U(0, 1) and a marker; the target is the sum of the marked values.

    Hochreiter & Schmidhuber 1997, "Long short-term memory", experiment 4, in one of two forms:

    * `le`: of Le et al. 2015 (arXiv:1504.00941, section 4.1): one marker is in the first half of the sequence and one
      in the second, each uniform. The best blind answer is 1, whose mean squared error is 1/6. An answer counts as
      correct within 0.04: the absolute error of Hochreiter & Schmidhuber, whose targets span [0, 1] where the sum
      spans [0, 2].
    * `pascanu`: of Pascanu et al. 2013 (arXiv:1211.5063, section 4.1, and the code of the authors): the target is
      the mean of the two values, one marker is in the first tenth and one in the four tenths after it. The best blind
      answer is 1/2, whose mean squared error is 1/24. Correct is a squared error of at most 0.04: within 0.2. There,
      lengths are uniform in [L, 1.1 L).

    Solved is a run with fewer than 1% of sequences wrong (both Hochreiter & Schmidhuber and Pascanu et al.) or, with
    `rule=mse`, a mean squared error below 0.05 (Keller et al. 2024, "Traveling waves encode the recent past", table 1).

    Samples: inputs (length, 2) float32, target (1,) float32.

    Args:
        length: steps, at least 2; at least 10 where form is pascanu.
        max_length: each sequence has a length uniform in [length, max_length]; None: `length` exactly.
        form: le or pascanu.
        rule: accuracy or mse.
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
        rule: str = "accuracy",
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
        self.rule = choice("rule", rule, RULES)
        self.test_lengths = integers("test_lengths", test_lengths, least=SHORTEST[form])

    def load(self) -> tuple[Task, dict[str, Sequence[Sample]]]:
        further = {f"length_{steps}": partial(_make, steps, steps, self.form) for steps in self.test_lengths}
        samples = self.streams(lambda split: partial(_make, self.length, self.max_length, self.form), further)
        rule, tolerance = RULES[self.rule], TOLERANCES[self.form]
        return Task("regression", input_size=2, output_size=1, tolerance=tolerance, success=rule), samples


def _make(shortest: int, longest: int, form: str, random: np.random.Generator, count: int) -> SampleArrays:
    inputs, lengths, pair = marked(shortest, longest, form, random, count)
    target = pair[0] + pair[1]
    return SampleArrays(inputs, lengths, (target if form == "le" else target / 2)[:, None])


def marked(
    shortest: int, longest: int, form: str, random: np.random.Generator, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values and markers (count, longest, 2), lengths, and the two marked values of each sequence, (2, count)."""
    lengths = random.integers(shortest, longest + 1, size=count)
    inputs = np.zeros((count, longest, 2), dtype=np.float32)
    inputs[:, :, 0] = random.random((count, longest), dtype=np.float32)
    if shortest < longest:
        inputs[np.arange(longest) >= lengths[:, None]] = NO_INPUT
    rows = np.arange(count)
    if form == "le":
        between, end = lengths // 2, lengths
    else:
        between, end = lengths // 10, lengths // 10 + 4 * lengths // 10
    places = random.integers(0, between), random.integers(between, end)
    for place in places:
        inputs[rows, place, 1] = 1
    return inputs, lengths, np.stack([inputs[rows, place, 0] for place in places])
