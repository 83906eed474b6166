"""The Stanford Sentiment Treebank: movie reviews with a sentiment at every node of their parse."""

from __future__ import annotations

import logging
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, final

from rnn_research.checks import choice, flag, integer, path_of
from rnn_research.datasets.base import DataModule
from rnn_research.datasets.download import download
from rnn_research.datasets.encoder import Encoder
from rnn_research.datasets.task import Task
from rnn_research.datasets.text.vocabulary import Vocabulary
from rnn_research.datasets.trees.brackets import read_brackets
from rnn_research.datasets.trees.encoder import TreeEncoder, TreeReading
from rnn_research.datasets.trees.formats import Brackets
from rnn_research.datasets.trees.written import WrittenTree
from rnn_research.records.cache_folder import cache_folder
from rnn_research.structures import Sample

log = logging.getLogger(__name__)
FILES = {"train": "train.txt", "val": "dev.txt", "test": "test.txt"}
CLASSES = {
    5: ("very negative", "negative", "neutral", "positive", "very positive"),
    2: ("negative", "positive"),
}
MERGES = {
    5: dict(zip("01234", CLASSES[5], strict=True)),
    2: {"0": "negative", "1": "negative", "3": "positive", "4": "positive"},
}
"""The class of each of the five sentiments; two drop the neutral."""
LARGEST = 64 * 2**20  # bytes of a file in the archive: train.txt has 2 MB


@final
class SST(DataModule):
    """Sentiment of sentences: Socher et al. 2013, "Recursive deep models for semantic compositionality".

    The splits are those published, 8,544, 1,101 and 2,210 sentences; three short ones of train (as "Hey
    Arnold !") are also in val or test. With two classes neutral sentences are dropped, as usual (Tai et al.
    2015, arXiv:1503.00075, section 5.1), which leaves 6,920, 872 and 1,821, and neutral nodes have no label.

    Sequence: the words. Parse: words at the leaves, nothing read at internal nodes, of any arity (binary as
    published). Token 0 is the empty one, 1 any word that is not in the vocabulary. This is made from train
    alone, the most frequent word first; `vocabulary` maps words to tokens once the data are loaded.

    Args:
        root: a folder with train.txt, dev.txt and test.txt, or with these in its folder `trees`: in UTF-8,
            one tree a line, as in `(3 (2 Good) (2 film))`. None: the archive at `url`, downloaded once.
        url: where the archive is.
        sha256: of the archive; another file is refused.
        cache: the folder that keeps the archive; None: $RNN_RESEARCH_CACHE, or `rnn_research` in
            $XDG_CACHE_HOME, or in ~/.cache.
        classes: 5 (very negative to very positive) or 2 (negative, positive).
        labels: `nodes` labels every node of the parse, `root` the root alone.
        min_count: words that train has less often are unknown.
        lower: read words in lower case.
        vectors: a file of pretrained vectors, a word and its numbers a line, as GloVe has them; `.gz` too. None: there
            are none.
        freeze_vectors: leave all vectors as they were at the start, those of words without a pretrained one too.

    Raises:
        ValueError: an argument is out of range; on loading, a file is missing, malformed (says which line) or
            can't be downloaded.
    """

    overlaps = True

    def __init__(
        self,
        root: str | None = None,
        url: str = "https://nlp.stanford.edu/sentiment/trainDevTestTrees_PTB.zip",
        sha256: str = "5c613a4f673fc74097d523a2c83f38e0cc462984d847b82c7aaf36b01cbbbfcc",
        cache: str | None = None,
        classes: int = 5,
        labels: str = "nodes",
        min_count: int = 1,
        lower: bool = True,
        vectors: str | None = None,
        freeze_vectors: bool = False,
        batch_size: int = 25,
        num_workers: int = 0,
        bucket: bool = False,
    ) -> None:
        super().__init__(batch_size, num_workers, bucket)
        self.root = None if root is None else path_of("root", root)
        self.url, self.sha256, self.cache = url, sha256, cache
        if integer("classes", classes) not in CLASSES:
            raise ValueError(f"classes: given {classes}, expected 2 or 5")
        self.classes = classes
        self.labels = choice("labels", labels, ("nodes", "root"))
        self.min_count = integer("min_count", min_count)
        self.lower = flag("lower", lower)
        self.vectors = None if vectors is None else path_of("vectors", vectors)
        self.freeze_vectors = flag("freeze_vectors", freeze_vectors)
        if freeze_vectors and vectors is None:
            raise ValueError("freeze_vectors: given true without vectors, expected dataset.vectors=PATH beside it")
        self.vocabulary: dict[str, int] = {}
        self._encoder: TreeEncoder | None = None
        self._said: list[str] = []

    def load(self) -> tuple[Task, dict[str, Sequence[Sample]]]:
        read, reading = self._reader(), TreeReading(Brackets(), self.lower, MERGES[self.classes])
        trees = {split: _kept(reading, *read(name)) for split, name in FILES.items()}
        vocabulary = Vocabulary.counted(reading.counts(trees["train"]), self.min_count)
        self.vocabulary = vocabulary.numbers
        encoder = self._encoder = TreeEncoder(reading, vocabulary, CLASSES[self.classes], self.labels)
        samples: dict[str, Sequence[Sample]] = {
            split: encoder.samples(kept, [encoder.target_of(tree) for tree in kept]) for split, kept in trees.items()
        }
        vectors = None
        if self.vectors is not None:
            vectors, said = encoder.pretrained(self.vectors, samples["train"])
            self._said = [said]
            log.info("dataset: %s", said)
        task = Task(
            "classification",
            input_size=vocabulary.size,
            output_size=self.classes,
            tokens=True,
            max_children=max(tree.arity for kept in trees.values() for tree in kept),
            tree_targets=self.labels == "nodes",
            classes=CLASSES[self.classes],
            monitor="accuracy",
            vectors=vectors,
            vectors_frozen=self.freeze_vectors,
        )
        return task, samples

    @property
    def encoder(self) -> Encoder | None:
        self._load()
        return self._encoder

    @property
    def read_report(self) -> dict[str, Any]:
        self._load()
        return {"notes": self._said} if self._said else {}

    def _reader(self) -> Callable[[str], tuple[str, bytes]]:
        """What turns the name of a split's file into the file's full name and its contents."""
        if self.root is not None:
            return partial(_from_folder, self.root)
        return partial(_from_archive, download(self.url, self.sha256, _cache(self.cache)))


