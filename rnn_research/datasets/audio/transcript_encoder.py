"""From recordings with what is said in them to samples, and from symbols to text again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from scipy.ndimage import uniform_filter1d

from rnn_research.checks import choice, integer
from rnn_research.datasets.audio.encoder import ENDINGS, AudioEncoder
from rnn_research.datasets.audio.spectrograms import spectrograms_of
from rnn_research.datasets.encoder import Encoder, Item
from rnn_research.datasets.own.files import bytes_of, files_at
from rnn_research.datasets.own.listing import listed_files, manifest_at
from rnn_research.datasets.text.segments import Characters
from rnn_research.datasets.text.vocabulary import Vocabulary
from rnn_research.structures import Sample

SCALES = ("training", "recording", "speech")
SPOKEN, FLOOR = 0.4, -6.0


def relative_to_speech(windows: np.ndarray) -> np.ndarray:
    """A spectrogram less the mean of each band over the windows with speech, and at least `FLOOR`.

    Speech is where a window and two on either side have a mean log-energy of at least min + `SPOKEN` (P98 - min), P98
    the 98th percentile. Cepstral mean normalisation (Atal 1974) over speech alone: a recording's loudness, its
    microphone and the length and noise of its pauses are taken out.
    """
    energy = uniform_filter1d(windows.mean(1, dtype=np.float64), 5, mode="nearest")
    least = energy.min()
    speech = energy >= least + SPOKEN * (np.percentile(energy, 98) - least)
    return np.maximum(windows - windows[speech].mean(0), np.float32(FLOOR))


@dataclass(frozen=True, eq=False)
class TranscriptEncoder(Encoder):
    """Spectrograms on the scale of the training part, several windows a step; transcripts as characters.

    Class k is the character of number k of the vocabulary; class 0, where no character is, is the blank.

    Attributes:
        sound: makes spectrograms.
        characters: those of the training part.
        windows_per_step: so many windows, one after the other, are read as one step of as many times the features: a
            sequence is as many times shorter. What is missing of the last step is 0, the mean.
        lower: whether transcripts are in lower case.
        scale: `training`: of the training part. `recording`: each recording's bands have mean 0 and standard deviation
            1 over its own windows: what a voice and a microphone do to all of it is taken out. `speech`: bands are
            `relative_to_speech`, and of those on the scale of the training part: so is it here, and it does not matter
            how long the pauses are.
    """

    kind: ClassVar[str] = "transcripts"

    sound: AudioEncoder
    characters: Vocabulary
    windows_per_step: int = 1
    lower: bool = False
    scale: str = "training"

    def plain(self) -> dict[str, Any]:
        return {
            "sound": self.sound.plain(),
            "characters": self.characters.plain(),
            "windows_per_step": self.windows_per_step,
            "lower": self.lower,
            "scale": self.scale,
        }

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        try:
            sound, characters = AudioEncoder.of(plain["sound"]), Vocabulary.of(plain["characters"])
            windows, lower = integer("windows_per_step", plain["windows_per_step"]), bool(plain["lower"])
            if "scale" not in plain:  # written before there were three
                return cls(sound, characters, windows, lower, SCALES[bool(plain["by_recording"])])
            return cls(sound, characters, windows, lower, choice("scale", plain["scale"], SCALES))
        except (KeyError, TypeError) as error:
            raise ValueError(f"encoder: given one of transcripts without {error}") from None

    @property
    def features(self) -> int:
        """The numbers of a step."""
        return self.windows_per_step * self.sound.features.bands

    def encode(self, raw: Any, target: Any = "") -> Sample:
        """The sample of a spectrogram, (windows, bands), and of its transcript where that is known."""
        windows = self.sound.encode(relative_to_speech(raw) if self.scale == "speech" else raw).inputs
        if self.scale == "recording":
            windows = (windows - windows.mean(0)) / np.maximum(windows.std(0), 1e-3)
        missing = -len(windows) % self.windows_per_step
        filled = np.concatenate([windows, np.zeros((missing, windows.shape[1]), windows.dtype)])
        written = self.split(target) if isinstance(target, str) else []
        steps = filled.reshape(-1, self.features)
        return Sample(steps, 0, target_sequence=self.characters.encode(written))

    def split(self, text: str) -> list[str]:
        """The characters of a transcript: white space is one space."""
        return Characters(self.lower).split(text)

    def normal(self, text: str) -> str:
        """A transcript as it is learnt."""
        return "".join(self.split(text))

    def decode(self, symbols: Iterable[int] | np.ndarray) -> str:
        """The text of what was found; a class without a character is left out."""
        return "".join(one for symbol in symbols if (one := self.characters.token(int(symbol))) is not None)

    def items(self, path: Path) -> Iterator[Item]:
        """Each recording, and its transcript where a manifest has it."""
        if manifest_at(path, ENDINGS) is not None:
            for one in listed_files(path, ENDINGS, "a recording a sample", said="text"):
                yield self._item(one.path, one.label)
            return
        for file in files_at(path, ENDINGS, "wav files"):
            yield self._item(file, None)

    def _item(self, file: Path, said: str | None) -> Item:
        (windows,) = spectrograms_of([file], [bytes_of(file)], self.sound.features).features
        return Item(str(file), windows, said)
