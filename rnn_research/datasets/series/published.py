"""What published series share: files by `root` or by download, and splits that their authors gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from rnn_research.checks import choice, path_of
from rnn_research.datasets.encoder import Encoder
from rnn_research.datasets.known import PublishedData
from rnn_research.datasets.own.module import OwnData
from rnn_research.datasets.series.encoder import SCALES, SeriesEncoder
from rnn_research.datasets.task import Task
from rnn_research.structures import Sample


class PublishedSeries(OwnData):
    """Series of a data set that is known.

    Args:
        root: a folder with the published files, or with the archive of them; None: they are downloaded once.
        cache: the folder that keeps what is downloaded; None: $RNN_RESEARCH_CACHE, or `rnn_research` in
            $XDG_CACHE_HOME, or in ~/.cache.
        scale: `standard`, or `none`: the numbers as they are.
        arguments: as `OwnData`.
    """

    LENGTHS_SAID = "dataset.root"
    PUBLISHED: ClassVar[PublishedData]

    def __init__(self, root: str | None = None, cache: str | None = None, scale: str = "standard", **arguments: Any):
        super().__init__(None, **arguments)
        self.root = None if root is None else path_of("root", root)
        self.cache, self.scale = cache, choice("scale", scale, SCALES)
        self.path = self.root

    def files(self) -> Mapping[str, bytes]:
        """The published files, by name."""
        return self.PUBLISHED.files(self.root, self.cache)

    def make_encoder(self, items: Sequence[Any], labels: Sequence[str], classes: tuple[str, ...]) -> Encoder:
        return SeriesEncoder.fitted(items, self.scale, classes=classes)

    def make_task(self, sets: Mapping[str, Sequence[Sample]], shared: Mapping[str, Any]) -> Task:
        return Task(input_size=int(np.shape(sets["train"][0].inputs)[1]), **shared)
