"""The copying memory problem: ten symbols must be written out in order, many blanks after they were read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import final

import numpy as np

from rnn_research.checks import integer, integers
from rnn_research.datasets.generated import GeneratedModule
from rnn_research.datasets.streams import CHECKSUMS, rows_with_checksums
from rnn_research.datasets.task import SolvedCriterion, Task
from rnn_research.structures import Sample, SampleArrays

SYMBOLS = 8
COPIED = 10
BLANK, DELIMITER = SYMBOLS, SYMBOLS + 1


@final
class CopyingMemory(GeneratedModule):
    """Ten symbols of eight, T - 1 blanks, a delimiter, ten blanks; the answers are T + 10 blanks, then the symbols.

    Hochreiter & Schmidhuber 1997 in spirit, in the form of Arjovsky, Shah & Bengio 2016 (arXiv:1511.06464, section
    4.1): T + 20 steps, ten one-hot inputs, nine classes, every step labelled. An answer without memory is blank for
    T + 10 steps and then any symbol: its cross-entropy, the mean over steps, is 10 ln 8 / (T + 20), and no better one
    without memory exists. The sample's own label is the last symbol.

    Solved is a run with fewer than 1% of the ten symbols wrong. The papers show curves of the cross-entropy and have no
    rule; this one is Hochreiter & Schmidhuber's 1%, of symbols. All steps are counted in `position_accuracy`, so the
    bound is 1 - 0.01 * 10 / (T + 20). It can be told where steps are labelled: with structure=chain.

    No ten symbols are in two splits: their checksum decides the split.

    Samples: inputs (T + 20, 10) float32, step_targets (T + 20,).

    Args:
        delay: T.
        test_delays: also evaluate at exactly these delays, each a set `delay_<T>`.
        train_size: samples of train; likewise `val_size`, `test_size`.
        seed: which samples are drawn.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
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
        self.delay = integer("delay", delay)
        self.test_delays = integers("test_delays", test_delays)

    def load(self) -> tuple[Task, dict[str, Sequence[Sample]]]:
        further = {f"delay_{delay}": partial(_make, delay, CHECKSUMS["test"]) for delay in self.test_delays}
        samples = self.streams(lambda split: partial(_make, self.delay, CHECKSUMS[split]), further)
        rule = SolvedCriterion("position_accuracy", 1 - 0.01 * COPIED / (self.delay + 2 * COPIED))
        return Task("classification", SYMBOLS + 2, SYMBOLS + 1, step_targets=True, success=rule), samples

    def baselines(self) -> dict[str, float]:
        """Where steps are labelled, the loss and the position_accuracy of the best answer without memory."""
        found = super().baselines()
        if not self.layout.position_targets(self.task.step_targets, self.task.tree_targets):
            return found
        steps = self.delay + 2 * COPIED
        loss, right = COPIED * math.log(SYMBOLS) / steps, 1 - COPIED * (1 - 1 / SYMBOLS) / steps
        known = {f"{split}_loss": loss for split in ("val", "test")}
        return found | known | {f"{split}_position_accuracy": right for split in ("val", "test")}


def _make(delay: int, checksums: tuple[int, ...], random: np.random.Generator, count: int) -> SampleArrays:
    def draw(rows: int) -> tuple[np.ndarray, np.ndarray]:
        return random.integers(SYMBOLS, size=(rows, COPIED)), np.full(rows, COPIED)

    symbols, _ = rows_with_checksums(draw, checksums, count)
    read = np.full((count, delay + 2 * COPIED), BLANK)
    read[:, :COPIED], read[:, COPIED + delay - 1] = symbols, DELIMITER
    wanted = np.full_like(read, BLANK)
    wanted[:, -COPIED:] = symbols
    inputs = np.eye(SYMBOLS + 2, dtype=np.float32).take(read, axis=0)
    return SampleArrays(inputs, np.full(count, read.shape[1]), symbols[:, -1].copy(), wanted)
