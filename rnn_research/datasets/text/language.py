"""A language model's data: any text, as characters, bytes or words, read as streams whose state is carried."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from rnn_research.checks import choice, flag, integer, number, path_of
from rnn_research.datasets.base import DataModule
from rnn_research.datasets.own.files import files_at
from rnn_research.datasets.sampling import Batches, SampleDataset, silence_lost_connection
from rnn_research.datasets.task import SPLITS, Task
from rnn_research.datasets.text.corpus import Corpus, CorpusOptions, TextFile, corpus_of, counts_of
from rnn_research.datasets.text.stream import ENDINGS, UNITS, StreamEncoder
from rnn_research.datasets.text.windows import StreamBatches, Windows, evaluation_windows
from rnn_research.structures import Sample

log = logging.getLogger(__name__)


class Text(DataModule):
    """What comes next in a text: the data of a language model.

    Of a folder all files are read whose names end in .txt, .text or .md, in the order of their names. The text is split
    by position: its last part tests, the part before that chooses. The vocabulary is made of the training part alone,
    the most frequent token first; what it does not have is one unknown token, which is read and predicted as any other.
    Nothing is left out of a part, and its first token is read and not predicted.

    `stateful`: the training text is cut into `batch_size` streams side by side (fewer than `batch_size` tokens are left
    over). Each batch goes on by `window` steps where the one before ended, with the states that it ended in; gradients
    are cut there, and states begin at zero with each epoch. The other parts are read as one stream each (of more than
    200,000 tokens: as several of about as many), so that what is measured depends on neither `batch_size` nor `window`.

    Not `stateful`: windows are independent samples, shuffled, each from a state of zero, in the evaluation too.

    The distance of a state is measured within its window: d cell applications before the window's last step. Since
    there is a loss at every step, its adjoint is of the sum of the losses at 0..d applications, up to the window's end;
    `_terminal` is of the loss of the window's last step alone. No gradient comes from later windows.

    Args:
        path: a file in UTF-8, or a folder.
        tokens: `chars`; `bytes`, of any file; `words`, and signs, and ends of lines.
        lower: read in lower case.
        vocabulary_size: the most characters or words that are known, the most frequent ones; None: any number.
        min_count: characters or words that the training part has less often are unknown.
        val_fraction, test_fraction: the share of the text that chooses, and that tests.
        stateful: whether the state is carried from batch to batch.
        window: steps of a batch.

    Raises:
        ValueError: an argument is out of range; on loading, a file is missing or malformed (says which line), or there
            is too little text.
    """

    LENGTHS_SAID = "dataset.window"
    overlaps = True

    def __init__(
        self,
        path: str | None = None,
        tokens: str = "chars",
        lower: bool = False,
        vocabulary_size: int | None = None,
        min_count: int = 1,
        val_fraction: float = 0.05,
        test_fraction: float = 0.05,
        stateful: bool = True,
        window: int = 100,
        batch_size: int = 32,
        num_workers: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers)
        self.path = None if path is None else path_of("path", path)
        size = None if vocabulary_size is None else integer("vocabulary_size", vocabulary_size)
        shares = [
            number(name, value, above=0.0, most=0.4)
            for name, value in (("val_fraction", val_fraction), ("test_fraction", test_fraction))
        ]
        self.options = CorpusOptions(
            choice("tokens", tokens, UNITS), flag("lower", lower), size, integer("min_count", min_count), *shares
        )
        if tokens == "bytes" and (size is not None or min_count > 1 or lower):
            raise ValueError(
                "tokens: given bytes beside vocabulary_size, min_count or lower, which are of characters and words; "
                "leave them out"
            )
        self.stateful, self.window = flag("stateful", stateful), integer("window", window)
        self._corpus: Corpus | None = None

    @property
    def longest(self) -> int:
        return self.window

    def files(self) -> list[TextFile]:
        """The files that hold the text, in order.

        Raises:
            ValueError: there are none.
        """
        if self.path is None:
            raise ValueError("path: given none, expected a file or a folder of text; give dataset.path=PATH")
        return [(file, None) for file in files_at(self.path, ENDINGS, "text")]

    @property
    def corpus(self) -> Corpus:
        """The text as numbers. The first call reads it.

        Raises:
            ValueError: it can't be read, or is too short.
        """
        if self._corpus is None:
            found = corpus_of(self.files(), self.options)
            for name, part in found.parts.items():
                if len(part) < 2:
                    more = "" if name == "train" else f", or a larger dataset.{name}_fraction"
                    raise ValueError(
                        f"path: {self.path} leaves {len(part)} tokens for {name}, expected at least two; give more text"
                        f"{more}"
                    )
            self._corpus = found
        return self._corpus

    def load(self) -> tuple[Task, Mapping[str, Sequence[Sample]]]:
        corpus = self.corpus
        samples = {name: self._windows(name, part) for name, part in corpus.parts.items()}
        size = corpus.encoder.size
        ratios = [corpus.characters[name] / len(corpus.parts[name]) for name in SPLITS]
        task = Task(
            "next_token",
            input_size=size,
            output_size=size - 1,
            tokens=True,
            step_targets=True,
            monitor="bits",
            characters=None if self.options.tokens == "chars" else (ratios[0], ratios[1], ratios[2]),
        )
        for line in self._said():
            log.info("dataset: %s", line)
        return task, samples

    def _windows(self, name: str, part: np.ndarray) -> Windows:
        if not self.stateful:
            return Windows(part, self.window)
        if name == "train":
            streams = max(1, min(self.batch_size, (len(part) - 1) // self.window))
            return Windows(part, self.window, streams, whole=True)
        return evaluation_windows(part)

    def check(self) -> None:
        """Nothing more: every number was made of a text here."""
        self._load()

    def shared(self) -> str:
        """Nothing: a text may say a thing twice."""
        return ""

    @property
    def encoder(self) -> StreamEncoder:
        return self.corpus.encoder

    @property
    def read_report(self) -> dict[str, Any]:
        corpus = self.corpus
        return {
            "tokens": {name: len(part) for name, part in corpus.parts.items()},
            "characters": corpus.characters,
            "vocabulary": corpus.encoder.size - 2,
            "unknown": corpus.unknown,
            "streams": {name: len(self.samples(name).windows) if self.stateful else 0 for name in SPLITS},  # type: ignore[attr-defined]
        }

    def _said(self) -> list[str]:
        corpus, unit = self.corpus, self.options.tokens
        unknown = corpus.unknown
        return [
            f"{name}: {len(part)} {unit} of {corpus.encoder.size - 2} kinds, {unknown[name]} of them unknown"
            for name, part in corpus.parts.items()
        ]

    @property
    def facts(self) -> dict[str, Any]:
        return {"stateful": self.stateful, "window": self.window}

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the text, and of how it is cut into parts and tokens; windows are no part of it."""
        return hashlib.sha256(self.corpus.key.encode()).hexdigest()[:16]

    def features(self, split: str) -> dict[str, np.ndarray]:
        """Of each window its `length`, and the `position` of its first step in its part of the text."""
        samples = self.samples(split)
        assert isinstance(samples, Windows)
        return {"length": samples.lengths, "position": samples.starts}

    def baselines(self) -> dict[str, float]:
        """The bits a token of always predicting by how often each token is in the training part (one is added to each
        count, so that none is impossible)."""
        corpus = self.corpus
        counts = counts_of(corpus.parts["train"], corpus.encoder.size)[1:] + 1.0
        bits = -np.log2(counts / counts.sum())
        met = {name: counts_of(corpus.parts[name][1:], corpus.encoder.size)[1:] for name in ("val", "test")}
        return {f"{name}_bits": float((bits * often).sum() / often.sum()) for name, often in met.items()}

    def _loader(self, split: str, shuffle: bool) -> DataLoader[Any]:
        samples, start = self.samples(split), self.start if shuffle else (0, 0)
        assert isinstance(samples, Windows)
        batches: Any = (
            StreamBatches(samples.windows, start)
            if self.stateful
            else Batches(len(samples), self.batch_size, self.order_seed if shuffle else None, start=start)
        )
        return DataLoader(
            SampleDataset(samples),
            batch_sampler=batches,
            collate_fn=self.layout.collate,
            num_workers=self.num_workers,
            generator=torch.Generator(),  # so that serving batches draws nothing from the model's own generator
            persistent_workers=self.num_workers > 0,
            worker_init_fn=silence_lost_connection,
        )
