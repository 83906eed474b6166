"""The contract of a user's own trees: files of one format, split, read and reported as all own data are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rnn_research.checks import choice, flag, integer, path_of
from rnn_research.datasets.encoder import Encoder
from rnn_research.datasets.own.files import refusal
from rnn_research.datasets.own.module import OwnData, RawSamples
from rnn_research.datasets.own.parts import parts_of_files
from rnn_research.datasets.task import Task
from rnn_research.datasets.text.vocabulary import Vocabulary
from rnn_research.datasets.trees.encoder import TreeEncoder, TreeReading
from rnn_research.datasets.trees.formats import REPAIR, TreeFormat
from rnn_research.datasets.trees.reading import read_files
from rnn_research.datasets.trees.written import WrittenTree
from rnn_research.structures import Sample

NAMED = 5
"""Files that do not parse, of which the reason is said."""


class OwnTrees(OwnData):
    """Trees of a user's own files.

    In a folder, files whose names say train, dev (or val, valid, validation) and test are these parts, and so are the
    files in folders of these names; a part that no file is of is drawn from the others. The vocabulary is made of the
    training part alone.

    Args:
        labels: `nodes`: every labelled node has a target; `root`: the tree alone; `auto`: `nodes` where any node but a
            root has a label.
        merge: what labels count as; see `TreeReading`. A tree whose root's label is not among them is left out.
        min_count: words that the training part has less often are unknown.
        lower: words in lower case.
        vectors: a file of pretrained vectors of words; None: there are none.
        freeze_vectors: leave all vectors as they were at the start, those of words without a pretrained one too.
        others: as `OwnData`.

    Raises:
        ValueError: an argument is out of range; on loading, a file is missing or malformed: says which, and the line.
    """

    overlaps = True

    def __init__(
        self,
        labels: str,
        merge: Mapping[Any, Any] | None,
        min_count: int,
        lower: bool,
        vectors: str | None,
        freeze_vectors: bool,
        **others: Any,
    ) -> None:
        super().__init__(**others)
        self.labels = choice("labels", labels, ("auto", "nodes", "root"))
        self.merge = None if merge is None else _merge(merge)
        self.min_count = integer("min_count", min_count)
        self.lower = flag("lower", lower)
        self.vectors = None if vectors is None else path_of("vectors", vectors)
        self.freeze_vectors = flag("freeze_vectors", freeze_vectors)
        if freeze_vectors and vectors is None:
            raise ValueError("freeze_vectors: given true without vectors, expected dataset.vectors=PATH beside it")
        self.reading = TreeReading(self.form(), self.lower, self.merge)
        self._children = 1

    def shared(self) -> str:
        """Nothing: a tree that is in two splits is dropped from one, by its words. Trees that differ in unknown words
        alone may be in two, and look the same."""
        return ""

    @abstractmethod
    def form(self) -> TreeFormat:
        """The files' format."""

    def read(self) -> RawSamples:
        form, path = self.reading.form, self.located()
        trees: list[WrittenTree] = []
        files: list[Path] = []
        all_files = form.files(path)
        found = read_files(form, all_files)
        self._note_failed([(all_files[number], reason) for number, reason in found.failed])
        for tree, owner in zip(found.trees, found.owners, strict=True):
            if self._root(tree, all_files[owner]) is not None:
                trees.append(tree)
                files.append(all_files[owner])
        self._note_shape(trees)
        given = self.parts(files, path)
        keys = [tree.key(self.reading.words(tree)) for tree in trees]
        labels = [str(self.reading.class_of(tree.labels[0])) for tree in trees]

        def where(number: int) -> str:
            return f"{files[number]}, line {trees[number].line}"

        return RawSamples(trees, labels, keys, where, given if any(given) else None, self.groups(files))

    def parts(self, files: Sequence[Path], path: Path) -> Sequence[str]:
        """The split that is said of each file, "" for none."""
        return parts_of_files(files, path)

    def groups(self, files: Sequence[Path]) -> Sequence[str] | None:
        """What keeps samples together, given the file of each; None: nothing does."""
        return None

    def _root(self, tree: WrittenTree, file: Path) -> str | None:
        """The class of a tree that is kept; None: it is left out."""
        label = tree.labels[0]
        if label is None:
            found = f"found a tree whose root has no label, expected one ({self.reading.form.labelled})"
            raise refusal(file, found, tree.line, REPAIR)
        if not any(tree.words):
            raise refusal(file, "found a tree without a word, expected one at least", tree.line, REPAIR)
        found_class = self.reading.class_of(label)
        if found_class is None:
            self.report.drop(f"whose root's label, {label}, is not in dataset.merge")
        return found_class

    def _note_failed(self, failed: Sequence[tuple[Path, str]]) -> None:
        """Count and name files that do not parse."""
        self.report.drop("files that do not parse", len(failed))
        self.report.notes += [f"{file} does not parse: {reason}" for file, reason in failed[:NAMED]]

    def _note_shape(self, trees: Sequence[WrittenTree]) -> None:
        if self.labels == "auto":
            inner = any(label is not None for tree in trees for label in tree.labels[1:])
            self.labels = "nodes" if inner else "root"
        self._children = max((tree.arity for tree in trees), default=1)
        nodes = sum(len(tree.parents) for tree in trees)
        labelled = sum(label is not None for tree in trees for label in tree.labels)
        self.report.notes.append(
            f"{len(trees)} trees of {nodes} nodes, {labelled} of them labelled, {self._children} children at most; "
            f"labels: {self.labels}"
        )
        if several := sum(tree.lines > 1 for tree in trees):
            most = max(tree.lines for tree in trees)
            self.report.notes.append(f"{several} trees run over several lines, {most} at most")

    def classes_of(self, raw: RawSamples) -> tuple[str, ...]:
        if self.labels == "root":
            return super().classes_of(raw)
        given = {label for tree in raw.items for label in tree.labels}
        return tuple(sorted({name for label in given if (name := self.reading.class_of(label)) is not None}))

    def make_encoder(self, items: Sequence[Any], labels: Sequence[str], classes: tuple[str, ...]) -> Encoder:
        vocabulary = Vocabulary.counted(self.reading.counts(items), self.min_count)
        return TreeEncoder(self.reading, vocabulary, classes, self.labels)

    def make_task(self, sets: Mapping[str, Sequence[Sample]], shared: Mapping[str, Any]) -> Task:
        assert isinstance(self._encoder, TreeEncoder)
        vocabulary, vectors = self._encoder.vocabulary, None
        if self.vectors is not None:
            vectors, said = self._encoder.pretrained(self.vectors, sets["train"])
            self.report.notes.append(said)
        return Task(
            input_size=vocabulary.size,
            tokens=True,
            max_children=self._children,
            tree_targets=self.labels == "nodes",
            vectors=vectors,
            vectors_frozen=self.freeze_vectors,
            **shared,
        )


def _merge(given: Mapping[Any, Any]) -> dict[str, str]:
    if not isinstance(given, Mapping) or not given:
        raise ValueError(
            f"merge: given {given!r}, expected the class of each label, such as {{0: negative, 4: positive}}, or null"
        )
    return {str(label): str(name) for label, name in given.items()}
