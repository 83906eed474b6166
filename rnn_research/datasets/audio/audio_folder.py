"""Recordings of one's own, each with a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rnn_research.checks import word
from rnn_research.datasets.audio.encoder import ENDINGS, AudioEncoder
from rnn_research.datasets.audio.log_mel import LogMel
from rnn_research.datasets.audio.spectrograms import spectrograms_of
from rnn_research.datasets.encoder import Encoder
from rnn_research.datasets.own.files import bytes_of
from rnn_research.datasets.own.listing import listed_files
from rnn_research.datasets.own.module import OwnData, RawSamples
from rnn_research.datasets.task import Task
from rnn_research.structures import Sample


class RecordedSound(OwnData):
    """Log-mel spectrograms of recordings: see `log_mel.LogMel`. A step is a window.

    Args:
        rate, bands, window, hop: see `LogMel`; recordings of another rate are resampled.
        arguments: as `OwnData`.
    """

    def __init__(
        self,
        path: str | None,
        rate: int = 16000,
        bands: int = 40,
        window: float = 0.025,
        hop: float = 0.01,
        **more: Any,
    ) -> None:
        super().__init__(path, **more)
        self.log_mel = LogMel(rate, bands, window, hop)

    def make_encoder(self, items: Sequence[Any], labels: Sequence[str], classes: tuple[str, ...]) -> Encoder:
        return AudioEncoder.fitted(self.log_mel, items, classes)

    def make_task(self, sets: Mapping[str, Sequence[Sample]], shared: Mapping[str, Any]) -> Task:
        return Task(input_size=int(np.shape(sets["train"][0].inputs)[1]), **shared)


class AudioFolder(RecordedSound):
    """Wav files in folders by class, or named by a manifest with the columns file, label and, where they are there,
    split and group.

    8- to 32-bit PCM and float, of any rate: resampled; several channels are mixed to one; both are said. Spectrograms
    are kept in the cache by the recordings' contents.

    Args:
        path: a folder, or a manifest.
        group_pattern: a regular expression whose first group, found in a file's path, names what no two splits may
            share, such as the speaker; None: by the manifest's group.
        rate, bands, window, hop: see `LogMel`.
        val_fraction, test_fraction, split_seed, class_weights: as `OwnData`.

    Raises:
        ValueError: as `OwnData`; names the file.
    """

    def __init__(
        self,
        path: str | None = None,
        group_pattern: str | None = None,
        rate: int = 16000,
        bands: int = 40,
        window: float = 0.025,
        hop: float = 0.01,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        class_weights: str = "none",
        batch_size: int = 32,
        num_workers: int = 0,
        bucket: bool = False,
    ) -> None:
        splits = {"val_fraction": val_fraction, "test_fraction": test_fraction, "split_seed": split_seed}
        batches = {"batch_size": batch_size, "num_workers": num_workers, "bucket": bucket}
        super().__init__(path, rate, bands, window, hop, class_weights=class_weights, **splits, **batches)
        self.group_pattern = word("group_pattern", group_pattern)

    def read(self) -> RawSamples:
        files = listed_files(self.located(), ENDINGS, "a recording a sample", None, self.group_pattern)
        contents = [bytes_of(one.path) for one in files]
        found = spectrograms_of([one.path for one in files], contents, self.log_mel)
        self.report.notes += found.notes(self.log_mel.rate)
        groups = [one.group for one in files if one.group is not None]
        given = [one.split for one in files]
        return RawSamples(
            found.features,
            [one.label for one in files],
            [(one.shape, one.tobytes()) for one in found.features],
            lambda number: ", line ".join(str(part) for part in files[number].where if part is not None),
            given if any(given) else None,
            groups if len(groups) == len(files) else None,
        )
