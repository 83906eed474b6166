"""Pretrained vectors of words, from a text file as GloVe and word2vec have them: a word and its numbers a line."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rnn_research.datasets.own.files import other_form
from rnn_research.datasets.text.vocabulary import FIRST, Vocabulary

REPAIR = "mend or delete the line, or fetch the file again"


def read_vectors(path: Path, vocabulary: Vocabulary) -> np.ndarray:
    """The vectors of a vocabulary's tokens: (size, features) float32, NaN in the rows of tokens that the file lacks.

    A token that the file lacks has the vector of its lower-case form. Of a word that is there twice the first counts.
    The file may begin with a line of its two sizes, as word2vec writes it, and may be packed (`.gz`). Every line must
    have as many numbers as the first; the numbers of words that nothing asks for are not looked at.

    Raises:
        ValueError: the file can't be read, or is malformed; names the line.
    """
    wanted = set(vocabulary.tokens) | {token.lower() for token in vocabulary.tokens}
    found: dict[str, np.ndarray] = {}
    features = 0
    for number, line in enumerate(_lines(path), start=1):
        line = line.strip(" \n\r\t")
        if number == 1 and _is_header(line):
            continue
        if not line:
            continue
        features = features or len(line.split(" ")) - 1
        try:
            word, rest = _parts(line, features)
            if word in wanted and word not in found:
                found[word] = _numbers(rest)
        except ValueError as error:
            raise ValueError(f"dataset.vectors: {path}, line {number}: {error}; {REPAIR}") from None
    if not features:
        raise ValueError(f"dataset.vectors: {path} has no vector, expected a word and its numbers a line; {REPAIR}")
    vectors = np.full((vocabulary.size, features), np.nan, dtype=np.float32)
    for row, token in enumerate(vocabulary.tokens, start=FIRST):
        vector = found.get(token, found.get(token.lower()))
        if vector is not None:
            vectors[row] = vector
    return vectors


def coverage(vectors: np.ndarray, counts: np.ndarray) -> str:
    """A sentence: how many of the vocabulary's tokens, and of all tokens of the training part, have a vector.

    Args:
        counts: how often each number is in the training part, that of unknown tokens too.
    """
    there = ~np.isnan(vectors[:, 0])
    types, known, occurrences, tokens = (
        int(there.sum()),
        len(there) - FIRST,
        int(counts[there].sum()),
        int(counts.sum()),
    )
    return (
        f"vectors: {types} of {known} tokens of the vocabulary have one ({types / max(known, 1):.1%}), and "
        f"{occurrences} of {tokens} in the training part ({occurrences / max(tokens, 1):.1%})"
    )


def _lines(path: Path) -> Iterator[str]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file):
                if number == 0 and (form := other_form(line)) is not None:
                    raise ValueError(f"dataset.vectors: {path}: found {form}, expected text in UTF-8; convert it")
                text = line.decode("utf-8", "replace")  # a word that is not UTF-8 is none that is asked for
                yield text if number else text.removeprefix("\ufeff")
    except (OSError, EOFError) as error:
        said = getattr(error, "strerror", None) or error
        raise ValueError(
            f"dataset.vectors: can't read {path} ({said}), expected a file of vectors, a word and its numbers a line; "
            "check the path"
        ) from error


def _is_header(line: str) -> bool:
    """How many words there are, and how many numbers each has."""
    fields = line.split()
    return len(fields) == 2 and all(field.isascii() and field.isdigit() for field in fields)


def _parts(line: str, features: int) -> tuple[str, list[str]]:
    """A word, which may hold spaces, and its numbers."""
    fields = line.split(" ")
    extra = len(fields) - 1 - features
    if features < 1 or extra < 0 or (extra > 0 and all(map(_is_number, fields[1 : extra + 1]))):
        raise ValueError(f"found {len(fields) - 1} numbers, expected {max(features, 1)} after a word, as in the first")
    return " ".join(fields[: extra + 1]), fields[extra + 1 :]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(fields: list[str]) -> np.ndarray:
    for field in fields:
        if not _is_number(field) or not math.isfinite(float(field)):
            raise ValueError(f"found {field!r}, expected a number")
    return np.array(fields, dtype=np.float64).astype(np.float32)
