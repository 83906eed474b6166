"""Samples that are drawn rather than read: made on demand, and in no two splits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rnn_research.datasets.task import SPLITS
from rnn_research.structures import Sample, SampleArrays

MakeSamples = Callable[[np.random.Generator, int], Sequence[Sample]]
"""Returns so many samples drawn from the generator given; as `SampleArrays`, where it can."""
CHECKSUMS = {"train": (0, 1), "val": (2,), "test": (3,)}
"""The checksums of each split's samples, where some are drawn often: so none is in two splits. Sets for evaluation
take those of test."""
OVERDRAW = 5
"""Drawn for each sample wanted: a fourth has the checksum of test."""


class SampleStream(Sequence[Sample]):
    """The samples of one set, made in blocks when they are asked for: sample i is always the same.

    Block k of a set is drawn from a generator seeded with (seed, set, k). So a sample depends on its number alone: not
    on the batch size, the order, or the worker that asks. Recent blocks are kept.

    Args:
        make: returns `count` samples drawn from the generator given.
        length: how many samples there are.
        seed: which samples are drawn.
        split: "train", "val", "test", or the name of a further set: each name has a stream of its own.
    """

    BLOCK = 256
    KEPT = 8

    def __init__(self, make: MakeSamples, length: int, seed: int, split: str) -> None:
        self.make, self.length, self.seed, self.split = make, length, seed, split
        self._blocks: dict[int, Sequence[Sample]] = {}

    def block(self, number: int) -> Sequence[Sample]:
        """Return a whole block: its last samples may be beyond the last one of the set."""
        if number not in self._blocks:
            if len(self._blocks) >= self.KEPT:
                self._blocks.pop(next(iter(self._blocks)))
            random = np.random.default_rng([self.seed, *_seed_of(self.split), number])
            self._blocks[number] = self.make(random, self.BLOCK)
        return self._blocks[number]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        if not 0 <= index < self.length:
            raise IndexError(index)
        return self.block(index // self.BLOCK)[index % self.BLOCK]

    def take(self, indices: Sequence[int]) -> Sequence[Sample]:
        """Return samples by their numbers, in order: in one piece where they are of one block, as most batches are."""
        least, most = min(indices), max(indices)
        if not 0 <= least <= most < self.length:
            raise IndexError(least if least < 0 else most)
        number = least // self.BLOCK
        block = self.block(number)
        if isinstance(block, SampleArrays) and most // self.BLOCK == number:
            return block.take(np.array(indices) - number * self.BLOCK)
        return [self[index] for index in indices]


def _seed_of(split: str) -> list[int]:
    """What seeds a set beside the data's seed: other numbers for every name."""
    return [SPLITS.index(split)] if split in SPLITS else [len(SPLITS), *split.encode()]


def checksum(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return a number from 0 to 3 for each of many rows of whole numbers, laid end to end: equal for equal rows.

    Each value is mixed with its place in the row, and the sum is mixed again: no simple function of the values (their
    parity, say) goes with it.
    """
    starts = np.cumsum(lengths) - lengths
    places = np.arange(len(values)) - np.repeat(starts, lengths)
    keys = values.astype(np.uint64) + (places.astype(np.uint64) << np.uint64(32))
    return (_mixed(np.add.reduceat(_mixed(keys), starts)) >> np.uint64(62)).astype(np.int64)


def _mixed(keys: np.ndarray) -> np.ndarray:
    """SplitMix64 (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators", figure 14)."""
    keys = keys + np.uint64(0x9E3779B97F4A7C15)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))


def rows_with_checksums(
    draw: Callable[[int], tuple[np.ndarray, np.ndarray]], checksums: tuple[int, ...], count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return `count` rows that have one of `checksums`, and the length of each.

    Args:
        draw: returns so many rows of whole numbers, (rows, longest), and the length of each. Rows are 0 beyond it.
        checksums: those that are wanted.
        count: how many rows are wanted.
    """
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    while sum(len(lengths) for _, lengths in kept) < count:
        rows, lengths = draw(OVERDRAW * count)
        found = checksum(rows[np.arange(rows.shape[1]) < lengths[:, None]], lengths)
        chosen = np.isin(found, checksums)
        kept.append((rows[chosen], lengths[chosen]))
    rows, lengths = (np.concatenate(parts)[:count] for parts in zip(*kept, strict=True))
    return rows, lengths
