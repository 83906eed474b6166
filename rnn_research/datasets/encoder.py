"""What turns raw data into what a model reads, as plain data: stored with a run, and used after training without the
data themselves.

To add one, subclass `Encoder` in one file and name it in `ENCODERS`.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from rnn_research.datasets.kept_types import check_made
from rnn_research.structures import Sample

ENCODERS = {
    "text": "rnn_research.datasets.text.encoder.TextEncoder",
    "stream": "rnn_research.datasets.text.stream.StreamEncoder",
    "parallel": "rnn_research.datasets.text.parallel_encoder.ParallelEncoder",
    "trees": "rnn_research.datasets.trees.encoder.TreeEncoder",
    "audio": "rnn_research.datasets.audio.encoder.AudioEncoder",
    "transcripts": "rnn_research.datasets.audio.transcript_encoder.TranscriptEncoder",
    "frames": "rnn_research.datasets.frames.encoder.FrameEncoder",
    "series": "rnn_research.datasets.series.encoder.SeriesEncoder",
}
"""Every kind of encoder that a run's folder may name: nothing else is imported for one."""


@dataclass(frozen=True)
class Item:
    """One raw sample of a file.

    Attributes:
        where: the file, and the line or the part of it, as a user finds it again.
        raw: what `Encoder.encode` takes.
        label: what the file says of it, in words; None: nothing.
    """

    where: str
    raw: Any
    label: str | None = None


class Encoder(ABC):
    """Makes samples of raw data, as the training part of a run's data had them made.

    All of it is plain data: `plain` gives what `of` makes the same encoder from, in types that JSON has.
    """

    kind: ClassVar[str]
    """The name in `ENCODERS`."""

    @abstractmethod
    def plain(self) -> dict[str, Any]:
        """All that it is, in types that JSON has."""

    @classmethod
    @abstractmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """The encoder that gave `plain`.

        Raises:
            ValueError: it is not one's; says what is wrong.
        """

    @abstractmethod
    def encode(self, raw: Any, target: Any = 0) -> Sample:
        """The sample that a model reads.

        Raises:
            ValueError: this raw sample can't be read; says why.
        """

    @abstractmethod
    def items(self, path: Path) -> Iterator[Item]:
        """Read a file, or a folder, of the same format as the data that the run was trained on, one item after another.

        Raises:
            ValueError: it is missing or malformed; names the file and the line.
        """

    def samples(self, raws: Sequence[Any], targets: Sequence[Any]) -> Sequence[Sample]:
        """The samples of many raw ones, with their targets."""
        return [self.encode(raw, target) for raw, target in zip(raws, targets, strict=True)]


def encoder_of(plain: Any) -> Encoder:
    """The encoder that is stored with a run.

    Raises:
        ValueError: its kind is unknown, or it is not one's.
    """
    kind = plain.get("kind") if isinstance(plain, Mapping) else None
    if not isinstance(kind, str) or kind not in ENCODERS:
        raise ValueError(f"encoder: given the kind {kind!r}, expected one of {', '.join(ENCODERS)}")
    module, _, name = ENCODERS[kind].rpartition(".")
    try:
        made: Encoder = getattr(importlib.import_module(module), name).of(plain)
    except (AttributeError, LookupError, TypeError, OverflowError) as error:
        raise ValueError(f"encoder: damaged ({error})") from None
    check_made(made, "encoder")
    return made
