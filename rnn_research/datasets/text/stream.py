"""Text as one stream of tokens, and tokens as text again: what a language model reads and writes."""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from rnn_research.checks import choice, flag
from rnn_research.datasets.encoder import Encoder, Item
from rnn_research.datasets.own.files import bytes_of, files_at, text_of
from rnn_research.datasets.text.tokens import words
from rnn_research.datasets.text.vocabulary import FIRST, UNKNOWN, Vocabulary
from rnn_research.structures import Sample

UNITS = ("chars", "bytes", "words")
ENDINGS = (".txt", ".text", ".md")
"""Of the files in a folder that are read."""
NEW_LINE = "\n"
"""A token of its own among words: where a line ends."""
CLOSING, OPENING = frozenset(".,;:!?)]}%…»”’"), frozenset("([{«“")
"""Signs that words are written with no space before, and none behind."""


class StreamEncoder(Encoder):
    """Characters, bytes or words, and their numbers.

    0 stands for no token, 1 for one that is not known, known ones follow. What comes next is told as class
    `token - 1`: class 0 is a token that is not known, which has no text. Every byte is known.

    Args:
        tokens: `chars`, `bytes` or `words` (see `tokens.words`; the end of a line is a word too).
        vocabulary: of characters and words; None: of bytes.
        lower: whether text is read in lower case.

    Raises:
        ValueError: an argument is not what is said here.
    """

    kind = "stream"

    def __init__(self, tokens: str, vocabulary: Vocabulary | None = None, lower: bool = False) -> None:
        self.tokens, self.lower = choice("tokens", tokens, UNITS), flag("lower", lower)
        if (vocabulary is None) != (tokens == "bytes"):
            raise ValueError(f"vocabulary: expected one of characters or words, and none of bytes; tokens is {tokens}")
        self.vocabulary = vocabulary

    def plain(self) -> dict[str, Any]:
        known = {} if self.vocabulary is None else {"vocabulary": self.vocabulary.plain()}
        return {"tokens": self.tokens, "lower": self.lower, **known}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        vocabulary = Vocabulary.of(plain["vocabulary"]) if "vocabulary" in plain else None
        return cls(plain.get("tokens", ""), vocabulary, plain.get("lower", False))

    @property
    def size(self) -> int:
        """The numbers of tokens there are, 0 and 1 among them: the rows of an embedding. There is one class less."""
        return FIRST + 256 if self.vocabulary is None else self.vocabulary.size

    @property
    def with_text(self) -> np.ndarray:
        """Whether each class has a text, and so may be shown: all but the unknown token."""
        return np.arange(1, self.size) >= FIRST

    def tokens_of(self, raw: str | bytes) -> np.ndarray:
        """The numbers of a text's tokens, int64."""
        if self.vocabulary is None:
            return np.frombuffer(raw.encode() if isinstance(raw, str) else raw, np.uint8).astype(np.int64) + FIRST
        text = raw.decode("utf-8-sig") if isinstance(raw, bytes) else raw
        return self.vocabulary.encode(pieces(clean(text, self.lower), self.tokens))

    def characters_of(self, raw: str | bytes) -> int:
        """How many characters a text has, counted as its tokens are; of bytes, those that UTF-8 begins with them."""
        if self.vocabulary is not None:
            return len(clean(raw.decode("utf-8-sig") if isinstance(raw, bytes) else raw, self.lower))
        content = raw.encode() if isinstance(raw, str) else raw
        return int((np.frombuffer(content, np.uint8) & 0xC0 != 0x80).sum())

    def encode(self, raw: Any, target: Any = 0) -> Sample:
        """A whole text as one sample: each step's label is the class of what comes next."""
        numbers = self.tokens_of(raw)
        if len(numbers) < 2:
            raise ValueError(f"text: given {len(numbers)} tokens, expected at least two: one to read, one to come next")
        return Sample(numbers[:-1], int(numbers[-1]) - 1, numbers[1:] - 1)

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens; those without text (no token, an unknown one) are left out.

        Words are put together with spaces, but for signs that are written close to a word.
        """
        return "".join(self.decoded(tokens))

    def decoded(self, tokens: Iterable[int]) -> Iterator[str]:
        """Yield the text of tokens while they come: of bytes, as soon as they make a character."""
        known = (int(token) for token in tokens if FIRST <= int(token) < self.size)
        if self.vocabulary is None:
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            for token in known:
                if text := decoder.decode(bytes([token - FIRST])):
                    yield text
            if rest := decoder.decode(b"", True):
                yield rest
            return
        before = NEW_LINE
        for token in known:
            piece = self.vocabulary.tokens[token - FIRST]
            close = self.tokens == "chars" or piece[0] in CLOSING or NEW_LINE in (piece, before) or before in OPENING
            before = piece
            yield piece if close else f" {piece}"

    def items(self, path: Path) -> Iterator[Item]:
        for file in files_at(path, ENDINGS, "text"):
            yield Item(str(file), bytes_of(file) if self.vocabulary is None else text_of(file))


def clean(text: str, lower: bool) -> str:
    """The text as it is cut into tokens: composed (NFC), with ends of line as in `own.files.text_of`."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return text.lower() if lower else text


def pieces(text: str, tokens: str) -> Sequence[str]:
    """The characters, or the words, of a clean text."""
    if tokens == "chars":
        return text
    found: list[str] = []
    for line in text.split(NEW_LINE):
        found += words(line)
        found.append(NEW_LINE)
    found.pop()  # the last line ends only where a new line follows
    return found


def unknown_count(tokens: np.ndarray) -> int:
    """How many of these tokens are unknown."""
    return int((tokens == UNKNOWN).sum())
