"""The contract of a data set: a DataModule that says its sizes, and gives samples for three fixed, disjoint splits.

To add a data set, subclass `DataModule` and implement `load`, which returns the `Task` and the samples of the three
splits. Everything else (batches, order, layout, baselines) is here.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from rnn_research.checks import flag, integer
from rnn_research.datasets.baselines import (
    majority_baseline,
    mean_baseline,
    position_labels,
    sequences_of,
    targets_of,
    written_tokens,
)
from rnn_research.datasets.checking import check_disjoint, check_labelled, check_samples, without_tree
from rnn_research.datasets.consistent import check_task
from rnn_research.datasets.encoder import Encoder
from rnn_research.datasets.sampling import Batches, SampleDataset, silence_lost_connection
from rnn_research.datasets.streams import SampleStream
from rnn_research.datasets.task import SPLITS, SolvedCriterion, Task
from rnn_research.structures import ChainLayout, Layout, Sample

__all__ = ["SPLITS", "DataModule", "SolvedCriterion", "Task"]


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
    layout: Layout = ChainLayout()
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
        if not hasattr(self, "_loaded"):
            raise ValueError(f"{type(self).__name__}: its __init__ does not call super().__init__(...); add that first")
        if self._loaded is None:
            self._loaded = _as_promised(self.load())
            if self.checked:
                self.check()
        return self._loaded

    def check(self) -> None:
        """Look at the samples: each fits the task.

        Raises:
            ValueError: a split is missing, or a sample does not fit: names it by its number in its split.
        """
        self.check_shape()
        task, sets = self._load()
        for name, samples in sets.items():
            block = samples.block(0) if isinstance(samples, SampleStream) and len(samples) else samples
            check_samples(name, block, task, _checked_count(samples))

    def check_shape(self) -> None:
        """Look at what was loaded, and at no sample yet: the task has a meaning, and every split is there.

        Raises:
            ValueError: it has none, or one is missing or no sequence.
        """
        task, sets = self._load()
        check_task(task)
        for split, samples in sets.items():
            if not (hasattr(samples, "__len__") and hasattr(samples, "__getitem__")):
                raise ValueError(f"{split}: given a {type(samples).__name__}, expected a sequence; use list(...)")
        if missing := [split for split in SPLITS if split not in sets]:
            raise ValueError(f"load: gives no {' and no '.join(missing)}, expected samples of {', '.join(SPLITS)}")

    def check_labelled(self) -> None:
        """Raise a ValueError where no sample of a split that is learnt from or chosen by has a label."""
        task, sets = self._load()
        for split in ("train", "val"):
            block = sets[split].block(0) if isinstance(sets[split], SampleStream) else sets[split]  # type: ignore[attr-defined]
            check_labelled(split, block, task, min(len(block), _checked_count(sets[split])))

    def check_trees(self) -> None:
        """Every sample has a parse.

        Raises:
            ValueError: names the first that has none.
        """
        for name, samples in self._load()[1].items():
            if (number := without_tree(samples, _checked_count(samples))) is not None:
                raise ValueError(f"sample {number} of {name} has no tree; give it one, or use structure=chain")

    def shared(self) -> str:
        """What to say of the first sample that is in two sets which must share none; empty where there is none. Of
        generated samples the first block is read."""
        sets = self._load()[1]
        most = {name: _checked_count(samples) for name, samples in sets.items()}
        return check_disjoint(sets, most, self.layout.needs_parse)

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

        `length`: steps of the sequence; where the data have a parse `depth`: edges from its root to its deepest leaf;
        where the targets are sequences `target_length`: tokens of the target, without its end.
        """
        samples = self.samples(split)
        found = {"length": np.array([len(samples[index].inputs) for index in range(len(samples))], dtype=np.int64)}
        if self.task.has_parse:
            trees = (samples[index].tree for index in range(len(samples)))
            found["depth"] = np.array([tree.depth.max() for tree in trees if tree is not None], dtype=np.int64)
        if self.task.writes:
            found["target_length"] = np.array([len(one) for one in sequences_of(samples)], dtype=np.int64)
        return found

    @property
    def encoder(self) -> Encoder | None:
        """What makes samples of raw data, to be stored with a run; None: there is no such data beside these."""
        return None

    def texts(self, split: str) -> Sequence[tuple[str, str]] | None:
        """The samples of a split as text, each with its translation, in order; None: they are none."""
        return None

    @property
    def read_report(self) -> dict[str, Any]:
        """What was read of a user's files, in types that JSON has, to be kept in the record."""
        return {}

    @property
    def facts(self) -> dict[str, Any]:
        """What a run that goes on from another's checkpoint must have in common with it, beside the samples and how
        many are in a batch: what the order of batches hangs on, in types that JSON has."""
        return {}

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the three splits' sizes and samples, trees and labels included, and of pretrained vectors, where
        there are some: tells two data apart, wherever they lie.

        Of generated samples, which follow from their first block, the first 64 of each split are read.
        """
        digest = hashlib.sha256()
        for split in SPLITS:
            samples = self.samples(split)
            digest.update(f"{split} {len(samples)}".encode())
            read = min(len(samples), 64) if isinstance(samples, SampleStream) else len(samples)
            for index in range(read):
                for part in _arrays(samples[index]):
                    digest.update(b"-" if part is None else np.ascontiguousarray(part).tobytes())
        if (vectors := self.task.vectors) is not None:
            digest.update(b"vectors" + np.ascontiguousarray(vectors).tobytes())
        return digest.hexdigest()[:16]

    def baselines(self) -> dict[str, float]:
        """What the best answer without looking at the input reaches on val and test, fitted on train.

        Classification: the accuracy of the most frequent class and, where `layout` labels positions, of the most
        frequent label of a position. Regression: the mean squared error of the mean and, where the task has a
        tolerance, the share of targets within it of the mean. Sequences: the share of the most frequent token, the
        end being one. Transcripts: the error of writing nothing. Keys are `<split>_<metric>`; up to 10,000 samples a
        split are read.
        """
        if self.task.kind == "transcript":
            return {f"{split}_character_error_rate": 1.0 for split in SPLITS[1:]}
        if self.task.kind == "sequence":
            written = {split: written_tokens(self.samples(split)) for split in SPLITS}
            return majority_baseline(written, "token_accuracy")
        targets = {split: targets_of(self.samples(split)) for split in SPLITS}
        if self.task.kind == "regression":
            return mean_baseline(targets, self.task.tolerance)
        found = majority_baseline(targets, "accuracy")
        if self.layout.position_targets(self.task.step_targets, self.task.tree_targets):
            labels = {split: position_labels(self.samples(split), self.layout) for split in SPLITS}
            found |= majority_baseline(labels, "position_accuracy")
        return found

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
        block = samples.BLOCK if isinstance(samples, SampleStream) else None
        seed, start = (self.order_seed, self.start) if shuffle else (None, (0, 0))
        batches = Batches(len(samples), self.batch_size, seed, sizes, block, start)
        return DataLoader(
            SampleDataset(samples),
            batch_sampler=batches,
            collate_fn=self.layout.collate,
            num_workers=self.num_workers,
            generator=torch.Generator(),  # so that serving batches draws nothing from the model's own generator
            persistent_workers=self.num_workers > 0,
            worker_init_fn=silence_lost_connection,
        )


def _as_promised(loaded: Any) -> tuple[Task, Mapping[str, Sequence[Any]]]:
    """What `load` gave, if it is a task and its sets."""
    if isinstance(loaded, tuple) and len(loaded) == 2:
        task, sets = loaded
        if isinstance(task, Task) and isinstance(sets, Mapping):
            return task, sets
    given = ", ".join(type(one).__name__ for one in loaded) if isinstance(loaded, tuple) else type(loaded).__name__
    raise ValueError(f"load: given {given}, expected a Task and a mapping of samples: {', '.join(SPLITS)}")


def _checked_count(samples: Sequence[Any]) -> int:
    """How many samples are checked before training: of generated ones, which follow from their first block, that."""
    return min(len(samples), samples.BLOCK) if isinstance(samples, SampleStream) else len(samples)


def _arrays(sample: Sample) -> tuple[np.ndarray | None, ...]:
    """All that a sample holds."""
    tree = None if sample.tree is None else sample.tree.parent
    labels = np.asarray(sample.target), sample.step_targets, sample.tree_targets
    written = () if sample.target_sequence is None else (sample.target_sequence,)
    return sample.inputs, tree, sample.tree_inputs, *labels, *written
