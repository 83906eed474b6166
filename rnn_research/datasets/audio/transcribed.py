"""Recordings with what is said in them: your own, and what such data share."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from rnn_research.checks import choice, flag, integer, word
from rnn_research.datasets.audio.encoder import ENDINGS, AudioEncoder
from rnn_research.datasets.audio.log_mel import LogMel
from rnn_research.datasets.audio.spectrograms import spectrograms_of
from rnn_research.datasets.audio.transcript_encoder import SCALES, TranscriptEncoder, relative_to_speech
from rnn_research.datasets.encoder import Encoder
from rnn_research.datasets.own.files import bytes_of
from rnn_research.datasets.own.listing import listed_files
from rnn_research.datasets.own.module import OwnData, RawSamples
from rnn_research.datasets.task import Task
from rnn_research.datasets.text.segments import Characters
from rnn_research.datasets.text.vocabulary import UNKNOWN, Vocabulary
from rnn_research.structures import Sample
from rnn_research.structures.layouts import least_steps


@dataclass(frozen=True, eq=False)
class TranscribedRecordings:
    """Spectrograms, (windows, bands) each, and what is said in them.

    Attributes:
        windows: one a recording.
        texts: what is said.
        where: the file of a recording, by its number.
        given: the split of each that its file says, "" for none; None: no file says any.
        groups: of each; no group is in two splits. None: there are none.
    """

    windows: Sequence[np.ndarray]
    texts: Sequence[str]
    where: Callable[[int], str]
    given: Sequence[str] | None = None
    groups: Sequence[Hashable] | None = None


class TranscribedSound(OwnData):
    """Log-mel spectrograms of recordings, and transcripts of them as characters: see `log_mel.LogMel`.

    Scale and characters are those of the training part alone; a character that it lacks is unknown, and counts as a
    mistake wherever it is said. Left out, and counted, are recordings without a transcript, those whose transcript
    needs more steps than they have, and duplicates.

    Args:
        path: a manifest, or a folder that has one.
        features: how spectrograms are made; recordings of another rate are resampled.
        windows_per_step: so many windows are read as one step.
        lower: transcripts in lower case.
        scale: `training`: each band to mean 0 and standard deviation 1 over the training part; `recording`: over each
            recording's own windows; `speech`: over the training part, of bands relative to the recording's own speech
            (see `relative_to_speech`).
        more: as `OwnData`.

    Raises:
        ValueError: an argument is out of range; on loading, data are missing or malformed: names the file.
    """

    LENGTHS_SAID = "dataset.hop, dataset.windows_per_step"

    def __init__(
        self,
        path: str | None,
        features: LogMel,
        windows_per_step: int,
        lower: bool = False,
        scale: str = "training",
        **more: Any,
    ) -> None:
        super().__init__(path, **more)
        self.log_mel = features
        self.windows_per_step = integer("windows_per_step", windows_per_step, most=1000)
        self.lower = flag("lower", lower)
        self.scale = choice("scale", scale, SCALES)

    @abstractmethod
    def recordings(self) -> TranscribedRecordings:
        """All recordings of the files."""

    def read(self) -> RawSamples:
        found, cut = self.recordings(), Characters(self.lower)
        kept: list[int] = []
        for index, (windows, text) in enumerate(zip(found.windows, found.texts, strict=True)):
            symbols = np.unique(cut.split(text), return_inverse=True)[1]
            if not len(symbols):
                self.report.drop("without a transcript")
            elif least_steps(symbols) > -(-len(windows) // self.windows_per_step):
                self.report.drop("with a transcript that needs more steps than there are")
            else:
                kept.append(index)
        return RawSamples(
            [(found.windows[index], found.texts[index]) for index in kept],
            None,
            [(found.windows[index].shape, found.windows[index].tobytes()) for index in kept],
            lambda number: found.where(kept[number]),
            None if found.given is None else [found.given[index] for index in kept],
            None if found.groups is None else [found.groups[index] for index in kept],
        )

    def make_encoder(self, items: Sequence[Any], labels: Sequence[str], classes: tuple[str, ...]) -> Encoder:
        cut = Characters(self.lower)
        characters = Vocabulary.counted(Counter(one for _, text in items for one in cut.split(text)))
        windows = [relative_to_speech(raw) if self.scale == "speech" else raw for raw, _ in items]
        sound = AudioEncoder.fitted(self.log_mel, windows, ())
        return TranscriptEncoder(sound, characters, self.windows_per_step, self.lower, self.scale)

    def encoded(self, items: Sequence[Any], targets: Sequence[int]) -> Sequence[Sample]:
        assert self._encoder is not None
        return [self._encoder.encode(windows, text) for windows, text in items]

    def make_task(self, sets: Mapping[str, Sequence[Sample]], shared: Mapping[str, Any]) -> Task:
        assert isinstance(self._encoder, TranscriptEncoder)
        characters = self._encoder.characters
        unknown = [f"{_unknown(sets[name]):.1%} of {name}" for name in ("val", "test")]
        self.report.notes.append(f"characters: {len(characters.tokens)} in train; unknown are {' and '.join(unknown)}")
        return Task("transcript", self._encoder.features, characters.size, monitor="character_error_rate")


def _unknown(samples: Sequence[Sample]) -> float:
    """The share of characters that the training part has not."""
    return float((np.concatenate([one.target_sequence for one in samples]) == UNKNOWN).mean())  # type: ignore[misc]


@final
class AudioTranscripts(TranscribedSound):
    """Wav files of one's own, named by a manifest with what is said in them.

    The manifest is CSV or TSV with a header, or JSONL, with the columns file, text and, where they are there, split and
    group (speaker): see `own.listing`. 8- to 32-bit PCM and float, of any rate and number of channels.

    Args:
        path: the manifest, or a folder with a manifest.csv, .tsv or .jsonl.
        group_pattern: a regular expression whose first group, found in a file's path, names what no two splits may
            share, such as the speaker; None: by the manifest's group.
        rate, bands, window, hop: see `LogMel`.
        windows_per_step, lower, scale: see `TranscribedSound`.
        val_fraction, test_fraction, split_seed: as `OwnData`.

    Raises:
        ValueError: as `TranscribedSound`.
    """

    def __init__(
        self,
        path: str | None = None,
        group_pattern: str | None = None,
        rate: int = 16000,
        bands: int = 40,
        window: float = 0.025,
        hop: float = 0.01,
        windows_per_step: int = 2,
        lower: bool = True,
        scale: str = "training",
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        batch_size: int = 32,
        num_workers: int = 0,
        bucket: bool = True,
    ) -> None:
        splits = {"val_fraction": val_fraction, "test_fraction": test_fraction, "split_seed": split_seed}
        batches = {"batch_size": batch_size, "num_workers": num_workers, "bucket": bucket}
        features = LogMel(rate, bands, window, hop)
        super().__init__(path, features, windows_per_step, lower, scale, **splits, **batches)
        self.group_pattern = word("group_pattern", group_pattern)

    def recordings(self) -> TranscribedRecordings:
        what = "a recording a sample, and a manifest that says what is said in it"
        files = listed_files(self.located(), ENDINGS, what, None, self.group_pattern, said="text")
        found = spectrograms_of([one.path for one in files], [bytes_of(one.path) for one in files], self.log_mel)
        self.report.notes += found.notes(self.log_mel.rate)
        groups = [one.group for one in files if one.group is not None]
        given = [one.split for one in files]
        return TranscribedRecordings(
            found.features,
            [one.label for one in files],
            lambda number: ", line ".join(str(part) for part in files[number].where if part is not None),
            given if any(given) else None,
            groups if len(groups) == len(files) else None,
        )
