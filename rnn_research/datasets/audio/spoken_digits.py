"""Spoken digits: which of ten digits is said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import final

from rnn_research.datasets.audio.audio_folder import RecordedSound
from rnn_research.datasets.audio.spectrograms import spectrograms_of
from rnn_research.datasets.known import KnownData, PublishedData
from rnn_research.datasets.own.module import RawSamples

RECORDING = re.compile(r"(\d)_([a-z]+)_(\d+)\.wav")
TESTED = 5  # the recordings 0 to 4 of each digit and speaker


@final
class SpokenDigits(KnownData, RecordedSound):
    """The Free Spoken Digit Dataset, version 1.0.10: 3,000 recordings at 8,000 samples a second, 50 of each digit by
    each of six people (Jackson et al., github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0).

    The published splits: the recordings 0 to 4 of each digit and speaker test, 300 in all; of the other 2,700
    `val_fraction` choose. `test_speakers` splits by speaker in their place.

    Args:
        root, cache: see `KnownData`; recordings are named DIGIT_SPEAKER_NUMBER.wav.
        test_speakers: who is tested, and never trained on; empty: the published splits.
        rate, bands, window, hop: see `LogMel`.
        val_fraction, split_seed: which recordings choose, each digit in proportion.

    Raises:
        ValueError: an argument is out of range; on loading, a file is missing, malformed or can't be downloaded.
    """

    LENGTHS_SAID = "dataset.hop"
    PUBLISHED = PublishedData(
        "free_spoken_digits",
        ("https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz",),
        lambda name: bool(RECORDING.fullmatch(name)),
        "a2e8a660492f28d9eed6270b290d26cbc5c81d6077ce87d3c0ad5adf4d4ee696",
        "recordings named DIGIT_SPEAKER_NUMBER.wav",
        "CC BY-SA 4.0",
        "Z. Jackson, C. Souza, J. Flaks, Y. Pan, H. Nicolas, A. Thite (2018). Free Spoken Digit Dataset, v1.0.8.",
    )

    def __init__(
        self,
        root: str | None = None,
        cache: str | None = None,
        test_speakers: Sequence[str] = (),
        rate: int = 8000,
        bands: int = 40,
        window: float = 0.025,
        hop: float = 0.01,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        batch_size: int = 32,
        num_workers: int = 0,
        bucket: bool = False,
    ) -> None:
        splits = {"val_fraction": val_fraction, "split_seed": split_seed}
        batches = {"batch_size": batch_size, "num_workers": num_workers, "bucket": bucket}
        super().__init__(root, cache, None, rate, bands, window, hop, **splits, **batches)
        self.test_speakers = speakers_named(test_speakers)

    def read(self) -> RawSamples:
        files = self.published_files()
        names = sorted(files, key=said_in)
        found = spectrograms_of([Path(name) for name in names], [files[name] for name in names], self.log_mel)
        self.report.notes += found.notes(self.log_mel.rate)
        said = [said_in(name) for name in names]
        tested = are_tested([(speaker, number) for _, speaker, number in said], self.test_speakers)
        if set(tested) != {True, False}:
            raise ValueError(f"root: {self.root} has no recording to {'train' if any(tested) else 'test'} on")
        return RawSamples(
            found.features,
            [digit for digit, _, _ in said],
            [(one.shape, one.tobytes()) for one in found.features],
            lambda number: names[number],
            ["test" if one else "train" for one in tested],
        )


def speakers_named(given: Sequence[str]) -> tuple[str, ...]:
    """The names of `test_speakers`. Raises a ValueError where it is no list of them."""
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
        raise ValueError(f"test_speakers: given {given!r}, expected a list of names, such as [theo]")
    return tuple(given)


def are_tested(recordings: Sequence[tuple[str, int]], test_speakers: Sequence[str]) -> list[bool]:
    """Whether each recording, a speaker's of a number, tests: those of `test_speakers`; without any, as published.

    Raises:
        ValueError: a speaker is unknown.
    """
    speakers = {speaker for speaker, _ in recordings}
    if unknown := sorted(set(test_speakers) - speakers):
        known = ", ".join(sorted(speakers))
        raise ValueError(f"test_speakers: given {', '.join(unknown)}, expected some of {known}")
    return [speaker in test_speakers if test_speakers else number < TESTED for speaker, number in recordings]


def said_in(name: str) -> tuple[str, str, int]:
    """The digit, the speaker and the number that a recording's name says."""
    found = RECORDING.fullmatch(name)
    assert found is not None  # `PUBLISHED.files` gives no other
    return found[1], found[2], int(found[3])
