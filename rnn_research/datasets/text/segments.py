"""Text as the tokens that are read and written, and back: what a translation is put together from.

A way to split text that is not here is one more `Segmenter` in `SEGMENTERS`; subwords, which are learnt, are in
`subwords`.
"""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from rnn_research.checks import choice, flag
from rnn_research.datasets.text.tokens import words

JOINER = "\uffed"
"""Before a word or a sign that follows the one before it without a space (Klein et al. 2017, OpenNMT's joiner)."""


class Segmenter(ABC):
    """Splits text into tokens, and puts tokens together to text.

    Args:
        lower: in lower case.
    """

    name: ClassVar[str]

    def __init__(self, lower: bool = False) -> None:
        self.lower = flag("lower", lower)

    def split(self, text: str) -> list[str]:
        """The tokens of a text, which is brought to Unicode's NFC first."""
        text = text if text.isascii() else unicodedata.normalize("NFC", text)
        return self.tokens_of(text.lower() if self.lower else text)

    @abstractmethod
    def tokens_of(self, text: str) -> list[str]:
        """The tokens of a text that is normalised."""

    @abstractmethod
    def join(self, tokens: Iterable[str]) -> str:
        """The text of tokens: of those of `split` the text that was split, but for its white space."""


class Words(Segmenter):
    """Words and signs, as `tokens.words` splits them, each with `JOINER` before it where no space stands there."""

    name = "words"

    def tokens_of(self, text: str) -> list[str]:
        found, end = [], 0
        for word in words(text):
            start = text.index(word, end)
            found.append(f"{JOINER}{word}" if found and start == end else word)
            end = start + len(word)
        return found

    def join(self, tokens: Iterable[str]) -> str:
        return " ".join(tokens).replace(f" {JOINER}", "").removeprefix(JOINER)


class Spaces(Segmenter):
    """What stands between white space: for text that is split already."""

    name = "spaces"

    def tokens_of(self, text: str) -> list[str]:
        return text.split()

    def join(self, tokens: Iterable[str]) -> str:
        return " ".join(tokens)


class Characters(Segmenter):
    """Code points; white space is one space."""

    name = "characters"

    def tokens_of(self, text: str) -> list[str]:
        return list(" ".join(text.split()))

    def join(self, tokens: Iterable[str]) -> str:
        return "".join(tokens)


SEGMENTERS: dict[str, type[Segmenter]] = {kind.name: kind for kind in (Words, Spaces, Characters)}
"""By the name that a user gives."""


def segmenter(tokens: str, lower: bool = False) -> Segmenter:
    """The one of that name.

    Raises:
        ValueError: there is none.
    """
    return SEGMENTERS[choice("tokens", tokens, SEGMENTERS)](lower)
