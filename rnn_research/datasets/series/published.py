"""What published series share: files by `root` or by download, and splits that their authors gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rnn_research.checks import choice
from rnn_research.datasets.encoder import Encoder
from rnn_research.datasets.known import KnownData
from rnn_research.datasets.own.module import OwnData
from rnn_research.datasets.series.encoder import SCALES, SeriesEncoder
from rnn_research.datasets.task import Task
from rnn_research.structures import Sample


class PublishedSeries(KnownData, OwnData):
    """Series of a data set that is known.

    Args:
        root, cache: see `KnownData`.
        scale: `standard`, or `none`: the numbers as they are.
        arguments: as `OwnData`.
    """

    LENGTHS_SAID = "dataset.root"

    def __init__(self, root: str | None = None, cache: str | None = None, scale: str = "standard", **arguments: Any):
        super().__init__(root, cache, **arguments)
        self.scale = choice("scale", scale, SCALES)

    def make_encoder(self, items: Sequence[Any], labels: Sequence[str], classes: tuple[str, ...]) -> Encoder:
        return SeriesEncoder.fitted(items, self.scale, classes=classes)

    def make_task(self, sets: Mapping[str, Sequence[Sample]], shared: Mapping[str, Any]) -> Task:
        return Task(input_size=int(np.shape(sets["train"][0].inputs)[1]), **shared)
