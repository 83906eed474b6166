"""A text's three parts as numbers, made once and kept by content: what a language model trains on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from rnn_research.datasets.own.files import bytes_of, text_of
from rnn_research.datasets.own.kept import Arrays, kept
from rnn_research.datasets.task import SPLITS
from rnn_research.datasets.text.stream import NEW_LINE, StreamEncoder, clean, unknown_count
from rnn_research.datasets.text.tokens import words
from rnn_research.datasets.text.vocabulary import FIRST, UNKNOWN, Vocabulary

VERSION = 1
"""Of what is kept: another one is made anew."""
KEPT_FROM = 4 << 20
"""Bytes of a text from which on its numbers are kept: shorter ones are read in less than a second."""
CHUNK = 1 << 22
"""Characters that are worked on together: a text of 100 MB has several forms, and there is no room for all of each."""
LINE_END = "\0"
"""Stands for the end of a line where text is cut at white space: no text that was read holds it."""
LONG = 40
"""Characters of what is kept of a text between white space: where words are not parted by it, few are said again."""
CODES = 0x110000
"""Unicode's code points."""


@dataclass(frozen=True)
class CorpusOptions:
    """How a text is cut into parts and tokens: see `language.Text`."""

    tokens: str
    lower: bool
    vocabulary_size: int | None
    min_count: int
    val_fraction: float
    test_fraction: float


@dataclass(frozen=True, eq=False)
class Corpus:
    """The numbers of each part's tokens, and what makes them.

    `characters` are counted as tokens are: after Unicode's composition, of bytes as UTF-8 has them. `key` tells texts,
    and ways to cut them, apart.
    """

    parts: dict[str, np.ndarray]
    encoder: StreamEncoder
    characters: dict[str, int]
    key: str

    @cached_property
    def unknown(self) -> dict[str, int]:
        """How many of each part's tokens are unknown."""
        return {name: unknown_count(part) for name, part in self.parts.items()}


TextFile = tuple[Path, bytes | None]
"""A file, and what it holds, where that is read already."""


def corpus_of(files: Sequence[TextFile], options: CorpusOptions) -> Corpus:
    """The files' text, one after another; from the cache where a large one was read before.

    Raises:
        ValueError: a file can't be read, or is not text: names the line.
    """
    digest, size = hashlib.sha256(f"{VERSION} {options}".encode()), 0
    for file, content in files:
        digest.update(b"\0file\0")
        if content is None:
            size += _digest(file, digest)
        else:
            digest.update(content)
            size += len(content)
    key = digest.hexdigest()
    if size < KEPT_FROM:
        return _made(files, options, key)
    arrays = kept("text", key, lambda: _packed(_made(files, options, key)))
    said = json.loads(arrays["said"].tobytes().decode())
    return Corpus({name: arrays[name] for name in SPLITS}, StreamEncoder.of(said["encoder"]), said["characters"], key)


def _packed(corpus: Corpus) -> Arrays:
    """The arrays that are kept of a corpus."""
    said = json.dumps({"encoder": corpus.encoder.plain(), "characters": corpus.characters})
    return {"said": np.frombuffer(said.encode(), np.uint8), **corpus.parts}


def _digest(file: Path, digest: Any) -> int:
    """Add a file's content. Returns its size."""
    size = 0
    try:
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
                size += len(block)
    except OSError:
        bytes_of(file)  # says so in one line
        raise
    return size


def _made(files: Sequence[TextFile], options: CorpusOptions, key: str) -> Corpus:
    if options.tokens == "bytes":
        read = (bytes_of(file) if content is None else content for file, content in files)
        content = np.frombuffer(b"".join(read), np.uint8)
        cuts = _cuts(len(content), options)
        raw = {name: content[start:end] for name, (start, end) in zip(SPLITS, cuts, strict=True)}
        characters = {name: int((part & 0xC0 != 0x80).sum()) for name, part in raw.items()}
        return Corpus(
            {n: p.astype(np.uint16) + np.uint16(FIRST) for n, p in raw.items()}, StreamEncoder("bytes"), characters, key
        )
    text = clean(_text(files), options.lower)
    cuts = _cuts(len(text), options, text if options.tokens == "words" else None)
    texts = {name: text[start:end] for name, (start, end) in zip(SPLITS, cuts, strict=True)}
    del text
    characters = {name: len(part) for name, part in texts.items()}
    numbered = _numbered_characters if options.tokens == "chars" else _numbered_words
    parts, known = numbered(texts, options)
    return Corpus(parts, StreamEncoder(options.tokens, known, options.lower), characters, key)


