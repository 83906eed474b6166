"""Sequences of symbols that are to be written out again: as they are, in reverse, or sorted."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import final

import numpy as np

from rnn_research.checks import integer, integers
from rnn_research.datasets.generated import GeneratedModule
from rnn_research.datasets.streams import CHECKSUMS, rows_with_checksums
from rnn_research.datasets.task import SolvedCriterion, Task
from rnn_research.structures import Sample, SampleArrays
from rnn_research.structures.layouts import END, NO_INPUT, NO_TARGET

FEWEST = 256
"""Sequences that there must be, so that each split has some of its own."""

Rearranged = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Given rows of symbols from 1 on, 0 behind each row's length, and the lengths, returns what is to be written,
likewise."""


class TokenTask(GeneratedModule):
    """Symbols are read, each with equal probability, and then written in an order that is asked for.

    Solved is a run that writes at least 99% of the sequences of the validation set without a mistake, their end
    included (`accuracy`). Copy and reversal are among the tasks of Grefenstette et al. 2015 (arXiv:1506.02516), who
    give the shares of symbols and of sequences, and no rule.

    No sequence is in two splits: its checksum decides the split.

    Samples: inputs (length,) tokens from 1 to `symbols`, target_sequence (length,) the same as classes.

    Args:
        length: symbols of a sequence, at the least.
        max_length: at the most; None: `length`. Every length between is as likely.
        symbols: how many there are.
        test_lengths: also evaluate at exactly these lengths, each a set `length_<n>`.
        train_size: samples of train; likewise `val_size`, `test_size`.
        seed: which samples are drawn.

    Raises:
        ValueError: an argument is out of range, or there are too few sequences for three splits.
    """

    def __init__(
        self,
        length: int = 10,
        max_length: int | None = None,
        symbols: int = 10,
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
        self.length = integer("length", length)
        self.max_length = length if max_length is None else integer("max_length", max_length, least=length)
        self.symbols = integer("symbols", symbols, least=2)
        self.test_lengths = integers("test_lengths", test_lengths)
        for steps in (self.length, *self.test_lengths):
            if steps < FEWEST and symbols**steps < FEWEST:
                raise ValueError(
                    f"length: given {steps} with symbols={symbols}, which are {symbols**steps} sequences, expected at "
                    f"least {FEWEST}; give longer ones"
                )

    @staticmethod
    @abstractmethod
    def written(rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """What is to be written of rows that are read: see `Rearranged`."""

    def load(self) -> tuple[Task, dict[str, Sequence[Sample]]]:
        make = partial(_make, self.written, self.symbols)
        further = {f"length_{steps}": partial(make, steps, steps, CHECKSUMS["test"]) for steps in self.test_lengths}
        samples = self.streams(lambda split: partial(make, self.length, self.max_length, CHECKSUMS[split]), further)
        rule, size = SolvedCriterion("accuracy", 0.99), self.symbols + 1  # the empty token, and the end
        return Task("sequence", size, size, tokens=True, success=rule), samples


@final
class CopyTokens(TokenTask):
    """Symbols are written in the same order: see `TokenTask`."""

    @staticmethod
    def written(rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """The rows themselves."""
        return rows


@final
class ReverseTokens(TokenTask):
    """Symbols are written from the last to the first: see `TokenTask`."""

    @staticmethod
    def written(rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Each row's own symbols, the last one first."""
        steps = np.arange(rows.shape[1])
        place = np.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
        return np.take_along_axis(rows, place, 1)


@final
class SortTokens(TokenTask):
    """Symbols are written in ascending order: see `TokenTask`."""

    @staticmethod
    def written(rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Each row's own symbols, the smallest first; equal ones as often as they are there."""
        behind = np.arange(rows.shape[1]) >= lengths[:, None]
        found = np.sort(np.where(behind, rows.max() + 1, rows), axis=1)
        return np.where(behind, 0, found)


def _make(
    written: Rearranged,
    symbols: int,
    shortest: int,
    longest: int,
    checksums: tuple[int, ...],
    random: np.random.Generator,
    count: int,
) -> SampleArrays:
    def draw(rows: int) -> tuple[np.ndarray, np.ndarray]:
        lengths = random.integers(shortest, longest + 1, size=rows)
        read = random.integers(1, symbols + 1, size=(rows, longest))
        read[np.arange(longest) >= lengths[:, None]] = NO_INPUT
        return read, lengths

    read, lengths = rows_with_checksums(draw, checksums, count)
    wanted = written(read, lengths)
    wanted = np.where(np.arange(longest) < lengths[:, None], wanted, NO_TARGET)
    return SampleArrays(read, lengths, np.full(count, END), target_sequence=wanted)
