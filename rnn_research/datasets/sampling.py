"""The order of batches, and how a loader fetches their samples."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from torch.utils.data import Dataset, Sampler

from rnn_research.datasets.streams import SampleStream
from rnn_research.structures import Sample

POOL = 50
"""Batches that bucketing sorts together: enough to cut padding, few enough to keep the order random."""


class Batches(Sampler[list[int]]):
    """Batches of sample numbers: in order, or, given a seed, shuffled anew each epoch by (seed, epoch).

    Args:
        length: how many samples there are.
        batch_size: samples a batch.
        seed: None: in order.
        sizes: the size of each sample. Samples of similar size then share a batch (sorted within pools of up to `POOL`
            batches).
        block: whole blocks of so many samples are shuffled, and then the samples in each: for samples that are made a
            block at a time, and independent.
        start: the first epoch is number `start[0]`, without its first `start[1]` batches.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int | None = None,
        sizes: list[int] | None = None,
        block: int | None = None,
        start: tuple[int, int] = (0, 0),
    ) -> None:
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.sizes = None if sizes is None else np.asarray(sizes)
        self.block = block or length
        # A pool's samples come from blocks that are kept together, or each batch would make its blocks anew.
        kept = POOL if block is None else (SampleStream.KEPT - 2) * block // batch_size
        self.pool = max(1, min(POOL, kept)) * batch_size
        self.start, self.epoch = start, start[0]

    def __len__(self) -> int:
        return -(-self.length // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        # A generator: where there are workers torch asks for two iterators an epoch, and draws from one.
        first = self.start[1] if self.epoch == self.start[0] else 0
        random = None if self.seed is None else np.random.default_rng([self.seed, self.epoch])
        self.epoch += 1
        yield from islice(self._batches(random), first, None)

    def _batches(self, random: np.random.Generator | None) -> Iterator[list[int]]:
        parts = self._order(random)
        if self.sizes is not None and random is not None:
            parts = iter(list(parts))  # the order of the batches is drawn after the whole order of the samples
        for part in _in_parts_of(self.pool, parts):
            if self.sizes is not None:
                part = part[np.argsort(self.sizes[part], kind="stable")]
            batches = [part[at : at + self.batch_size].tolist() for at in range(0, len(part), self.batch_size)]
            if random is not None and self.sizes is not None:
                batches = [batches[index] for index in random.permutation(len(batches))]
            yield from batches

    def _order(self, random: np.random.Generator | None) -> Iterator[np.ndarray]:
        """The numbers of all samples, a block at a time: of a billion samples, none of which is drawn twice, too."""
        blocks = -(-self.length // self.block)
        for index in range(blocks) if random is None else random.permutation(blocks):
            numbers = np.arange(index * self.block, min((index + 1) * self.block, self.length))
            yield numbers if random is None else random.permutation(numbers)


def _in_parts_of(count: int, parts: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The same numbers in parts of `count`; the last may be shorter."""
    rest = np.empty(0, dtype=np.int64)
    for part in parts:
        rest = np.concatenate([rest, part])
        whole = len(rest) - len(rest) % count
        for start in range(0, whole, count):
            yield rest[start : start + count]
        rest = rest[whole:]
    if len(rest):
        yield rest


class SampleDataset(Dataset[Sample]):
    """A sequence of samples as torch's Dataset."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]

    def __getitems__(self, indices: list[int]) -> Sequence[Sample]:
        """What torch asks for, where it is there, in place of one sample after another."""
        take = getattr(self.samples, "take", None)
        if take is not None:
            found: Sequence[Sample] = take(indices)
            return found
        return [self.samples[index] for index in indices]


def silence_lost_connection(_: int) -> None:
    """In a worker: let the thread that hands over its tensors write no traceback where the process that asked has
    gone."""
    hook = sys.excepthook

    def report(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if not isinstance(error, ConnectionError | EOFError):
            hook(kind, error, trace)

    sys.excepthook = report