def _kept(reading: TreeReading, file: str, content: bytes) -> list[WrittenTree]:
    """The trees of a file whose root has a class."""
    trees = [tree for tree in read_trees(file, content) if reading.class_of(tree.labels[0]) is not None]
    if not trees:
        raise ValueError(f"dataset.root: {file} has no tree to use, expected one a line; fetch the file again")
    return trees


def read_trees(file: str, content: bytes) -> Iterator[WrittenTree]:
    """The trees of a file in Penn Treebank brackets, one a line; blank lines are skipped.

    Raises:
        ValueError: the text is not UTF-8, or a line is not one tree whose nodes have a label from 0 to 4 and
            either a word or children. Names `file` and the line.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"dataset.root: {file}, line {line}: found bytes that are not UTF-8; convert the file to UTF-8"
        ) from error

    def refuse(found: str, line: int) -> ValueError:
        repair = "mend or delete the line, or fetch the file again"
        return ValueError(f"dataset.root: {file}, line {line}: {found}; {repair}")

    for tree in read_brackets(text, refuse, strict=True):
        for label in tree.labels:
            if label not in MERGES[5]:
                raise refuse(
                    f"found the label {label or ''!r}, expected an integer from 0 to 4 right after the bracket",
                    tree.line,
                )
        yield tree


def _from_folder(folder: Path, name: str) -> tuple[str, bytes]:
    within = folder / "trees"
    path = (within if within.is_dir() else folder) / name
    try:
        return str(path), path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"dataset.root: can't read {path} ({error.strerror}), expected a folder with "
            f"{', '.join(FILES.values())}; set dataset.root to one, or leave it out to download the treebank"
        ) from error


def _from_archive(archive: Path, name: str) -> tuple[str, bytes]:
    """Reads in memory: nothing in the archive says where to write."""
    try:
        with zipfile.ZipFile(archive) as opened:
            member = opened.getinfo(f"trees/{name}")
            if member.file_size > LARGEST:
                raise ValueError(
                    f"dataset.url: {member.filename} has {member.file_size} bytes, expected {LARGEST} at most"
                )
            return f"{archive}/{member.filename}", opened.read(member)
    except (OSError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"dataset.url: {archive} is not the treebank's archive ({error}), expected a zip file with "
            f"trees/{name}; set dataset.url and dataset.sha256, or dataset.root to a folder with the files"
        ) from error


def _cache(cache: str | None) -> Path:
    if cache is not None:
        return path_of("dataset.cache", cache)
    if (folder := cache_folder()) is None:
        raise ValueError("dataset.cache: given none, and this user has no home folder; set it to a folder")
    return folder
