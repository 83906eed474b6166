"""Spoken numbers: several digits, one after another, that are to be written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path
from typing import final

import numpy as np
from scipy.signal import resample

from rnn_research.checks import integer, number
from rnn_research.datasets.audio.log_mel import LogMel
from rnn_research.datasets.audio.spoken_digits import TESTED, SpokenDigits, are_tested, said_in, speakers_named
from rnn_research.datasets.audio.transcribed import TranscribedRecordings, TranscribedSound
from rnn_research.datasets.audio.wav import mono_at, wav_samples
from rnn_research.datasets.known import KnownData
from rnn_research.datasets.own.kept import digest_of_contents, kept
from rnn_research.datasets.task import SPLITS

NOISE = 1e-3
"""The standard deviation of the white noise under each number, of sounds in [-1, 1]."""


@dataclass(frozen=True)
class Said:
    """A recording of one digit."""

    name: str
    digit: str
    speaker: str
    number: int


@final
class SpokenNumbers(KnownData, TranscribedSound):
    """Connected digits made of the recordings of `spoken_digits`: one person says each number, digit by digit with
    pauses of random length between, over faint noise.

    No recording is in two splits: the numbers of test are made of the recordings 0 to 4 of each digit and speaker, as
    they are published, those of val of 5 to 9, those of train of the others. `test_speakers` are heard in test alone,
    in place of the recordings 0 to 4.

    Args:
        root, cache: see `KnownData`; recordings are named DIGIT_SPEAKER_NUMBER.wav.
        test_speakers: who is tested, and never trained on; empty: all six, by other recordings.
        train_size, val_size, test_size: numbers of each split.
        min_digits, max_digits: of a number, each length as often.
        pause: the most seconds between two digits, before the first and after the last; drawn evenly from 0.
        speed: numbers of train are said faster or slower, and so with a higher or a lower voice, by up to this share;
            drawn evenly.
        tempo: numbers of train are said faster or slower with the same voice, by up to this share: the hop is drawn
            evenly.
        warp: numbers of train are said by shorter and longer vocal tracts, by up to this share: see `log_mel.warped`;
            drawn evenly.
        level: the root mean square that each number is brought to, before the noise; null: as loud as recorded.
        numbers_seed: which numbers are made; the run's own seed never changes the data.
        rate, bands, window, hop: see `LogMel`.
        windows_per_step, scale: see `TranscribedSound`.

    Raises:
        ValueError: an argument is out of range; on loading, a file is missing, malformed or can't be downloaded.
    """

    PUBLISHED = SpokenDigits.PUBLISHED

    def __init__(
        self,
        root: str | None = None,
        cache: str | None = None,
        test_speakers: Sequence[str] = (),
        train_size: int = 3000,
        val_size: int = 300,
        test_size: int = 500,
        min_digits: int = 3,
        max_digits: int = 7,
        pause: float = 0.2,
        speed: float = 0.0,
        tempo: float = 0.0,
        warp: float = 0.0,
        level: float | None = None,
        numbers_seed: int = 0,
        rate: int = 8000,
        bands: int = 40,
        window: float = 0.025,
        hop: float = 0.01,
        windows_per_step: int = 3,
        scale: str = "training",
        batch_size: int = 32,
        num_workers: int = 0,
        bucket: bool = True,
    ) -> None:
        batches = {"batch_size": batch_size, "num_workers": num_workers, "bucket": bucket}
        features = LogMel(rate, bands, window, hop)
        super().__init__(root, cache, None, features, windows_per_step, scale=scale, **batches)
        self.test_speakers = speakers_named(test_speakers)
        sizes = {"train_size": train_size, "val_size": val_size, "test_size": test_size}
        self.sizes = {name.removesuffix("_size"): integer(name, size) for name, size in sizes.items()}
        self.min_digits = integer("min_digits", min_digits)
        self.max_digits = integer("max_digits", max_digits, least=min_digits, most=1000)
        self.pause = number("pause", pause, least=0.0, most=10.0)
        self.speed = number("speed", speed, least=0.0, most=0.5)
        self.tempo = number("tempo", tempo, least=0.0, most=0.5)
        self.warp = number("warp", warp, least=0.0, most=0.5)
        self.level = None if level is None else number("level", level, above=0.0, most=1.0)
        self.numbers_seed = integer("numbers_seed", numbers_seed, least=0)

    def recordings(self) -> TranscribedRecordings:
        files = self.published_files()
        options = {"pause": self.pause, "noise": NOISE, **self.log_mel.plain()}
        options |= {"sizes": self.sizes, "digits": [self.min_digits, self.max_digits], "seed": self.numbers_seed}
        options |= {"test_speakers": list(self.test_speakers), "speed": self.speed}
        options |= {"tempo": self.tempo, "warp": self.warp, "level": self.level}
        names = sorted(files)
        parts = self._recordings([Said(name, *said_in(name)) for name in names])
        drawn = {split: self._numbers(parts[split], split) for split in SPLITS}
        made = kept(
            "spoken_numbers",
            digest_of_contents([files[name] for name in names], options),
            lambda: self._sounds(drawn, {name: files[name] for name in names}),
        )
        windows = np.split(made["windows"], np.cumsum(made["steps"])[:-1])
        numbers = [one for split in SPLITS for one in drawn[split]]
        given = [split for split in SPLITS for _ in drawn[split]]
        texts = ["".join(said.digit for said in one) for one in numbers]
        return TranscribedRecordings(
            windows, texts, lambda index: " ".join(said.name for said in numbers[index]), given
        )

    def _recordings(self, found: Sequence[Said]) -> dict[str, list[Said]]:
        """What the numbers of each split are made of."""
        parts: dict[str, list[Said]] = {name: [] for name in SPLITS}
        tests = are_tested([(one.speaker, one.number) for one in found], self.test_speakers)
        for one, tested in zip(found, tests, strict=True):
            choosing = TESTED <= one.number < 2 * TESTED
            parts["test" if tested else "val" if choosing else "train"].append(one)
        if empty := [name for name, some in parts.items() if not some]:
            raise ValueError(f"root: {self.root} has no recording for {' and '.join(empty)}")
        return parts

    def _numbers(self, found: Sequence[Said], split: str) -> list[list[Said]]:
        """The recordings of which each number is put together."""
        random = np.random.default_rng([self.numbers_seed, SPLITS.index(split)])
        by_speaker: dict[str, dict[str, list[Said]]] = {}
        for one in found:
            by_speaker.setdefault(one.speaker, {}).setdefault(one.digit, []).append(one)
        speakers, numbers = sorted(by_speaker), []
        for _ in range(self.sizes[split]):
            of_speaker = by_speaker[speakers[random.integers(len(speakers))]]
            digits = sorted(of_speaker)
            said = []
            for _ in range(random.integers(self.min_digits, self.max_digits + 1)):
                some = of_speaker[digits[random.integers(len(digits))]]
                said.append(some[random.integers(len(some))])
            numbers.append(said)
        return numbers

    def _sounds(self, drawn: dict[str, list[list[Said]]], files: dict[str, bytes]) -> dict[str, np.ndarray]:
        """The spectrograms of all numbers."""
        rate = self.log_mel.rate
        sounds = {name: mono_at(*wav_samples(Path(name), content), rate) for name, content in files.items()}
        random, made = np.random.default_rng(self.numbers_seed), []
        for split, said in chain.from_iterable(zip(repeat(name), drawn[name]) for name in SPLITS):
            parts = [self._silence(random)]
            for one in said:
                parts += [sounds[one.name], self._silence(random)]
            sound = np.concatenate(parts)
            made.append(self._varied(sound, random) if split == "train" else self._heard(sound, random))
        return {"windows": np.concatenate(made), "steps": np.array([len(one) for one in made])}

    def _varied(self, sound: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The spectrogram of a number as someone else might say it."""
        if self.speed:
            sound = np.asarray(resample(sound, round(len(sound) * _share(self.speed, random))))
        rate, hop = self.log_mel.rate, self.log_mel.hop
        if self.tempo:
            hop = max(1, round(hop * rate * _share(self.tempo, random))) / rate
        return self._heard(sound, random, replace(self.log_mel, hop=hop), _share(self.warp, random))

    def _heard(
        self, sound: np.ndarray, random: np.random.Generator, features: LogMel | None = None, warp: float = 1.0
    ) -> np.ndarray:
        """The spectrogram of a number, at `level` and with noise."""
        if self.level is not None:
            sound = sound * (self.level / max(float(np.sqrt(np.mean(sound**2))), 1e-12))
        return (features or self.log_mel).of(sound + NOISE * random.standard_normal(len(sound)), warp)

    def _silence(self, random: np.random.Generator) -> np.ndarray:
        return np.zeros(round(self.log_mel.rate * self.pause * random.random()))


def _share(most: float, random: np.random.Generator) -> float:
    """1, more or less by up to this share; nothing is drawn for 0."""
    return random.uniform(1 - most, 1 + most) if most else 1.0
