"""From recordings to samples: log-mel spectrograms on the scale of the training part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from rnn_research.datasets.audio.log_mel import LogMel
from rnn_research.datasets.audio.spectrograms import spectrograms_of
from rnn_research.datasets.encoder import Encoder, Item
from rnn_research.datasets.own.files import bytes_of, files_at
from rnn_research.datasets.own.listing import listed_files, manifest_at
from rnn_research.datasets.series.encoder import SeriesEncoder
from rnn_research.structures import Sample

ENDINGS = (".wav", ".wave")


@dataclass(frozen=True, eq=False)
class AudioEncoder(Encoder):
    """Each band to mean 0 and standard deviation 1 over the steps of the training part.

    What it encodes is a spectrogram, (steps, bands).

    Attributes:
        features: how a spectrogram is made.
        scale: of the training part.
    """

    kind: ClassVar[str] = "audio"

    features: LogMel
    scale: SeriesEncoder

    @classmethod
    def fitted(cls, features: LogMel, items: Sequence[np.ndarray], classes: tuple[str, ...]) -> Self:
        """The encoder whose scale is that of these spectrograms."""
        return cls(features, SeriesEncoder.fitted(items, "standard", classes=classes))

    def plain(self) -> dict[str, Any]:
        return {"features": self.features.plain(), "scale": self.scale.plain()}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        try:
            features = LogMel(**plain["features"])
            return cls(features, SeriesEncoder.of(plain["scale"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"encoder: given one of sound that is damaged ({error})") from None

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, in order."""
        return self.scale.classes

    def encode(self, raw: Any, target: Any = 0) -> Sample:
        return self.scale.encode(raw, target)

    def items(self, path: Path) -> Iterator[Item]:
        """Each recording; its label by the folder or the manifest, or as its name begins with one and `_`."""
        for place, file, label in self._listed(path):
            (features,) = spectrograms_of([file], [bytes_of(file)], self.features).features
            yield Item(place, features, label)

    def _listed(self, path: Path) -> Iterator[tuple[str, Path, str | None]]:
        if manifest_at(path, ENDINGS) is not None:
            for one in listed_files(path, ENDINGS, "a recording a sample"):
                yield str(one.path), one.path, one.label
            return
        for file in files_at(path, ENDINGS, "wav files"):
            said = (file.parent.name, file.name.partition("_")[0])
            yield str(file), file, next((label for label in said if label in self.classes), None)
