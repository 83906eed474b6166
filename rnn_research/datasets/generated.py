"""What datasets that are drawn rather than read share: three sizes and a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rnn_research.checks import integer
from rnn_research.datasets.base import SPLITS, DataModule, Generated
from rnn_research.structures import Sample

Make = Callable[[np.random.Generator, int], Sequence[Sample]]
"""Returns so many samples drawn from the generator given."""


class GeneratedModule(DataModule):
    """A dataset whose samples are drawn on demand: see `Generated`.

    Args:
        train_size: samples of train; likewise `val_size`, `test_size`.
        seed: which samples are drawn.
        batch_size, num_workers, bucket: as `DataModule`.

    Raises:
        ValueError: a size below 1, or a seed below 0.
    """

    def __init__(
        self, train_size: int, val_size: int, test_size: int, seed: int, batch_size: int, num_workers: int, bucket: bool
    ) -> None:
        super().__init__(batch_size, num_workers, bucket)
        sizes = {"train_size": train_size, "val_size": val_size, "test_size": test_size}
        self.sizes = {name.removesuffix("_size"): integer(name, size) for name, size in sizes.items()}
        self.seed = integer("seed", seed, least=0)

    def drawn(self, make: Callable[[str], Make]) -> dict[str, Sequence[Sample]]:
        """The three splits, given what makes the samples of each: it must give no sample to two of them."""
        return {split: Generated(make(split), self.sizes[split], self.seed, split) for split in SPLITS}