def _text(files: Sequence[TextFile]) -> str:
    """The files' text; a new line parts two files where the first does not end in one."""
    texts = (text_of(file, content=content) for file, content in files)
    if len(files) == 1:
        return next(texts)
    return "".join(text if text.endswith(NEW_LINE) else text + NEW_LINE for text in texts if text)


def _cuts(length: int, options: CorpusOptions, text: str | None = None) -> list[tuple[int, int]]:
    """Where the three parts begin and end, in order; in a `text` where white space is, so that no word is cut."""
    val, test = (round(length * share) for share in (options.val_fraction, options.test_fraction))
    first, second = length - val - test, length - test
    if text is not None:
        first, second = _space(text, first), _space(text, second)
    return [(0, first), (first, second), (second, length)]


def _space(text: str, place: int) -> int:
    while place < len(text) and not text[place].isspace():
        place += 1
    return place


def _type(numbers: int) -> type[np.unsignedinteger[Any]]:
    """The smallest type that holds so many."""
    return next(kind for kind in (np.uint8, np.uint16, np.uint32) if numbers <= np.iinfo(kind).max + 1)


def _numbered_characters(texts: dict[str, str], options: CorpusOptions) -> tuple[dict[str, np.ndarray], Vocabulary]:
    counts = np.zeros(CODES, np.int64)
    for codes in _codes(texts["train"]):
        counts += np.bincount(codes, minlength=CODES)
    found = {chr(code): int(counts[code]) for code in np.flatnonzero(counts)}
    known = Vocabulary.counted(found, options.min_count, options.vocabulary_size)
    number = np.full(CODES, UNKNOWN, _type(known.size))
    number[[ord(token) for token in known.tokens]] = np.arange(FIRST, known.size)
    return {
        name: _joined((number[codes] for codes in _codes(text)), number.dtype) for name, text in texts.items()
    }, known


def _codes(text: str) -> Any:
    """Yield the code points of a text, a chunk at a time."""
    for start in range(0, len(text), CHUNK):
        # a surrogate stands for a byte that is none of UTF-8's: text that was read has none
        yield np.frombuffer(text[start : start + CHUNK].encode("utf-32-le"), np.uint32)


class _FirstSeen(dict[str, int]):
    """Words by the order in which they are first seen."""

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number


def _numbered_words(texts: dict[str, str], options: CorpusOptions) -> tuple[dict[str, np.ndarray], Vocabulary]:
    seen = _FirstSeen()
    order = {name: _joined(_word_numbers(text, seen.__getitem__), np.dtype(np.uint32)) for name, text in texts.items()}
    counts, known_words = counts_of(order["train"], len(seen)), list(seen)
    found = {known_words[place]: int(counts[place]) for place in np.flatnonzero(counts)}
    known = Vocabulary.counted(found, options.min_count, options.vocabulary_size)
    number = np.full(len(known_words), UNKNOWN, _type(known.size))
    number[[seen[token] for token in known.tokens]] = np.arange(FIRST, known.size)
    return {name: number[part] for name, part in order.items()}, known


class _Spans(dict[str, tuple[int, ...]]):
    """The numbers of the words in what stands between white space, which no word holds: found once for each that is
    not long, since most of a text says what was said before."""

    def __init__(self, number: Callable[[str], int]) -> None:
        self._number = number
        self[LINE_END] = (number(NEW_LINE),)

    def __missing__(self, span: str) -> tuple[int, ...]:
        found = tuple(map(self._number, words(span)))
        if len(span) <= LONG:
            self[span] = found
        return found


def _word_numbers(text: str, number: Callable[[str], int]) -> Any:
    """Yield the words of a text and the ends of its lines, each as its number, some lines at a time: as
    `stream.pieces` has them."""
    start, numbers_of = 0, _Spans(number).__getitem__
    while start < len(text):
        end = text.find(NEW_LINE, start + CHUNK) + 1 or len(text)
        spans = text[start:end].replace(NEW_LINE, f" {LINE_END} ").split()
        yield np.fromiter(chain.from_iterable(map(numbers_of, spans)), np.uint32)
        start = end


def counts_of(numbers: np.ndarray, size: int) -> np.ndarray:
    """How often each number below `size` is there. Some are counted at a time: numpy makes large integers of all."""
    counts = np.zeros(size, np.int64)
    for start in range(0, len(numbers), CHUNK):
        counts += np.bincount(numbers[start : start + CHUNK], minlength=size)
    return counts


def _joined(parts: Any, kind: np.dtype[Any]) -> np.ndarray:
    return np.concatenate([np.zeros(0, kind), *parts])
