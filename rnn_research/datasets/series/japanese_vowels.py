"""Japanese vowels: who speaks, from 12 coefficients of speech a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from rnn_research.datasets.encoder import Encoder
from rnn_research.datasets.known import PublishedData
from rnn_research.datasets.own.module import RawSamples
from rnn_research.datasets.series.encoder import SeriesEncoder
from rnn_research.datasets.series.gaps import first_gap
from rnn_research.datasets.series.published import PublishedSeries
from rnn_research.datasets.series.ts_files import cases_of

COLUMNS = 12
FILES = {"JapaneseVowels_TRAIN.ts": "train", "JapaneseVowels_TEST.ts": "test"}


@final
class JapaneseVowels(PublishedSeries):
    """Nine speakers say two vowels: Kudo, Toyama and Shimbo 1999, "Multidimensional curve classification using passing-
    through regions", Pattern Recognition Letters 20. The files are those of the UEA archive (Bagnall et al. 2018).

    Published splits: 270 to train, of which `val_fraction` choose, and 370 to test; 12 coefficients of linear
    prediction, 7 to 29 steps.

    Args:
        root, cache, scale: see `PublishedSeries`.
        val_fraction, split_seed: which samples of the training part choose, each speaker in proportion.

    Raises:
        ValueError: an argument is out of range; on loading, a file is missing, malformed or can't be downloaded.
    """

    PUBLISHED = PublishedData(
        "japanese_vowels",
        ("https://www.timeseriesclassification.com/aeon-toolkit/JapaneseVowels.zip",),
        lambda name: name in FILES,
        "7dfe2fdc4afbde8b6d0f43a424daa1e2af401875a1dc7e5a5231d7c43e75596e",
        "JapaneseVowels_TRAIN.ts and JapaneseVowels_TEST.ts",
        "CC BY 4.0",
        "M. Kudo, J. Toyama, M. Shimbo (1999). Multidimensional curve classification using passing-through regions. "
        "doi.org/10.24432/C5NS47",
    )

    def __init__(
        self,
        root: str | None = None,
        cache: str | None = None,
        scale: str = "standard",
        val_fraction: float = 0.1,
        split_seed: int = 0,
        batch_size: int = 32,
        num_workers: int = 0,
        bucket: bool = False,
    ) -> None:
        batches = {"batch_size": batch_size, "num_workers": num_workers, "bucket": bucket}
        super().__init__(root, cache, scale, val_fraction=val_fraction, split_seed=split_seed, **batches)

    def read(self) -> RawSamples:
        files = self.published_files(FILES)
        found = [
            (_checked(values, f"{name}, line {line}"), label, split, f"{name}, line {line}")
            for name, split in FILES.items()
            for line, values, label in cases_of(Path(name), files[name])
        ]
        keys = [(values.shape, values.tobytes()) for values, *_ in found]
        labels, given = [label for _, label, _, _ in found], [split for _, _, split, _ in found]
        return RawSamples([one[0] for one in found], labels, keys, lambda number: found[number][3], given)

    def make_encoder(self, items: Sequence[Any], labels: Sequence[str], classes: tuple[str, ...]) -> Encoder:
        reading: Mapping[str, Any] = {"format": "ts"}
        return SeriesEncoder.fitted(items, self.scale, classes=classes, reading=reading)


def _checked(values: np.ndarray, where: str) -> np.ndarray:
    if values.shape[1] != COLUMNS:
        raise ValueError(f"root: {where}: found {values.shape[1]} dimensions, expected {COLUMNS}; fetch it again")
    if gap := first_gap(values):
        raise ValueError(f"root: {where}: found {values[gap]} at step {gap[0]}, dimension {gap[1]}, expected a number")
    return values
