"""Texts with their translations, from a user's own files."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, final

import numpy as np

from rnn_research.checks import choice, flag, integer, path_of, word
from rnn_research.datasets.encoder import Encoder
from rnn_research.datasets.own.module import OwnData, RawSamples
from rnn_research.datasets.task import Task
from rnn_research.datasets.text.pairs import Pair, pairs_at
from rnn_research.datasets.text.parallel_encoder import ParallelEncoder
from rnn_research.datasets.text.segments import SEGMENTERS, Segmenter, segmenter
from rnn_research.datasets.text.subwords import USUAL_SIZE, Subwords
from rnn_research.datasets.text.vocabulary import UNKNOWN, Vocabulary
from rnn_research.structures import Sample

TOKENS = (*SEGMENTERS, Subwords.name)
Side = tuple[str, ...]
"""The tokens of a text."""


class ParallelData(OwnData):
    """Texts with a translation each, as sequences of tokens, numbered by two vocabularies of the training part alone.

    Pairs without a word on either side are dropped. Pairs are equal whose texts are. Training pairs with more than
    `max_length` tokens on a side are left out; of longer ones in val and test the first so many are read.

    Args:
        tokens: words, with the signs around them; spaces: what stands between spaces; characters; subwords: see
            `subwords.Subwords`, learnt from both sides of the training part together.
        lower: read and write in lower case.
        min_count: tokens that the training part has less often are unknown (of subwords none is); what is written has
            no unknown one.
        vocabulary_size: the most tokens of each side that are known, the most frequent ones; None: any number. Of
            subwords how many are learnt; None: 8,000.
        max_length: tokens of a text; None: any number. Of subwords a text with more words is left out of train, and any
            that has more subwords is cut.
        own: the arguments of `OwnData`.

    Raises:
        ValueError: as `OwnData`.
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
        **own: Any,
    ) -> None:
        super().__init__(**own)
        self.tokens, self.lower = choice("tokens", tokens, TOKENS), flag("lower", lower)
        self.min_count = integer("min_count", min_count)
        self.vocabulary_size = None if vocabulary_size is None else integer("vocabulary_size", vocabulary_size)
        self.max_length = None if max_length is None else integer("max_length", max_length)
        self._texts: dict[str, list[tuple[str, str]]] = {}
        self._pairs: list[Pair] = []

    @abstractmethod
    def pairs(self) -> list[Pair]:
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

    def read(self) -> RawSamples:
        cut, sides = self._first_cut(), list[tuple[Side, Side]]()
        self._pairs = kept = list[Pair]()
        same = dict[str, str]().setdefault  # one object a token, however often it is there
        for pair in self.pairs():
            found = [tuple([same(one, one) for one in cut.split(text)]) for text in (pair.source, pair.target)]
            if all(found):
                sides.append((found[0], found[1]))
                kept.append(pair)
            else:
                self.report.drop("without a word on one side")
        given = [pair.part for pair in kept]
        sources = [source for source, _ in sides]
        return RawSamples(sides, None, sources, lambda number: kept[number].where, given if any(given) else None)

    def _first_cut(self) -> Segmenter:
        """What tells texts apart and counts their length: of subwords, which are not learnt yet, whole words."""
        return segmenter("spaces" if self.tokens == Subwords.name else self.tokens, self.lower)

    def chosen(self, raw: RawSamples, parts: dict[str, list[int]]) -> dict[str, list[int]]:
        long = {name: [index for index in part if self._too_long(raw.items[index])] for name, part in parts.items()}
        self.report.drop(f"of train, longer than max_length={self.max_length}", len(long["train"]))
        train = sorted(set(parts["train"]) - set(long["train"]))
        if not train:
            raise ValueError(f"max_length: given {self.max_length}, which leaves no pair of train; give more")
        for name in ("val", "test"):
            if cut := len(long[name]):
                self.report.notes.append(f"{name}: {cut} are longer than max_length={self.max_length}, and cut")
            some = [self._pairs[index] for index in parts[name]]
            self._texts[name] = [(pair.source, pair.target) for pair in some]
        self._pairs = []
        return {**parts, "train": train}

    def _too_long(self, pair: tuple[Side, Side]) -> bool:
        return self.max_length is not None and max(map(len, pair)) > self.max_length

    def make_encoder(self, items: Sequence[Any], labels: Sequence[str], classes: tuple[str, ...]) -> Encoder:
        sides = [[pair[side] for pair in items] for side in (0, 1)]
        limits, learnt = (self.min_count, self.vocabulary_size), None
        if self.tokens == Subwords.name:
            texts = [[" ".join(words) for words in side] for side in sides]
            pieces = Subwords.learnt(chain(*texts), self.vocabulary_size or USUAL_SIZE, self.lower)
            sides, limits, learnt = [[tuple(pieces.split(text)) for text in side] for side in texts], (1, None), pieces
        source, target = (Vocabulary.counted(Counter(chain.from_iterable(side)), *limits) for side in sides)
        model = None if learnt is None else learnt.model
        return ParallelEncoder(self.tokens, self.lower, source, target, self.max_length, self.names(), model)

    def encoded(self, items: Sequence[Any], targets: Sequence[int]) -> Sequence[Sample]:
        assert self._encoder is not None
        whole = " ".join if self.tokens == Subwords.name else tuple
        return self._encoder.samples(*([whole(pair[side]) for pair in items] for side in (0, 1)))

    def make_task(self, sets: Mapping[str, Sequence[Sample]], shared: Mapping[str, Any]) -> Task:
        assert isinstance(self._encoder, ParallelEncoder)
        source, target, unknown = self._encoder.source, self._encoder.target, []
        for name, samples in sets.items():
            arrays = [sample.inputs for sample in samples], [sample.target_sequence for sample in samples]
            shares = [float((np.concatenate(some) == UNKNOWN).mean()) for some in arrays]  # type: ignore[arg-type]
            unknown.append(f"{shares[0]:.1%} and {shares[1]:.1%} of {name}")
        self.report.notes.append(
            f"vocabularies: {len(source.tokens)} tokens of the source, {len(target.tokens)} of the target; unknown are "
            + ", ".join(unknown)
        )
        return Task("sequence", source.size, target.size, tokens=True, monitor="loss")


