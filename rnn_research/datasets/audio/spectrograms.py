"""The spectrograms of many recordings, kept on disk by their contents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rnn_research.datasets.audio.log_mel import LogMel
from rnn_research.datasets.audio.wav import mono_at, wav_samples
from rnn_research.datasets.own.kept import digest_of_contents, kept


@dataclass(eq=False)
class Spectrograms:
    """One a recording, (steps, bands) float32 each; how many recordings have each rate, and each number of channels."""

    features: list[np.ndarray]
    rates: Counter[int] = field(default_factory=Counter)
    channels: Counter[int] = field(default_factory=Counter)

    def notes(self, wanted: int) -> list[str]:
        """What was done with recordings of another rate or of several channels."""
        said = [
            f"{count} recordings were resampled from {rate} to {wanted} samples a second"
            for rate, count in sorted(self.rates.items())
            if rate != wanted
        ]
        mixed = sum(count for channels, count in self.channels.items() if channels > 1)
        return [*said, f"{mixed} recordings of several channels were mixed to one"] if mixed else said


def spectrograms_of(paths: Sequence[Path], contents: Sequence[bytes], features: LogMel) -> Spectrograms:
    """The spectrograms of wav files.

    Raises:
        ValueError: one can't be read; names it.
    """
    digest = digest_of_contents(contents, features.plain())
    held = kept("spectrograms", digest, lambda: _made(paths, contents, features))
    ends = np.cumsum(held["steps"])[:-1]
    rates, channels = (Counter(held[name].tolist()) for name in ("rates", "channels"))
    return Spectrograms(np.split(held["features"], ends), rates, channels)


def _made(paths: Sequence[Path], contents: Sequence[bytes], features: LogMel) -> dict[str, np.ndarray]:
    made, rates, channels = [], [], []
    for path, content in zip(paths, contents, strict=True):
        rate, sound = wav_samples(path, content)
        made.append(features.of(mono_at(rate, sound, features.rate)))
        rates.append(rate)
        channels.append(sound.shape[1])
    return {
        "features": np.concatenate(made),
        "steps": np.array([len(one) for one in made]),
        "rates": np.array(rates),
        "channels": np.array(channels),
    }
