"""Texts with their translations, from a user's own files."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, final

import numpy as np

from rnn_research.checks import choice, flag, integer, number, path_of, word
from rnn_research.datasets.base import DataModule
from rnn_research.datasets.encoder import Encoder
from rnn_research.datasets.own.report import ReadingReport
from rnn_research.datasets.own.splitting import split, without_duplicates
from rnn_research.datasets.task import Task
from rnn_research.datasets.text.pairs import Pair, pairs_at
from rnn_research.datasets.text.parallel_encoder import ParallelEncoder
from rnn_research.datasets.text.segments import SEGMENTERS, segmenter
from rnn_research.datasets.text.vocabulary import UNKNOWN, Vocabulary
from rnn_research.structures import Sample

log = logging.getLogger(__name__)


class ParallelData(DataModule):
    """Texts with a translation each, as sequences of tokens, numbered by two vocabularies of the training part alone.

    Pairs without a word on either side are dropped; so are pairs of train whose text is in val or test, of val whose
    text is in test and, where splits are drawn, all but the first of those with one text. Training pairs with more than
    `max_length` tokens on a side are left out; of longer ones in val and test the first so many are read.

    Args:
        tokens: words, with the signs around them; spaces: what stands between spaces; characters.
        lower: read and write in lower case.
        min_count: tokens that the training part has less often are unknown; what is written has no unknown one.
        vocabulary_size: the most tokens of each side that are known, the most frequent ones; None: any number.
        max_length: tokens of a text; None: any number.
        val_fraction, test_fraction: the share of the pairs that is drawn for each, where the files say no splits.
        split_seed: which pairs are drawn.

    Raises:
        ValueError: an argument is out of range; on loading, data are missing or malformed: says which file and line.
    """

    LENGTHS_SAID = "dataset.max_length"
    overlaps = True

    def __init__(
        self,
        tokens: str,
        lower: bool,
        min_count: int,
        vocabulary_size: int | None,
        max_length: int | None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        **batches: Any,
    ) -> None:
        super().__init__(**batches)
        self.tokens, self.lower = choice("tokens", tokens, SEGMENTERS), flag("lower", lower)
        self.min_count = integer("min_count", min_count)
        self.vocabulary_size = None if vocabulary_size is None else integer("vocabulary_size", vocabulary_size)
        self.max_length = None if max_length is None else integer("max_length", max_length)
        self.val_fraction = number("val_fraction", val_fraction, above=0.0, most=0.9)
        self.test_fraction = number("test_fraction", test_fraction, above=0.0, most=0.9)
        self.split_seed = integer("split_seed", split_seed, least=0)
        self.report = ReadingReport()
        self._encoder: Encoder | None = None
        self._texts: dict[str, list[tuple[str, str]]] = {}

    @abstractmethod
    def read(self) -> list[Pair]:
        """All pairs of the files."""

    def names(self) -> tuple[str | None, str | None]:
        """Of the columns of a table, as prediction finds them again."""
        return None, None

    def shared(self) -> str:
        """Nothing: a text that is in two splits is dropped from one, by its tokens. Texts that differ in unknown tokens
        alone may be in two, and look the same."""
        return ""

    def texts(self, split: str) -> Sequence[tuple[str, str]] | None:
        """The pairs of val or of test, as their files have them."""
        self._load()
        return self._texts.get(split)

    @property
    def encoder(self) -> Encoder | None:
        self._load()
        return self._encoder

    @property
    def read_report(self) -> dict[str, Any]:
        self._load()
        return self.report.plain()

    def load(self) -> tuple[Task, Mapping[str, Sequence[Sample]]]:
        self.report = ReadingReport()
        pairs, sides, given = self._tokens(self.read())
        parts = self._split([source for source, _ in sides], given)
        long = [index for index in parts["train"] if self._too_long(sides[index])]
        if long:
            self.report.drop(f"of train, longer than max_length={self.max_length}", len(long))
            parts["train"] = sorted(set(parts["train"]) - set(long))
        if not parts["train"]:
            raise ValueError(f"max_length: given {self.max_length}, which leaves no pair of train; give more")
        for name in ("val", "test"):
            if cut := sum(self._too_long(sides[index]) for index in parts[name]):
                self.report.notes.append(f"{name}: {cut} are longer than max_length={self.max_length}, and cut")
        train = [sides[index] for index in parts["train"]]
        source, target = (self._vocabulary([pair[side] for pair in train]) for side in (0, 1))
        self._encoder = ParallelEncoder(self.tokens, self.lower, source, target, self.max_length, self.names())
        sets = {
            name: self._encoder.samples(*([sides[index][side] for index in part] for side in (0, 1)))
            for name, part in parts.items()
        }
        for name in ("val", "test"):
            self._texts[name] = [(pairs[index].source, pairs[index].target) for index in parts[name]]
        self._count(sets, source, target)
        task = Task("sequence", source.size, target.size, tokens=True, monitor="loss")
        return task, sets

    def _tokens(
        self, pairs: Sequence[Pair]
    ) -> tuple[list[Pair], list[tuple[tuple[str, ...], tuple[str, ...]]], list[str]]:
        """The pairs that have a word on both sides, the tokens of each, and the split that its file says."""
        cut, kept, sides, given = segmenter(self.tokens, self.lower), [], [], []
        same = dict[str, str]().setdefault  # one object a token, however often it is there
        for pair in pairs:
            found = [tuple([same(one, one) for one in cut.split(text)]) for text in (pair.source, pair.target)]
            if all(found):
                sides.append((found[0], found[1]))
                given.append(pair.part)
                kept.append(pair)
            else:
                self.report.drop("without a word on one side")
        if not sides:
            raise ValueError("path: found no pair of texts, expected at least three; give more data")
        return kept, sides, given

    def _split(self, keys: Sequence[tuple[str, ...]], parts: Sequence[str]) -> dict[str, list[int]]:
        given = parts if any(parts) else None
        kept, dropped = without_duplicates(keys, given)
        for reason, count in dropped.items():
            self.report.drop(reason, count)
        said = None if given is None else [given[index] for index in kept.tolist()]
        fractions = {"val_fraction": self.val_fraction, "test_fraction": self.test_fraction, "seed": self.split_seed}
        try:
            found = split(len(kept), given=said, **fractions)  # type: ignore[arg-type]
        except ValueError as error:
            raise ValueError(f"path: {error}") from None
        return {name: kept[part].tolist() for name, part in found.items()}

    def _too_long(self, pair: tuple[tuple[str, ...], tuple[str, ...]]) -> bool:
        return self.max_length is not None and max(map(len, pair)) > self.max_length

    def _vocabulary(self, texts: Sequence[tuple[str, ...]]) -> Vocabulary:
        return Vocabulary.counted(Counter(chain.from_iterable(texts)), self.min_count, self.vocabulary_size)

    def _count(self, sets: Mapping[str, Sequence[Sample]], source: Vocabulary, target: Vocabulary) -> None:
        self.report.count(sets)
        unknown = {}
        for name, samples in sets.items():
            arrays = [sample.inputs for sample in samples], [sample.target_sequence for sample in samples]
            shares = [float((np.concatenate(some) == UNKNOWN).mean()) for some in arrays]  # type: ignore[arg-type]
            unknown[name] = f"{shares[0]:.1%} and {shares[1]:.1%} of {name}"
        self.report.notes.append(
            f"vocabularies: {len(source.tokens)} tokens of the source, {len(target.tokens)} of the target; unknown are "
            + ", ".join(unknown.values())
        )
        for line in self.report.lines():
            log.info("dataset: %s", line)


@final
class ParallelText(ParallelData):
    """Texts with a translation each, of a user's own files: see `ParallelData` and `pairs.pairs_at`.

    Args:
        path: a TSV or a JSONL file, a file of lines beside `target_path`, or a folder.
        target_path: the file that has the translation of each line of `path`; None: there is no such file.
        source, target: the names of columns (or their numbers, counted from 1) or keys; in a folder of files
            NAME.SOURCE and NAME.TARGET their endings, such as en and de. None: found by the usual names.
        tokens, lower, min_count, vocabulary_size, max_length, val_fraction, test_fraction, split_seed: see
            `ParallelData`.

    Raises:
        ValueError: an argument is out of range; on loading, a file is missing or malformed: says which line.
    """

    def __init__(
        self,
        path: str | None = None,
        target_path: str | None = None,
        source: str | int | None = None,
        target: str | int | None = None,
        tokens: str = "words",
        lower: bool = False,
        min_count: int = 2,
        vocabulary_size: int | None = None,
        max_length: int | None = 100,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        batch_size: int = 32,
        num_workers: int = 0,
        bucket: bool = True,
    ) -> None:
        batches = {"batch_size": batch_size, "num_workers": num_workers, "bucket": bucket}
        drawn = (val_fraction, test_fraction, split_seed)
        super().__init__(tokens, lower, min_count, vocabulary_size, max_length, *drawn, **batches)
        self.path = None if path is None else path_of("path", path)
        self.target_path = None if target_path is None else path_of("target_path", target_path)
        self.asked = (_name("source", source), _name("target", target))
        if (source is None) != (target is None):
            raise ValueError(f"source: given {source} with target={target}, expected both, or none")

    def names(self) -> tuple[str | None, str | None]:
        return self.asked

    def read(self) -> list[Pair]:
        if self.path is None:
            raise ValueError("path: given none, expected a file or a folder; set dataset.path=...")
        return pairs_at(self.path, self.target_path, self.asked)


def _name(name: str, value: Any) -> str | None:
    """A column by its name, or by its number as text."""
    return str(integer(name, value)) if isinstance(value, int) else word(name, value)
