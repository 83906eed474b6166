"""The tokens that a model knows: numbered by how frequent they are in the training part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np

from rnn_research.checks import integer

UNKNOWN = 1
"""The number of every token that is not in the vocabulary; 0 is that of no token, `NO_INPUT`."""
FIRST = 2
"""The number of the most frequent token."""


class Vocabulary:
    """Tokens and their numbers: 0 stands for no token, 1 for any that is not known, the known ones follow.

    Args:
        tokens: the known ones, all distinct, in the order of their numbers.

    Raises:
        ValueError: a token is no text, or is there twice.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self.tokens = tuple(tokens)
        self.numbers = {token: number for number, token in enumerate(self.tokens, start=FIRST)}
        if not all(isinstance(token, str) for token in self.tokens):
            wrong = next(token for token in self.tokens if not isinstance(token, str))
            raise ValueError(f"vocabulary: given the token {wrong!r}, expected text")
        if len(self.numbers) < len(self.tokens):
            raise ValueError("vocabulary: given a token twice, expected distinct ones")

    @classmethod
    def counted(cls, counts: Mapping[str, int], min_count: int = 1, max_size: int | None = None) -> Self:
        """The vocabulary of tokens that were counted, the most frequent first; equally frequent ones by their text.

        To keep test data out of it, count the training part alone.

        Args:
            min_count: tokens with a lower count stay unknown.
            max_size: the most tokens; None: any number.

        Raises:
            ValueError: an argument is out of range, or no token is there often enough.
        """
        integer("min_count", min_count)
        if max_size is not None:
            integer("max_size", max_size)
        known = sorted((token for token, count in counts.items() if count >= min_count))
        if counts and not known:
            raise ValueError(
                f"min_count: given {min_count}, but the most frequent token is there {max(counts.values())} times; "
                "expected no more than that"
            )
        known.sort(key=lambda token: -counts[token])
        return cls(known[:max_size])

    @classmethod
    def of(cls, plain: Any) -> Self:
        """The vocabulary that gave `plain`.

        Raises:
            ValueError: it is not one's.
        """
        if not isinstance(plain, list | tuple):
            raise ValueError(f"vocabulary: given {type(plain).__name__}, expected a list of tokens")
        return cls(plain)

    def plain(self) -> list[str]:
        """All of it, in types that JSON has."""
        return list(self.tokens)

    @property
    def size(self) -> int:
        """The numbers there are, 0 and 1 among them: the rows of an embedding."""
        return len(self.tokens) + FIRST

    def encode(self, tokens: Iterable[str]) -> np.ndarray:
        """The number of each token, int64."""
        number = self.numbers.get
        return np.array([number(token, UNKNOWN) for token in tokens], dtype=np.int64)

    def token(self, number: int) -> str | None:
        """The token of a number; None for 0 and 1, which have no text."""
        return self.tokens[number - FIRST] if FIRST <= number < self.size else None