@final
class ParallelText(ParallelData):
    """Texts with a translation each, of a user's own files: see `ParallelData` and `pairs.pairs_at`.

    Args:
        path: a TSV or a JSONL file, a file of lines beside `target_path`, or a folder.
        target_path: the file that has the translation of each line of `path`; None: there is no such file.
        source, target: the names of columns (or their numbers, counted from 1) or keys; in a folder of files
            NAME.SOURCE and NAME.TARGET their endings, such as en and de. None: found by the usual names.
        tokens, lower, min_count, vocabulary_size, max_length: see `ParallelData`.
        val_fraction, test_fraction, split_seed: see `OwnData`.

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
        own = {"val_fraction": val_fraction, "test_fraction": test_fraction, "split_seed": split_seed}
        batches = {"batch_size": batch_size, "num_workers": num_workers, "bucket": bucket}
        super().__init__(tokens, lower, min_count, vocabulary_size, max_length, path=path, **own, **batches)
        self.target_path = None if target_path is None else path_of("target_path", target_path)
        self.asked = (_name("source", source), _name("target", target))
        if (source is None) != (target is None):
            raise ValueError(f"source: given {source} with target={target}, expected both, or none")

    def names(self) -> tuple[str | None, str | None]:
        return self.asked

    def pairs(self) -> list[Pair]:
        return pairs_at(self.located(), self.target_path, self.asked)


def _name(name: str, value: Any) -> str | None:
    """A column by its name, or by its number as text."""
    return str(integer(name, value)) if isinstance(value, int) else word(name, value)
