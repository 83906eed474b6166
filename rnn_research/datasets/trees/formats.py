"""The formats of files that hold trees, each by what an encoder stores of it: read alike for training and after it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from rnn_research.checks import choice, flag
from rnn_research.datasets.own.files import bytes_of, files_at, refusal, text_of
from rnn_research.datasets.trees.brackets import read_brackets, unescaped
from rnn_research.datasets.trees.nested_json import Keys, read_json
from rnn_research.datasets.trees.programs import LABELS, NotParsed, functions
from rnn_research.datasets.trees.written import WrittenTree

REPAIR = "mend or delete the tree"


class TreeFormat(ABC):
    """How a file is read as trees. A format is plain data: `plain` gives what `format_of` makes it from."""

    name: ClassVar[str]
    endings: ClassVar[tuple[str, ...]]
    what: ClassVar[str]
    labelled: ClassVar[str]
    """Where a root's label stands, for a message."""

    def plain(self) -> dict[str, Any]:
        """All that it is, in types that JSON has."""
        return {"name": self.name}

    def files(self, path: Path) -> list[Path]:
        """The files at a path."""
        return files_at(path, self.endings, self.what)

    @abstractmethod
    def read(self, path: Path) -> Iterator[WrittenTree]:
        """The trees of one file.

        Raises:
            ValueError: it can't be read, or is malformed; names the line.
        """

    def word(self, word: str) -> str:
        """A word as the file means it."""
        return word


@dataclass(frozen=True)
class Brackets(TreeFormat):
    r"""Penn brackets. `unescape`: -LRB- is read as (, \/ as /, and so on."""

    unescape: bool = True
    name: ClassVar[str] = "brackets"
    endings: ClassVar[tuple[str, ...]] = (".txt", ".ptb", ".mrg", ".tree", ".trees", ".parse")
    what: ClassVar[str] = "trees in Penn brackets"
    labelled: ClassVar[str] = "right after its bracket, as in (pos (a good) (a film))"

    def __post_init__(self) -> None:
        flag("unescape", self.unescape)

    def plain(self) -> dict[str, Any]:
        return super().plain() | {"unescape": self.unescape}

    def read(self, path: Path) -> Iterator[WrittenTree]:
        for tree in read_brackets(text_of(path), lambda found, line: refusal(path, found, line, REPAIR)):
            yield tree.without_wrapper()

    def word(self, word: str) -> str:
        return unescaped(word) if self.unescape else word


@dataclass(frozen=True)
class NestedJson(TreeFormat):
    """Nested objects or lists."""

    keys: Keys = field(default_factory=Keys)
    name: ClassVar[str] = "json"
    endings: ClassVar[tuple[str, ...]] = (".json", ".jsonl", ".ndjson")
    what: ClassVar[str] = "trees in JSON"
    labelled: ClassVar[str] = "in an object, under the key that dataset.label_key names"

    def plain(self) -> dict[str, Any]:
        return super().plain() | {"keys": asdict(self.keys)}

    def read(self, path: Path) -> Iterator[WrittenTree]:
        lines = path.suffix.lower() in (".jsonl", ".ndjson")
        return read_json(text_of(path), lines, self.keys, lambda found, line: refusal(path, found, line, REPAIR))


@dataclass(frozen=True)
class Programs(TreeFormat):
    """The functions of Python sources; each is labelled by `predict`, of `LABELS`."""

    predict: str = "ends"
    name: ClassVar[str] = "python"
    endings: ClassVar[tuple[str, ...]] = (".py",)
    what: ClassVar[str] = "Python sources"
    labelled: ClassVar[str] = "which dataset.predict makes"
    refused: Callable[[Path, str], None] | None = None
    """Called with each file that does not parse and the reason; None: nobody asks."""

    def __post_init__(self) -> None:
        choice("predict", self.predict, LABELS)

    def plain(self) -> dict[str, Any]:
        return super().plain() | {"predict": self.predict}

    def read(self, path: Path) -> Iterator[WrittenTree]:
        try:
            yield from functions(bytes_of(path), LABELS[self.predict])
        except NotParsed as error:
            if self.refused is not None:
                self.refused(path, str(error))


def format_of(plain: Mapping[str, Any]) -> TreeFormat:
    """The format that gave `plain`.

    Raises:
        ValueError: it is not one's.
    """
    try:
        if plain["name"] == Brackets.name:
            return Brackets(plain["unescape"])
        if plain["name"] == NestedJson.name:
            return NestedJson(Keys(**plain["keys"]))
        if plain["name"] == Programs.name:
            return Programs(plain["predict"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"format: given {dict(plain)}, which no format gave ({error})") from None
    raise ValueError(f"format: given {plain['name']!r}, expected brackets, json or python")
