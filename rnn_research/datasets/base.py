"""The contract of a dataset: a DataModule that says its sizes, and gives samples for three fixed, disjoint splits.

To add a dataset, subclass `DataModule`: implement `load`, which returns the `Task`
and the samples of the three splits. Everything else (batches, order, layout, baselines) is here.
"""

from __future__ import annotations

import hashlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from rnn_research.checks import flag, integer
from rnn_research.datasets.checking import check_apart, check_samples, without_tree
from rnn_research.structures import ChainLayout as Chains
from rnn_research.structures import Layout, Sample, SampleArrays
from rnn_research.structures.layouts import NO_TARGET

SPLITS = ("train", "val", "test")
MOST = 10_000  # samples of a split that a baseline reads
POOL = 50  # batches that bucketing sorts together: enough to cut padding, few enough to keep the order random


@dataclass(frozen=True)
class SolvedCriterion:
    """When a run counts as solved: the validation set's `metric` is at least `bound` (`above`), or below it."""

    metric: str
    bound: float
    above: bool = True

    @property
    def of_positions(self) -> bool:
        """Whether it judges every labelled position, which has no meaning where the model does not learn from them."""
        return self.metric.startswith("position_")

    def met(self, value: float) -> bool:
        """Whether a value of the metric solves the task; NaN does not."""
        return value >= self.bound if self.above else value < self.bound


@dataclass(frozen=True)
class Task:
    """What a model must know of the data: sizes, and what is predicted.

    `input_size` is the number of features a step, or, where `tokens`, the vocabulary size with the empty token 0
    counted. `output_size` is the number of classes or of regression targets. `max_children` is the largest arity
    of the data's parses, None where it has none. `step_targets` and `tree_targets`: whether every step, or every
    node of a parse, has a label. `tolerance`: an answer within this absolute distance counts as correct (regression).
    `success`: when a run counts as solved, None where the literature has no rule.
    """

    kind: Literal["classification", "regression"]
    input_size: int
    output_size: int
    tokens: bool = False
    max_children: int | None = None
    step_targets: bool = False
    tree_targets: bool = False
    tolerance: float | None = None
    success: SolvedCriterion | None = None

    @property
    def has_parse(self) -> bool:
        return self.max_children is not None


