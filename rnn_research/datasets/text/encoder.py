"""Texts as the numbers of their tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

from rnn_research.checks import choice, flag, integer
from rnn_research.datasets.encoder import Encoder, Item
from rnn_research.datasets.own.files import files_at
from rnn_research.datasets.text.columns import AskedColumns
from rnn_research.datasets.text.rows import FORMATS, TextReading, rows_of
from rnn_research.datasets.text.tokens import TOKENS, tokeniser
from rnn_research.datasets.text.vocabulary import Vocabulary
from rnn_research.structures import Sample

FILES = (".csv", ".tsv", ".jsonl", ".ndjson", ".txt")
"""What the files of a folder may be called."""


class TextEncoder(Encoder):
    """Splits a text into tokens, and numbers those of its vocabulary; a token that is not in it is `UNKNOWN`.

    Args:
        tokens: see `tokens.tokeniser`.
        lower: in lower case.
        vocabulary: of the training part.
        classes: the names of the classes, in order.
        max_length: of a longer text the first so many tokens are read; None: all.
        reading: how the files of the training were read.
    """

    kind = "text"

    def __init__(
        self,
        tokens: str,
        lower: bool,
        vocabulary: Vocabulary,
        classes: Sequence[str] = (),
        max_length: int | None = None,
        reading: TextReading | None = None,
    ) -> None:
        self.tokens, self.lower = choice("tokens", tokens, TOKENS), flag("lower", lower)
        self.vocabulary, self.classes = vocabulary, tuple(classes)
        self.max_length = None if max_length is None else integer("max_length", max_length)
        self.reading = TextReading() if reading is None else reading
        self._split = tokeniser(tokens, lower)

    def plain(self) -> dict[str, Any]:
        return {
            "tokens": self.tokens,
            "lower": self.lower,
            "vocabulary": self.vocabulary.plain(),
            "classes": list(self.classes),
            "max_length": self.max_length,
            "reading": {**asdict(self.reading), "asked": asdict(self.reading.asked)},
        }

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        try:
            how = dict(plain["reading"])
            choice("format", how["format"], (*FORMATS, "trec"))
            reading = TextReading(**{**how, "asked": AskedColumns(**how["asked"])})
            vocabulary = Vocabulary.of(plain["vocabulary"])
            shared = (plain["tokens"], plain["lower"], vocabulary, plain["classes"], plain["max_length"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"encoder: given one of text without {error}") from None
        return cls(*shared, reading)

    def split(self, text: str) -> list[str]:
        """The tokens of a text that are read."""
        return self._split(text)[: self.max_length]

    def encode(self, raw: str | Sequence[str], target: Any = 0) -> Sample:
        """The sample of a text, or of its tokens."""
        tokens = self.split(raw) if isinstance(raw, str) else raw
        if not tokens:
            raise ValueError("found no word, expected text")
        return Sample(self.vocabulary.encode(tokens), target)

    def items(self, path: Path) -> Iterator[Item]:
        """Texts of CSV, TSV, JSONL, fastText or `label<TAB>text` files, with their labels where they have some, or a
        text a line. Columns are those of the training, or else found as there."""
        how = replace(self.reading, labelled=False)
        for file in files_at(Path(path), FILES, "a file of texts"):
            for row in rows_of(file, how):
                yield Item(f"{file}, line {row.line}", row.text, row.label or None)
