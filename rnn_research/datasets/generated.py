"""The data sets whose samples are drawn rather than read: their sizes and their seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rnn_research.checks import integer
from rnn_research.datasets.base import DataModule
from rnn_research.datasets.streams import MakeSamples, SampleStream
from rnn_research.datasets.task import SPLITS
from rnn_research.structures import Sample

LENGTHS = ("length", "max_length", "delay", "max_leaves")
FURTHER = ("test_lengths", "test_delays", "test_leaves")
"""Attributes, and lists of them, that say how long samples are at the least."""


class GeneratedModule(DataModule):
    """A data set whose samples are drawn on demand: see `SampleStream`.

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
        """Return the most of what a subclass keeps under the names of `LENGTHS` and `FURTHER`; None where it keeps
        nothing there."""
        lengths = [most for name in LENGTHS if isinstance(most := getattr(self, name, None), int)]
        lengths += [most for name in FURTHER for most in getattr(self, name, ())]
        return max(lengths, default=None)

    def streams(
        self, make: Callable[[str], MakeSamples], further: Mapping[str, MakeSamples] | None = None
    ) -> dict[str, Sequence[Sample]]:
        """Return the three splits, and the further sets to evaluate on.

        Args:
            make: given a split's name, returns what makes its samples. It must give no sample to two of them.
            further: what makes the samples of each further set, of the size of test.
        """
        sets = {split: SampleStream(make(split), self.sizes[split], self.seed, split) for split in SPLITS}
        more = {name: SampleStream(one, self.sizes["test"], self.seed, name) for name, one in (further or {}).items()}
        return {**sets, **more}
