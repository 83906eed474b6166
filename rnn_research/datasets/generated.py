"""What datasets that are drawn rather than read share: sizes, a seed, and how their sets are kept apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from rnn_research.checks import integer
from rnn_research.datasets.base import SPLITS, DataModule, Generated
from rnn_research.structures import Sample

Make = Callable[[np.random.Generator, int], Sequence[Sample]]
"""Returns so many samples drawn from the generator given."""
CHECKSUMS = {"train": (0, 1), "val": (2,), "test": (3,)}
"""The `checksum` of each split's samples, where some are drawn often: so none is in two splits. Sets for evaluation
take those of test."""
LENGTHS = ("length", "max_length", "delay", "max_leaves")
FURTHER = ("test_lengths", "test_delays", "test_leaves")
"""Attributes, and lists of them, that say how long samples are at the least."""
OVERDRAW = 5
"""Drawn for each sample wanted: a fourth has the checksum of test."""


class GeneratedModule(DataModule):
    """A dataset whose samples are drawn on demand: see `Generated`.

    Args:
        train_size: samples of train; likewise `val_size`, `test_size`.
        seed: which samples are drawn.
        batch_size, num_workers, bucket: as `DataModule`.

    Raises:
        ValueError: a size below 1, or a seed below 0.
    """

    LENGTHS_SAID = "length (length, max_length, delay, max_leaves, test_lengths, ...)"

    def __init__(
        self, train_size: int, val_size: int, test_size: int, seed: int, batch_size: int, num_workers: int, bucket: bool
    ) -> None:
        super().__init__(batch_size, num_workers, bucket)
        sizes = {"train_size": train_size, "val_size": val_size, "test_size": test_size}
        self.sizes = {name.removesuffix("_size"): integer(name, size) for name, size in sizes.items()}
        self.seed = integer("seed", seed, least=0)

    @property
    def longest(self) -> int | None:
        """Of what a subclass keeps under the names of `LENGTHS` and `FURTHER`; None where it keeps nothing there."""
        lengths = [most for name in LENGTHS if isinstance(most := getattr(self, name, None), int)]
        lengths += [most for name in FURTHER for most in getattr(self, name, ())]
        return max(lengths, default=None)

    def drawn(
        self, make: Callable[[str], Make], further: Mapping[str, Make] | None = None
    ) -> dict[str, Sequence[Sample]]:
        """The three splits, given what makes the samples of each: it must give no sample to two of them.

        `further` makes the samples of further sets to evaluate on, each of the size of test.
        """
        sets = {split: Generated(make(split), self.sizes[split], self.seed, split) for split in SPLITS}
        more = {name: Generated(one, self.sizes["test"], self.seed, name) for name, one in (further or {}).items()}
        return {**sets, **more}


def checksum(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """A number from 0 to 3 for each of many rows of whole numbers, laid end to end: equal for equal rows.

    Each value is mixed with its place in the row, and the sum mixed again: no simple function of the values (their
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


def rows_apart(
    draw: Callable[[int], tuple[np.ndarray, np.ndarray]], checksums: tuple[int, ...], count: int
) -> tuple[np.ndarray, np.ndarray]:
    """`count` rows that have one of `checksums`.

    Args:
        draw: returns so many rows of whole numbers, (rows, longest), and the length of each. Rows are 0 beyond it.
    """
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    while sum(len(lengths) for _, lengths in kept) < count:
        rows, lengths = draw(OVERDRAW * count)
        found = checksum(rows[np.arange(rows.shape[1]) < lengths[:, None]], lengths)
        chosen = np.isin(found, checksums)
        kept.append((rows[chosen], lengths[chosen]))
    rows, lengths = (np.concatenate(parts)[:count] for parts in zip(*kept, strict=True))
    return rows, lengths