class DataModule(LightningDataModule, ABC):
    """Samples in three splits, served in batches on the structure that `layout` makes.

    Set `layout` (a chain, where it is not set) and, for another order of the training samples, `order_seed` before the
    first batch is asked for.
    Batches depend on the samples, `batch_size`, `bucket` and `order_seed` alone: never on `num_workers`. Training
    starts with batch `start[1]` of epoch `start[0]`, counted from 0: where a run that is resumed stood.

    Args:
        batch_size: samples a batch.
        num_workers: processes that collate; 0 collates in the training process.
        bucket: batch samples of similar size together, which saves padding; the order of batches stays random.
    """

    LENGTHS_SAID: ClassVar[str] = "sizes of the samples"
    """The keys that make samples long, as a message names them."""
    layout: Layout = Chains()
    order_seed: int = 0
    start: tuple[int, int] = (0, 0)
    checked: bool = True
    """Whether samples are looked at as soon as they are loaded. False: `check` will be called, once there is room for
    them."""
    overlaps: bool = False
    """Whether a split may hold samples of another, as some data do that were published so."""

    def __init__(self, batch_size: int = 32, num_workers: int = 0, bucket: bool = False) -> None:
        super().__init__()
        self.batch_size = integer("batch_size", batch_size)
        self.num_workers = integer("num_workers", num_workers, least=0)
        self.bucket = flag("bucket", bucket)
        self._loaded: tuple[Task, Mapping[str, Sequence[Sample]]] | None = None

    @property
    def longest(self) -> int | None:
        """The steps or nodes that the longest sample has at the least, known before any is made; None: not known."""
        return None

    @abstractmethod
    def load(self) -> tuple[Task, Mapping[str, Sequence[Sample]]]:
        """The task, and the samples of "train", "val" and "test": fixed, and no sample in two of them.

        Any other key of the mapping is a further evaluation set, measured after training as the test set is, such as
        "length_100"; it shares no sample with "train". All samples are checked before training (of generated ones the
        first block): an error names one by its number in its split, counted from 0.

        Raises:
            ValueError: the data are missing or malformed: says which file and line, and the repair.
        """

    def _load(self) -> tuple[Task, Mapping[str, Sequence[Any]]]:  # samples, once `check` has seen them
        if self._loaded is None:
            self._loaded = self.load()
            if self.checked:
                self.check()
        return self._loaded

    def check(self) -> None:
        """Look at the samples: each fits the task.

        Raises:
            ValueError: a split is missing, or a sample does not fit: names it by its number in its split.
        """
        task, sets = self._load()
        if missing := [split for split in SPLITS if split not in sets]:
            raise ValueError(f"load: gives no {' and no '.join(missing)}, expected samples of {', '.join(SPLITS)}")
        for name, samples in sets.items():
            block = samples._block(0) if isinstance(samples, Generated) and len(samples) else samples
            check_samples(name, block, task, _looked_at(samples))

    def check_trees(self) -> None:
        """Every sample has a parse.

        Raises:
            ValueError: names the first that has none.
        """
        for name, samples in self._load()[1].items():
            if (number := without_tree(samples, _looked_at(samples))) is not None:
                raise ValueError(f"sample {number} of {name} has no tree; give it one, or use structure=chain")

    def shared(self) -> str:
        """What to say of the first sample that is in two sets which must share none; empty where there is none. Of
        generated samples the first block is read."""
        sets = self._load()[1]
        return check_apart(sets, {name: _looked_at(samples) for name, samples in sets.items()})

    @property
    def task(self) -> Task:
        """The sizes. The first call loads the data."""
        return self._load()[0]

    def samples(self, split: str) -> Sequence[Sample]:
        """The samples of one split. The first call loads the data."""
        return self._load()[1][split]

    @property
    def evaluation_sets(self) -> tuple[str, ...]:
        """What is measured after training: "test", and every further set, in the order given."""
        return ("test", *(name for name in self._load()[1] if name not in SPLITS))

    def features(self, split: str) -> dict[str, np.ndarray]:
        """What answers may depend on, by name: one number a sample of a split, in order. Nothing trains on them.

        `length`: steps of the sequence; where the data have a parse `depth`: edges from its root to its deepest leaf.
        """
        samples = self.samples(split)
        found = {"length": np.array([len(samples[index].inputs) for index in range(len(samples))], dtype=np.int64)}
        if self.task.has_parse:
            trees = (samples[index].tree for index in range(len(samples)))
            found["depth"] = np.array([tree.depth.max() for tree in trees if tree is not None], dtype=np.int64)
        return found

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the three splits' sizes and samples, trees and labels included: tells two data apart.

        Of generated samples, which follow from their first block, the first 64 of each split are read.
        """
        digest = hashlib.sha256()
        for split in SPLITS:
            samples = self.samples(split)
            digest.update(f"{split} {len(samples)}".encode())
            read = min(len(samples), 64) if isinstance(samples, Generated) else len(samples)
            for index in range(read):
                for part in _parts(samples[index]):
                    digest.update(b"-" if part is None else np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()[:16]

    def baselines(self) -> dict[str, float]:
        """What the best answer without looking at the input reaches on val and test, fitted on train.

        Classification: the accuracy of the most frequent class and, where `layout` labels positions, of the most
        frequent label of a position. Regression: the mean squared error of the mean and, where the task has a
        tolerance, the share of targets within it of the mean. Keys are `<split>_<metric>`; up to 10,000 samples a
        split are read.
        """
        targets = {split: _targets(self.samples(split)) for split in SPLITS}
        if self.task.kind == "regression":
            return self._mean_baseline(targets)
        found = _majority(targets, "accuracy")
        if self.layout.position_targets(self.task.step_targets, self.task.tree_targets):
            labels = {split: self._position_labels(self.samples(split)) for split in SPLITS}
            found |= _majority(labels, "position_accuracy")
        return found

    def _mean_baseline(self, targets: dict[str, np.ndarray]) -> dict[str, float]:
        found, mean = {}, targets["train"].mean(axis=0)
        for split in ("val", "test"):
            errors = targets[split] - mean
            found[f"{split}_mse"] = float((errors**2).mean())
            if self.task.tolerance is not None:
                within = np.abs(errors.reshape(len(errors), -1)) <= self.task.tolerance
                found[f"{split}_accuracy"] = float(within.all(1).mean())
        return found

    def _position_labels(self, samples: Sequence[Sample]) -> np.ndarray:
        """The labels of all positions that have one, of up to 10,000 samples."""
        batch = self.layout.collate([samples[index] for index in range(min(len(samples), MOST))])
        assert batch.position_targets is not None
        labels = batch.position_targets.numpy()
        return labels[labels != NO_TARGET]

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader("val", shuffle=False)

    def test_dataloader(self) -> DataLoader[Any]:
        return self.evaluation_dataloader("test")

    def evaluation_dataloader(self, split: str) -> DataLoader[Any]:
        """The batches of one split, in an order that is the same each time: its `batch_sampler` says which samples."""
        return self._loader(split, shuffle=False)

    def _loader(self, split: str, shuffle: bool) -> DataLoader[Any]:
        samples = self.samples(split)
        sizes = [self.layout.size(samples[index]) for index in range(len(samples))] if self.bucket else None
        block = samples.BLOCK if isinstance(samples, Generated) else None
        seed, start = (self.order_seed, self.start) if shuffle else (None, (0, 0))
        batches = Batches(len(samples), self.batch_size, seed, sizes, block, start)
        return DataLoader(
            _Fetch(samples),
            batch_sampler=batches,
            collate_fn=self.layout.collate,
            num_workers=self.num_workers,
            generator=torch.Generator(),  # so that serving batches draws nothing from the model's own generator
            persistent_workers=self.num_workers > 0,
            worker_init_fn=_tell_no_lost_connection,
        )


def _tell_no_lost_connection(_: int) -> None:
    """In a worker: the thread that hands over its tensors writes no traceback where the process that asked has gone."""
    told = sys.excepthook

    def tell(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if not isinstance(error, ConnectionError | EOFError):
            told(kind, error, trace)

    sys.excepthook = tell


class Batches(Sampler[list[int]]):
    """Batches of sample numbers: in order, or, given a seed, shuffled anew each epoch by (seed, epoch).

    With `sizes`, samples of similar size share a batch (sorted within pools of up to `POOL`). With `block`, whole
    blocks are shuffled and then the samples in each: for samples that are made a block at a time, and independent.
    With `start`, the first epoch is number `start[0]`, without its first `start[1]` batches.
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
        kept = POOL if block is None else (Generated.KEPT - 2) * block // batch_size
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
        for part in _pieces(parts, self.pool):
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


