"""Texts with one class each, from a user's own files."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any, final

import numpy as np

from rnn_research.checks import choice, flag, integer, path_of, word
from rnn_research.datasets.own.files import bytes_of, files_at
from rnn_research.datasets.own.kept import Arrays, digest_of_contents, kept
from rnn_research.datasets.own.module import OwnData, RawSamples
from rnn_research.datasets.own.parts import parts_of_files
from rnn_research.datasets.own.report import ReadingReport
from rnn_research.datasets.task import Task
from rnn_research.datasets.text.columns import AskedColumns
from rnn_research.datasets.text.encoder import FILES, TextEncoder
from rnn_research.datasets.text.packed import packed, unpacked
from rnn_research.datasets.text.rows import FORMATS, Seen, TextReading, rows_of
from rnn_research.datasets.text.tokens import TOKENS
from rnn_research.datasets.text.vectors import coverage, read_vectors
from rnn_research.datasets.text.vocabulary import Vocabulary
from rnn_research.structures import Sample

log = logging.getLogger(__name__)
KEPT = 1 << 20
"""Bytes of all files from which on what they gave is kept: fewer are read again as fast."""
VERSION = 2
"""Of what is kept, and of how texts are read: another one is not taken."""
FILES_SAID = 5
"""Of those that are not read, how many are named."""


class TextData(OwnData):
    """Texts with a class each: split into tokens, which are numbered by a vocabulary of the training part alone.

    A token that the training part does not have, or has too seldom, is unknown: also one that has a pretrained vector,
    so that what a model knows does not depend on what it is tested with.

    Args:
        tokens, lower: see `tokens.tokeniser`.
        min_count: tokens that the training part has less often are unknown.
        vocabulary_size: the most tokens that are known, the most frequent ones; None: any number.
        max_length: of a longer text the first so many tokens are read; None: all.
        vectors: a file of pretrained vectors, see `vectors.read_vectors`; None: all vectors are learnt from the start.
        freeze_vectors: leave all vectors as they were at the start, those of words without a pretrained one too.
        own: the arguments of `OwnData`.

    Raises:
        ValueError: as `OwnData`; on loading, also where the vectors' file is malformed: says which line.
    """

    LENGTHS_SAID = "dataset.max_length"
    overlaps = True

    def __init__(
        self,
        tokens: str,
        lower: bool,
        min_count: int,
        vocabulary_size: int | None,
        max_length: int | None,
        vectors: str | None,
        freeze_vectors: bool,
        **own: Any,
    ) -> None:
        super().__init__(**own)
        self.tokens, self.lower = choice("tokens", tokens, TOKENS), flag("lower", lower)
        self.min_count = integer("min_count", min_count)
        self.vocabulary_size = None if vocabulary_size is None else integer("vocabulary_size", vocabulary_size)
        self.max_length = None if max_length is None else integer("max_length", max_length)
        self.vectors = None if vectors is None else path_of("vectors", vectors)
        self.freeze_vectors = flag("freeze_vectors", freeze_vectors)
        if freeze_vectors and vectors is None:
            raise ValueError("freeze_vectors: given true without vectors, expected dataset.vectors=PATH beside it")
        self._seen = Seen()
        self._shared: Mapping[str, Any] = {}

    def shared(self) -> str:
        """Nothing: a text that is in two splits is dropped from one, by its tokens. Texts that differ in unknown tokens
        alone may be in two, and look the same."""
        return ""

    def check(self) -> None:
        """Nothing more: every number was made of a text and a class here."""
        self._load()

    @abstractmethod
    def files(self) -> Sequence[tuple[Path, str, bytes | None]]:
        """The files, each with the split that it is, "" where it is none, and what it holds where that is read
        already."""

    @abstractmethod
    def reading(self) -> TextReading:
        """How they are read."""

    def load(self) -> tuple[Task, Mapping[str, Sequence[Sample]]]:
        """As `OwnData`; of large files the samples are kept by what the files hold, and found at the next start."""
        made: list[tuple[Task, Mapping[str, Sequence[Sample]]]] = []

        def make() -> Arrays:
            made.append(OwnData.load(self))
            assert self._encoder is not None
            said = {"encoder": self._encoder.plain(), "shared": self._shared, "report": self.report.plain()}
            return packed(made[0][1], said)

        files = [(path, part) for path, part, content in self.files() if content is None]
        if sum(path.stat().st_size for path, _ in files) < KEPT:
            return super().load()
        options = [VERSION, [(path.name, part) for path, part in files], self._options()]
        arrays = kept("texts", digest_of_contents((bytes_of(path) for path, _ in files), options), make)
        return made[0] if made else self._restored(arrays)

    def _options(self) -> dict[str, Any]:
        """All on which the samples depend beside the files."""
        names = "tokens lower min_count vocabulary_size max_length val_fraction test_fraction split_seed class_weights"
        return {"reading": asdict(self.reading()), **{name: getattr(self, name) for name in names.split()}}

    def _restored(self, arrays: Arrays) -> tuple[Task, Mapping[str, Sequence[Sample]]]:
        sets, said = unpacked(arrays)
        self._encoder = TextEncoder.of(said["encoder"])
        self.report = ReadingReport(**said["report"])
        shared = {key: tuple(one) if isinstance(one, list) else one for key, one in said["shared"].items()}
        task = self.make_task(sets, shared)
        for line in self.report.lines():
            log.info("dataset: %s", line)
        return task, sets

    def read(self) -> RawSamples:
        texts: list[tuple[str, ...]] = []
        labels: list[str] = []
        given: list[str] = []
        places: list[tuple[int, int]] = []
        files, how, longer = self.files(), self.reading(), 0
        split = TextEncoder(self.tokens, self.lower, Vocabulary(())).split
        same = dict[str, str]().setdefault  # one object a token, however often it is there
        for number, (path, part, content) in enumerate(files):
            for row in rows_of(path, how, self._seen, content):
                tokens = split(row.text)
                if not tokens or not row.label:
                    self.report.drop("without text" if not tokens else "without a label")
                    continue
                longer += self.max_length is not None and len(tokens) > self.max_length
                texts.append(tuple([same(token, token) for token in tokens[: self.max_length]]))
                labels.append(same(row.label, row.label))
                given.append(row.split or part)
                places.append((number, row.line))
        self.report.notes += self._seen.notes
        if longer:
            self.report.notes.append(f"{longer} texts have more than max_length={self.max_length} tokens and are cut")

        def where(index: int) -> str:
            number, line = places[index]
            return f"{files[number][0]}, line {line}"

        return RawSamples(texts, labels, texts, where, given if any(given) else None)

    def make_encoder(self, items: Sequence[Any], labels: Sequence[str], classes: tuple[str, ...]) -> TextEncoder:
        counts = Counter(chain.from_iterable(items))
        vocabulary = Vocabulary.counted(counts, self.min_count, self.vocabulary_size)
        reading = replace(self.reading(), asked=self._seen.columns)
        return TextEncoder(self.tokens, self.lower, vocabulary, classes, self.max_length, reading)

    def make_task(self, sets: Mapping[str, Sequence[Sample]], shared: Mapping[str, Any]) -> Task:
        assert isinstance(self._encoder, TextEncoder)
        vocabulary, vectors, self._shared = self._encoder.vocabulary, None, shared
        counts = {name: _counts(samples, vocabulary.size) for name, samples in sets.items()}
        unknown = ", ".join(f"{one[1] / max(one.sum(), 1):.1%} of {name}" for name, one in counts.items())
        notes = [f"vocabulary: {len(vocabulary.tokens)} tokens; unknown are {unknown}"]
        if self.vectors is not None:
            vectors = read_vectors(self.vectors, vocabulary)
            notes.append(coverage(vectors, counts["train"]))
        self.report.notes = [one for one in self.report.notes if not one.startswith(("vocabulary: ", "vectors: "))]
        self.report.notes += notes
        return Task(
            input_size=vocabulary.size,
            tokens=True,
            vectors=vectors,
            vectors_frozen=self.freeze_vectors,
            **shared,
        )


def _counts(samples: Sequence[Sample], size: int) -> np.ndarray:
    """How often each number is in the samples."""
    return np.bincount(np.concatenate([sample.inputs for sample in samples]), minlength=size)


@final
class LabelledText(TextData):
    """Texts with one class each, of a user's own CSV, TSV, JSONL, fastText or `label<TAB>text` files.

    `path` is a file, or a folder. Of a folder with files whose names say train, val (or dev, valid, validation) and
    test, or with folders of these names, each is that split, and files that are none are left out, which is said; of
    any other all files are read together, as is a single file, and splits are drawn. A column
    that says the split of each sample is followed where it is named, or is called `split`.

    Args:
        format: of the files; `auto`: by their ending and their first line. In a CSV file a text may be quoted and then
            have several lines; in the other formats a text is one line, and quotes are text.
        text_column, label_column, split_column: the names of columns or keys, or, in files without a header, their
            numbers counted from 1; None: found by the usual names.
        tokens, lower, min_count, vocabulary_size, max_length, vectors, freeze_vectors: see `TextData`.
        path, val_fraction, test_fraction, split_seed, class_weights: see `OwnData`.

    Raises:
        ValueError: an argument is out of range; on loading, a file is missing or malformed: says which line.
    """

    def __init__(
        self,
        path: str | None = None,
        format: str = "auto",
        text_column: str | int | None = None,
        label_column: str | int | None = None,
        split_column: str | int | None = None,
        tokens: str = "words",
        lower: bool = True,
        min_count: int = 2,
        vocabulary_size: int | None = None,
        max_length: int | None = 256,
        vectors: str | None = None,
        freeze_vectors: bool = False,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        class_weights: str = "none",
        batch_size: int = 32,
        num_workers: int = 0,
        bucket: bool = True,
    ) -> None:
        own = {"val_fraction": val_fraction, "test_fraction": test_fraction, "split_seed": split_seed}
        batches = {"batch_size": batch_size, "num_workers": num_workers, "bucket": bucket}
        shared = (tokens, lower, min_count, vocabulary_size, max_length, vectors, freeze_vectors)
        super().__init__(*shared, path=path, class_weights=class_weights, **own, **batches)
        self.format = choice("format", format, FORMATS)
        given = {"text_column": text_column, "label_column": label_column, "split_column": split_column}
        columns = [_column(name, one) for name, one in given.items()]
        self.asked = AskedColumns(text=columns[0], label=columns[1], split=columns[2])

    def files(self) -> Sequence[tuple[Path, str, bytes | None]]:
        path = self.located()
        found = files_at(path, FILES, "a file of labelled texts")
        if path.is_file():
            return [(path, "", None)]
        parts = parts_of_files(found, path)
        if "train" not in parts:
            return [(one, "", None) for one in found]
        return [(one, part, None) for one, part in zip(found, parts, strict=True) if part]

    def read(self) -> RawSamples:
        raw, path = super().read(), self.located()
        read = {file for file, *_ in self.files()}
        if path.is_dir() and (others := [one.name for one in files_at(path, FILES, "") if one not in read]):
            self.report.notes.append(
                f"files that are no train, val or test are not read: {', '.join(others[:FILES_SAID])}"
            )
        return raw

    def reading(self) -> TextReading:
        return TextReading(self.format, self.asked)


def _column(name: str, value: Any) -> str | None:
    """A column by its name, or by its number as text."""
    if isinstance(value, int):
        return str(integer(name, value))
    return word(name, value)
