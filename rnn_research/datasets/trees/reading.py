"""All trees of a user's files, kept by the files' contents where they are many: a second start need not parse them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rnn_research.datasets.own.files import bytes_of
from rnn_research.datasets.own.kept import Arrays, digest_of_contents, kept
from rnn_research.datasets.trees.formats import Programs, TreeFormat
from rnn_research.datasets.trees.written import WrittenTree

VERSION = 1
"""Of what is kept; another one is not read."""
LEAST = 1 << 20
"""Bytes of all files: fewer are read again as fast."""


@dataclass
class Forestry:
    """What files held.

    Attributes:
        trees: of all files, in order.
        owners: the number of the file of each.
        failed: the number of each file that is not read, and why.
    """

    trees: list[WrittenTree] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    failed: list[tuple[int, str]] = field(default_factory=list)


def read_files(form: TreeFormat, files: Sequence[Path]) -> Forestry:
    """The trees of all files.

    Raises:
        ValueError: one is malformed; names it and the line.
    """
    if sum(file.stat().st_size for file in files) < LEAST:
        return _parsed(form, files)
    options = [VERSION, form.plain(), [file.suffix for file in files]]
    return _unpacked(kept("trees", digest_of_contents(map(bytes_of, files), options), lambda: _packed(form, files)))


def _parsed(form: TreeFormat, files: Sequence[Path]) -> Forestry:
    found = Forestry()
    for number, file in enumerate(files):
        if isinstance(form, Programs):
            form = Programs(form.predict, lambda _, reason, number=number: found.failed.append((number, reason)))
        before = len(found.trees)
        found.trees.extend(form.read(file))
        found.owners += [number] * (len(found.trees) - before)
    return found


def _packed(form: TreeFormat, files: Sequence[Path]) -> Arrays:
    """`Forestry` as arrays: labels and words as numbers in a table of texts."""
    found = _parsed(form, files)
    texts: dict[str | None, int] = {None: 0}

    def numbers(values: Sequence[str | None]) -> list[int]:
        return [texts.setdefault(value, len(texts)) for value in values]

    trees = found.trees
    columns: dict[str, list[Any]] = {
        "parents": [above for tree in trees for above in tree.parents],
        "labels": [number for tree in trees for number in numbers(tree.labels)],
        "words": [number for tree in trees for number in numbers(tree.words)],
        "sizes": [len(tree.parents) for tree in trees],
        "line": [tree.line for tree in trees],
        "lines": [tree.lines for tree in trees],
        "owners": found.owners,
    }
    said = json.dumps({"texts": list(texts), "failed": found.failed}).encode()
    arrays = {name: np.array(column, dtype=np.int32) for name, column in columns.items()}
    return {**arrays, "said": np.frombuffer(said, dtype=np.uint8)}


def _unpacked(arrays: Arrays) -> Forestry:
    said = json.loads(arrays["said"].tobytes())
    parents = arrays["parents"].tolist()
    labels, words = ([said["texts"][number] for number in arrays[name].tolist()] for name in ("labels", "words"))
    ends = np.cumsum(arrays["sizes"]).tolist()
    trees = [
        WrittenTree(parents[start:end], labels[start:end], words[start:end], line, lines)
        for start, end, line, lines in zip(
            [0, *ends], ends, arrays["line"].tolist(), arrays["lines"].tolist(), strict=False
        )
    ]
    return Forestry(trees, arrays["owners"].tolist(), [(number, reason) for number, reason in said["failed"]])
