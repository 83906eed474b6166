"""The Stanford Sentiment Treebank: movie reviews with a sentiment at every node of their parse."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import final

import numpy as np

from rnn_research.checks import choice, flag, integer, path_of
from rnn_research.datasets.base import DataModule
from rnn_research.datasets.download import download
from rnn_research.datasets.task import Task
from rnn_research.records.cache_folder import cache_folder
from rnn_research.structures import Sample, Tree
from rnn_research.structures.layouts import NO_INPUT, NO_TARGET

FILES = {"train": "train.txt", "val": "dev.txt", "test": "test.txt"}
CLASSES = {
    5: np.arange(5),
    2: np.array([0, 0, NO_TARGET, 1, 1]),
}  # from the five sentiments; two drop the neutral
UNKNOWN = 1  # the token of a word that train does not have
LARGEST = 64 * 2**20  # bytes of a file in the archive: train.txt has 2 MB

TOKEN = re.compile(r"\([^() \t\r]*|\)|[^() \t\r]+")  # a bracket with its label, a bracket, a word (may hold a U+00A0)
OPENINGS = {f"({label}": label for label in range(5)}
ESCAPES = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}"}

Parsed = tuple[list[int], list[int], list[str]]
"""A tree's nodes in the order that they are written: parents, sentiments, and words, "" at internal nodes."""


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
        self.vocabulary: dict[str, int] = {}

    def load(self) -> tuple[Task, dict[str, Sequence[Sample]]]:
        read = self._reader()
        trees = {split: self._kept(*read(name)) for split, name in FILES.items()}
        self.vocabulary = _vocabulary(trees["train"], self.min_count)
        samples: dict[str, Sequence[Sample]] = {
            split: [self._sample(*tree) for tree in kept] for split, kept in trees.items()
        }
        task = Task(
            "classification",
            input_size=len(self.vocabulary) + UNKNOWN + 1,
            output_size=self.classes,
            tokens=True,
            max_children=max(_arity(parents) for kept in trees.values() for parents, _, _ in kept),
            tree_targets=self.labels == "nodes",
        )
        return task, samples

    def _reader(self) -> Callable[[str], tuple[str, bytes]]:
        """What turns the name of a split's file into the file's full name and its contents."""
        if self.root is not None:
            return partial(_from_folder, self.root)
        return partial(_from_archive, download(self.url, self.sha256, _cache(self.cache)))

    def _kept(self, file: str, content: bytes) -> list[Parsed]:
        """The trees of a file whose root has a class, with words as the vocabulary has them."""
        clean = cache(self._word)
        trees = [
            (parents, sentiments, [clean(word) for word in words])
            for parents, sentiments, words in read_trees(file, content)
            if CLASSES[self.classes][sentiments[0]] != NO_TARGET
        ]
        if not trees:
            raise ValueError(f"dataset.root: {file} has no tree to use, expected one a line; fetch the file again")
        return trees

    def _word(self, word: str) -> str:
        word = ESCAPES.get(word, word).replace("\\/", "/").replace("\\*", "*")
        return word.lower() if self.lower else word

    def _sample(self, parents: list[int], sentiments: list[int], words: list[str]) -> Sample:
        tree, order = Tree.of(parents)
        tokens = np.array([self.vocabulary.get(word, UNKNOWN) if word else NO_INPUT for word in words])
        targets = CLASSES[self.classes][sentiments]
        return Sample(
            tokens[tokens != NO_INPUT],
            int(targets[0]),
            tree=tree,
            tree_inputs=tokens[order],
            tree_targets=targets[order] if self.labels == "nodes" else None,
        )


def _arity(parents: list[int]) -> int:
    """The largest arity in a tree; 1 in a tree of one node, since a model has no use for 0."""
    return max(Counter(parents[1:]).values(), default=1)


def _vocabulary(trees: list[Parsed], min_count: int) -> dict[str, int]:
    counts = Counter(word for _, _, words in trees for word in words if word)
    known = [word for word in counts if counts[word] >= min_count]
    known.sort(key=lambda word: (-counts[word], word))
    return {word: token for token, word in enumerate(known, start=UNKNOWN + 1)}


def read_trees(file: str, content: bytes) -> Iterator[Parsed]:
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
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield _parse(line)
            except ValueError as error:
                repair = "mend or delete the line, or fetch the file again"
                raise ValueError(f"dataset.root: {file}, line {number}: {error}; {repair}") from None


def _parse(line: str) -> Parsed:
    """The tree on a line. Not recursive, so that a tree may be as deep as it likes."""
    parents: list[int] = []
    labels: list[int] = []
    words: list[str] = []
    path: list[int] = []  # the open nodes, the root first
    for token in TOKEN.findall(line):
        if token[0] == "(":
            if token not in OPENINGS or (parents and not path) or (path and words[path[-1]]):
                raise ValueError(_bad_opening(token, path, words))
            parents.append(path[-1] if path else -1)
            path.append(len(labels))
            labels.append(OPENINGS[token])
            words.append("")
        elif token == ")":
            if not path:
                raise ValueError("found a closing bracket without its opening one, expected balanced brackets")
            if path.pop() == len(words) - 1 and not words[-1]:
                raise ValueError("found a node that has neither a word nor children, expected one of them")
        else:
            if not path:
                raise ValueError(f"found {token!r} outside the tree, expected brackets around it")
            if words[-1]:  # of this node, or of the last leaf inside it
                raise ValueError(f"found {token!r} after a node's word or children, expected a closing bracket")
            words[-1] = token
    if path:
        raise ValueError(f"found {len(path)} brackets left open at its end, expected balanced brackets")
    return parents, labels, words


def _bad_opening(token: str, path: list[int], words: list[str]) -> str:
    if token not in OPENINGS:
        return f"found the label {token[1:]!r}, expected an integer from 0 to 4 right after the bracket"
    if not path:
        return "found a second tree, expected one a line"
    return f"found a node inside the leaf {words[path[-1]]!r}, expected a word or children, not both"


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
