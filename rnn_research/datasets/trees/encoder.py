"""What makes a sample of a tree: its vocabulary, its classes, and which labels count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, final

import numpy as np

from rnn_research.checks import choice, flag
from rnn_research.datasets.encoder import Encoder, Item
from rnn_research.datasets.text.vectors import coverage, read_vectors
from rnn_research.datasets.text.vocabulary import UNKNOWN, Vocabulary
from rnn_research.datasets.trees.formats import TreeFormat, format_of
from rnn_research.datasets.trees.written import WrittenTree
from rnn_research.structures import Sample, Tree
from rnn_research.structures.layouts import NO_INPUT, NO_TARGET

LABELS = ("nodes", "root")


class TreeReading:
    """How the words and labels of a tree are read.

    Args:
        form: the files' format.
        lower: words in lower case.
        merge: the class of each label; a label that is not among them has none. None: every label is a class.
    """

    def __init__(self, form: TreeFormat, lower: bool = False, merge: Mapping[str, str] | None = None) -> None:
        self.form = form
        self.lower = flag("lower", lower)
        self.merge = None if merge is None else dict(merge)
        self._clean: dict[str, str] = {}

    def words(self, tree: WrittenTree) -> list[str]:
        """The words of all nodes, "" where nothing is read."""
        return [self._word(word) if word else "" for word in tree.words]

    def _word(self, word: str) -> str:
        if word not in self._clean:
            clean = self.form.word(word)
            self._clean[word] = clean.lower() if self.lower else clean
        return self._clean[word]

    def class_of(self, label: str | None) -> str | None:
        """The class of a node with this label; None: it has none."""
        return label if self.merge is None or label is None else self.merge.get(label)

    def counts(self, trees: Iterable[WrittenTree]) -> Counter[str]:
        """How often each word occurs."""
        return Counter(word for tree in trees for word in self.words(tree) if word)


@final
class TreeEncoder(Encoder):
    """Sequence: the words of the nodes in the order written. Parse: each node reads its own word, or nothing.

    Args:
        reading: how words and labels are read.
        vocabulary: of the training part.
        classes: names, in order.
        labels: `nodes`: every labelled node has a target; `root`: the tree alone.
    """

    kind = "trees"

    def __init__(self, reading: TreeReading, vocabulary: Vocabulary, classes: Sequence[str], labels: str) -> None:
        self.reading, self.vocabulary, self.classes = reading, vocabulary, tuple(classes)
        self.labels = choice("labels", labels, LABELS)
        self._number = {name: number for number, name in enumerate(self.classes)}

    def plain(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "format": self.reading.form.plain(),
            "lower": self.reading.lower,
            "merge": self.reading.merge,
            "vocabulary": self.vocabulary.plain(),
            "classes": list(self.classes),
            "labels": self.labels,
        }

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        try:
            reading = TreeReading(format_of(plain["format"]), plain["lower"], plain["merge"])
            return cls(reading, Vocabulary.of(plain["vocabulary"]), plain["classes"], plain["labels"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"encoder: lacks or has a wrong {error}, expected what a run of trees stored") from None

    def encode(self, raw: WrittenTree, target: Any = 0) -> Sample:
        if not any(raw.words):
            raise ValueError("found a tree without a word, expected one at least")
        tree, order = Tree.of(raw.parents)
        number = self.vocabulary.numbers.get
        words = self.reading.words(raw)
        tokens = np.array([number(word, UNKNOWN) if word else NO_INPUT for word in words], dtype=np.int64)
        targets = None
        if self.labels == "nodes":
            targets = np.array([self._target(label) for label in raw.labels], dtype=np.int64)[order]
        return Sample(tokens[tokens != NO_INPUT], target, tree=tree, tree_inputs=tokens[order], tree_targets=targets)

    def target_of(self, raw: WrittenTree) -> int:
        """The number of the class of a tree's root."""
        return self._target(raw.labels[0])

    def _target(self, label: str | None) -> int:
        name = self.reading.class_of(label)
        return NO_TARGET if name is None else self._number.get(name, NO_TARGET)

    def pretrained(self, path: Path, train: Sequence[Sample]) -> tuple[np.ndarray, str]:
        """The vocabulary's vectors in a file, see `read_vectors`, and a sentence of how many words have one."""
        vectors = read_vectors(path, self.vocabulary)
        counts = np.bincount(np.concatenate([sample.inputs for sample in train]), minlength=self.vocabulary.size)
        return vectors, coverage(vectors, counts)

    def items(self, path: Path) -> Iterator[Item]:
        """A tree's label is the class of its root."""
        form = self.reading.form
        for file in form.files(path):
            for tree in form.read(file):
                yield Item(f"{file}, line {tree.line}", tree, self.reading.class_of(tree.labels[0]))
