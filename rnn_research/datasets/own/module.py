"""The contract of data that a user gives by a path."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnn_research.checks import choice, integer, number, path_of
from rnn_research.datasets.base import DataModule
from rnn_research.datasets.encoder import Encoder
from rnn_research.datasets.own.report import ReadingReport
from rnn_research.datasets.own.splitting import split, without_duplicates
from rnn_research.datasets.task import Task
from rnn_research.structures import Sample

log = logging.getLogger(__name__)
WEIGHTS = ("none", "balanced")
FEW = 100
"""Of fewer samples that choose, weights are chosen by the loss: their accuracy has few values, and the first weights
that answer them all would be taken, long before training has done what it can."""


@dataclass(frozen=True, eq=False)
class RawSamples:
    """What files held, one entry a sample.

    Attributes:
        items: what the encoder takes.
        labels: the name of each sample's class; None: they have none.
        keys: two samples of one key are the same to a model.
        where: the file and the line of a sample, by its number.
        given: the split that each sample's file says, "" for none; None: no file says any.
        groups: of each sample; no group is in two splits. None: there are none.
    """

    items: Sequence[Any]
    labels: Sequence[str] | None
    keys: Sequence[Hashable]
    where: Callable[[int], str]
    given: Sequence[str] | None = None
    groups: Sequence[Hashable] | None = None


class OwnData(DataModule):
    """Samples of a user's own files, with a class each or without: read, freed of duplicates, split, encoded and
    counted.

    Duplicates are dropped before samples are split; where the files say the splits, from the earlier of train, val and
    test. The encoder is made of the training part alone, and so are class weights. Classes are in the order of their
    names.

    Args:
        path: a file or a folder.
        val_fraction, test_fraction: the share of the samples (of the groups, where there are some) that is drawn for
            each, where the files say no splits.
        split_seed: which samples are drawn.
        class_weights: `balanced`: the training loss of a label is multiplied by samples / (classes x samples of its
            class); `none`: by 1.

    Raises:
        ValueError: an argument is out of range; on loading, data are missing or malformed: says which file and line.
    """

    LENGTHS_SAID = "dataset.path"

    def __init__(
        self,
        path: str | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        class_weights: str = "none",
        batch_size: int = 32,
        num_workers: int = 0,
        bucket: bool = False,
    ) -> None:
        super().__init__(batch_size, num_workers, bucket)
        self.path = None if path is None else path_of("path", path)
        self.val_fraction = number("val_fraction", val_fraction, above=0.0, most=0.9)
        self.test_fraction = number("test_fraction", test_fraction, above=0.0, most=0.9)
        self.split_seed = integer("split_seed", split_seed, least=0)
        self.class_weights = choice("class_weights", class_weights, WEIGHTS)
        self.report = ReadingReport()
        self._encoder: Encoder | None = None

    def located(self) -> Path:
        """The path that the user gave.

        Raises:
            ValueError: none was given.
        """
        if self.path is None:
            raise ValueError("path: given none, expected a file or a folder; set dataset.path=...")
        return self.path

    @abstractmethod
    def read(self) -> RawSamples:
        """All samples of the files. What is left out is said by `self.report.drop(...)`, what else there is to say in
        `self.report.notes`."""

    def classes_of(self, raw: RawSamples) -> tuple[str, ...]:
        """The names of all classes, in order."""
        return tuple(sorted(set(map(str, raw.labels or ()))))

    def chosen(self, raw: RawSamples, parts: dict[str, list[int]]) -> dict[str, list[int]]:
        """The numbers of the samples of each split that are taken, of those that it has."""
        return parts

    @abstractmethod
    def make_encoder(self, items: Sequence[Any], labels: Sequence[str], classes: tuple[str, ...]) -> Encoder:
        """The encoder, made of the training part: its items and their labels (none where samples have none).

        Args:
            classes: the names of all classes, in order.
        """

    def encoded(self, items: Sequence[Any], targets: Sequence[int]) -> Sequence[Sample]:
        """The samples of raw ones, each with the number of its class, 0 where there are none."""
        assert self._encoder is not None
        return self._encoder.samples(items, targets)

    @abstractmethod
    def make_task(self, sets: Mapping[str, Sequence[Sample]], shared: Mapping[str, Any]) -> Task:
        """The task, given the encoded samples.

        Args:
            shared: arguments of `Task` that are known already: of samples with classes `kind`, `output_size`,
                `classes`, `class_weights` and `monitor`.
        """

    def load(self) -> tuple[Task, Mapping[str, Sequence[Sample]]]:
        self.report = ReadingReport()
        raw = self.read()
        if not len(raw.items):
            lost = self.report.left_out()
            raise ValueError(f"path: {self.path} has no sample{lost}, expected at least three; give more data")
        kept, dropped = without_duplicates(raw.keys, raw.given)
        for reason, count in dropped.items():
            self.report.drop(reason, count)
        self._note_disagreement(raw)
        parts = self.chosen(raw, self._split(raw, kept))
        classes = () if raw.labels is None else self._checked_classes(raw)
        trained = [] if raw.labels is None else [raw.labels[index] for index in parts["train"]]
        self._encoder = self.make_encoder([raw.items[index] for index in parts["train"]], trained, classes)
        sets = {name: self._samples(raw, part, classes) for name, part in parts.items()}
        self.report.count(sets, classes)
        self._note_missing(classes)
        task = self.make_task(sets, self._of_classes(classes, trained, len(parts["val"])) if classes else {})
        for line in self.report.lines():
            log.info("dataset: %s", line)
        return task, sets

    @property
    def encoder(self) -> Encoder | None:
        self._load()
        return self._encoder

    @property
    def read_report(self) -> dict[str, Any]:
        self._load()
        return self.report.plain()

    def _split(self, raw: RawSamples, kept: np.ndarray) -> dict[str, list[int]]:
        def of(values: Sequence[Any] | None) -> list[Any] | None:
            return None if values is None else [values[index] for index in kept.tolist()]

        try:
            found = split(
                len(kept),
                labels=of(raw.labels),
                groups=of(raw.groups),
                given=of(raw.given),
                val_fraction=self.val_fraction,
                test_fraction=self.test_fraction,
                seed=self.split_seed,
            )
        except ValueError as error:
            raise ValueError(f"path: {self.path}{self.report.left_out()}: {error}") from None
        return {name: kept[part].tolist() for name, part in found.items()}

    def _checked_classes(self, raw: RawSamples) -> tuple[str, ...]:
        classes = self.classes_of(raw)
        if len(classes) < 2:
            one, lost = classes[0] if classes else "", self.report.left_out()
            raise ValueError(f"path: {self.path} has the one class {one!r}{lost}, expected at least two")
        return classes

    def _samples(self, raw: RawSamples, part: Sequence[int], classes: Sequence[str]) -> Sequence[Sample]:
        number, labels = {name: place for place, name in enumerate(classes)}, raw.labels
        targets = [0] * len(part) if labels is None else [number[labels[index]] for index in part]
        return self.encoded([raw.items[index] for index in part], targets)

    def _of_classes(self, classes: tuple[str, ...], trained: Sequence[str], choosing: int) -> dict[str, Any]:
        """The arguments of `Task` that classes give, the labels of the training part, and how many samples choose."""
        monitor = "accuracy" if choosing >= FEW else "loss"
        shared = {"kind": "classification", "output_size": len(classes), "classes": classes, "monitor": monitor}
        return {**shared, "class_weights": self._weights(trained, classes)}

    def _weights(self, labels: Sequence[str], classes: tuple[str, ...]) -> tuple[float, ...] | None:
        if self.class_weights == "none":
            return None
        found = Counter(labels)
        return tuple(len(labels) / (len(found) * found[name]) if found[name] else 1.0 for name in classes)

    def _note_disagreement(self, raw: RawSamples) -> None:
        if raw.labels is None:
            return
        first: dict[Hashable, str] = {}
        apart = sum(first.setdefault(key, label) != label for key, label in zip(raw.keys, raw.labels, strict=True))
        if apart:
            self.report.notes.append(f"{apart} samples are equal to an earlier one of another class")

    def _note_missing(self, classes: Sequence[str]) -> None:
        for split_name, found in self.report.classes.items():
            if missing := [name for name in classes if not found[name]]:
                self.report.notes.append(f"{split_name} has no sample of {', '.join(missing)}")