def _pieces(parts: Iterable[np.ndarray], count: int) -> Iterator[np.ndarray]:
    """The same numbers in pieces of `count`; the last may be shorter."""
    rest = np.empty(0, dtype=np.int64)
    for part in parts:
        rest = np.concatenate([rest, part])
        whole = len(rest) - len(rest) % count
        for start in range(0, whole, count):
            yield rest[start : start + count]
        rest = rest[whole:]
    if len(rest):
        yield rest


class _Fetch(Dataset[Sample]):
    """A sequence of samples as torch's Dataset."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]

    def __getitems__(self, indices: list[int]) -> Sequence[Sample]:
        """What torch asks for, where it is there, in place of one sample after another."""
        if isinstance(self.samples, SampleArrays | Generated):
            return self.samples.take(indices)
        return [self.samples[index] for index in indices]


class Generated(Sequence[Sample]):
    """Samples made on demand, in blocks, by `make(random, count)`; sample i is always the same.

    Block k of a split is drawn from a generator seeded with (seed, split, k), so that a sample depends on its number
    alone: not on the batch size, the order, or the worker that asks. Recent blocks are kept.

    Args:
        make: returns `count` samples drawn from the generator given; a `Stack`, where it can.
        split: "train", "val", "test", or the name of a further set: each name has a stream of its own.
    """

    BLOCK = 256
    KEPT = 8

    def __init__(
        self, make: Callable[[np.random.Generator, int], Sequence[Sample]], length: int, seed: int, split: str
    ) -> None:
        self.make, self.length, self.seed, self.split = make, length, seed, split
        self._blocks: dict[int, Sequence[Sample]] = {}

    def _block(self, block: int) -> Sequence[Sample]:
        if block not in self._blocks:
            if len(self._blocks) >= self.KEPT:
                self._blocks.pop(next(iter(self._blocks)))
            random = np.random.default_rng([self.seed, *_stream(self.split), block])
            self._blocks[block] = self.make(random, self.BLOCK)
        return self._blocks[block]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        if not 0 <= index < self.length:
            raise IndexError(index)
        return self._block(index // self.BLOCK)[index % self.BLOCK]

    def take(self, indices: Sequence[int]) -> Sequence[Sample]:
        """Samples by their numbers, in order: in one piece where they are of one block, as most batches are."""
        least, most = min(indices), max(indices)
        if not 0 <= least <= most < self.length:
            raise IndexError(least if least < 0 else most)
        number = least // self.BLOCK
        block = self._block(number)
        if isinstance(block, SampleArrays) and most // self.BLOCK == number:
            return block.take(np.array(indices) - number * self.BLOCK)
        return [self[index] for index in indices]


def _looked_at(samples: Sequence[Any]) -> int:
    """How many samples are checked before training: of generated ones, which follow from their first block, that."""
    return min(len(samples), samples.BLOCK) if isinstance(samples, Generated) else len(samples)


def _stream(split: str) -> list[int]:
    """What seeds a set beside the data's seed: other numbers for every name."""
    return [SPLITS.index(split)] if split in SPLITS else [len(SPLITS), *split.encode()]


def _targets(samples: Sequence[Sample]) -> np.ndarray:
    return np.asarray([samples[index].target for index in range(min(len(samples), MOST))])


def _majority(targets: dict[str, np.ndarray], metric: str) -> dict[str, float]:
    """The accuracy on val and test of always answering what is most frequent in train; of none where no label is."""
    if not len(targets["train"]):
        return {}
    answer = np.bincount(targets["train"]).argmax()
    present = [split for split in ("val", "test") if len(targets[split])]
    return {f"{split}_{metric}": float((targets[split] == answer).mean()) for split in present}


def _parts(sample: Sample) -> tuple[np.ndarray | None, ...]:
    tree = None if sample.tree is None else sample.tree.parent
    labels = np.asarray(sample.target), sample.step_targets, sample.tree_targets
    return sample.inputs, tree, sample.tree_inputs, *labels
