"""Texts and their translations as numbers, and what was written as text again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from rnn_research.checks import integer
from rnn_research.datasets.encoder import Encoder, Item
from rnn_research.datasets.own.files import files_at
from rnn_research.datasets.text.pairs import TABLES, lines_of, table
from rnn_research.datasets.text.segments import segmenter
from rnn_research.datasets.text.subwords import Subwords
from rnn_research.datasets.text.vocabulary import UNKNOWN, Vocabulary
from rnn_research.structures import Sample


class ParallelEncoder(Encoder):
    """Splits texts into tokens, and numbers those of two vocabularies. Class k of what is written is the token of
    number k of the target's vocabulary; class 0, where no token is, is the end.

    Args:
        tokens, lower: see `segments.segmenter`.
        source, target: the vocabularies of the training part.
        max_length: of a longer text the first so many tokens are read; None: all.
        names: of the columns or keys of a table, see `pairs.table`.
        subwords: the model of `subwords.Subwords`, where `tokens` are subwords.
    """

    kind = "parallel"
    forbidden = (UNKNOWN,)
    """Classes that are not written: they have no text."""

    def __init__(
        self,
        tokens: str,
        lower: bool,
        source: Vocabulary,
        target: Vocabulary,
        max_length: int | None = None,
        names: Sequence[str | None] = (None, None),
        subwords: str | None = None,
    ) -> None:
        self.tokens, self.lower = tokens, lower
        self.subwords = subwords
        self.segmenter = segmenter(tokens, lower) if subwords is None else Subwords(subwords, lower)
        self.source, self.target = source, target
        self.max_length = None if max_length is None else integer("max_length", max_length)
        self.names = (names[0], names[1])

    def plain(self) -> dict[str, Any]:
        return {
            "tokens": self.tokens,
            "lower": self.lower,
            "source": self.source.plain(),
            "target": self.target.plain(),
            "max_length": self.max_length,
            "names": list(self.names),
            "subwords": self.subwords,
        }

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        try:
            source, target = Vocabulary.of(plain["source"]), Vocabulary.of(plain["target"])
            how, kept = (plain["tokens"], plain["lower"]), (plain["max_length"], plain["names"], plain.get("subwords"))
            return cls(*how, source, target, *kept)
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"encoder: given one of translations without {error}") from None

    def encode(self, raw: str | Sequence[str], target: str | Sequence[str] | int = 0) -> Sample:
        """The sample of a text, or of its tokens, and of its translation where that is known."""
        tokens = self._cut(raw)
        if not tokens:
            raise ValueError("found no word, expected text")
        written = [] if isinstance(target, int) else self._cut(target)
        return Sample(self.source.encode(tokens), 0, target_sequence=self.target.encode(written))

    def _cut(self, text: str | Sequence[str]) -> Sequence[str]:
        return (self.segmenter.split(text) if isinstance(text, str) else text)[: self.max_length]

    def decode(self, classes: Iterable[int] | np.ndarray) -> str:
        """The text of what was written; a class without text is left out."""
        found = (self.target.token(int(one)) for one in classes)
        return self.segmenter.join(token for token in found if token is not None)

    def items(self, path: Path) -> Iterator[Item]:
        """The texts of a TSV or a JSONL file with their translations, or a text a line."""
        for file in files_at(Path(path), (*TABLES, ".txt"), "a file of texts"):
            if file.name.lower().endswith(TABLES):
                for pair in table(file, self.names):
                    yield Item(pair.where, pair.source, pair.target)
            else:
                for number, line in enumerate(lines_of(file), start=1):
                    if line.strip():
                        yield Item(f"{file}, line {number}", line.strip())
