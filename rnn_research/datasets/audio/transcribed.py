"""TranscribedRecordings with what is said in them: your own, and what such data share."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from rnn_research.checks import choice, flag, integer, number, path_of, word
from rnn_research.datasets.audio.encoder import ENDINGS, AudioEncoder
from rnn_research.datasets.audio.log_mel import LogMel
from rnn_research.datasets.audio.spectrograms import spectrograms_of
from rnn_research.datasets.audio.transcript_encoder import TranscriptEncoder
from rnn_research.datasets.base import DataModule
from rnn_research.datasets.encoder import Encoder
from rnn_research.datasets.own.files import bytes_of
from rnn_research.datasets.own.listing import listed_files
from rnn_research.datasets.own.report import ReadingReport
from rnn_research.datasets.own.splitting import split, without_duplicates
from rnn_research.datasets.task import Task
from rnn_research.datasets.text.segments import Characters
from rnn_research.datasets.text.vocabulary import UNKNOWN, Vocabulary
from rnn_research.structures import Sample
from rnn_research.structures.layouts import least_steps

log = logging.getLogger(__name__)
SCALES = ("training", "recording")


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


class TranscribedSound(DataModule):
    """Log-mel spectrograms of recordings, and transcripts of them as characters: see `log_mel.LogMel`.

    Scale and characters are those of the training part alone; a character that it lacks is unknown, and counts as a
    mistake wherever it is said. Left out, and counted, are recordings without a transcript, those whose transcript
    needs more steps than they have, and duplicates.

    Args:
        rate, bands, window, hop: see `LogMel`; recordings of another rate are resampled.
        windows_per_step: so many windows are read as one step.
        lower: transcripts in lower case.
        scale: `training`: each band to mean 0 and standard deviation 1 over the training part; `recording`: over each
            recording's own windows.
        val_fraction, test_fraction: the share that is drawn for each, where the files say no splits.
        split_seed: which recordings are drawn.

    Raises:
        ValueError: an argument is out of range; on loading, data are missing or malformed: names the file.
    """

    LENGTHS_SAID = "dataset.hop, dataset.windows_per_step"

    def __init__(
        self,
        features: LogMel,
        windows_per_step: int,
        lower: bool = False,
        scale: str = "training",
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        **batches: Any,
    ) -> None:
        super().__init__(**batches)
        self.log_mel = features
        self.windows_per_step = integer("windows_per_step", windows_per_step, most=1000)
        self.lower = flag("lower", lower)
        self.scale = choice("scale", scale, SCALES)
        self.val_fraction = number("val_fraction", val_fraction, above=0.0, most=0.9)
        self.test_fraction = number("test_fraction", test_fraction, above=0.0, most=0.9)
        self.split_seed = integer("split_seed", split_seed, least=0)
        self.report = ReadingReport()
        self._encoder: TranscriptEncoder | None = None

    @abstractmethod
    def read(self) -> TranscribedRecordings:
        """All recordings."""

    @property
    def encoder(self) -> Encoder | None:
        self._load()
        return self._encoder

    @property
    def read_report(self) -> dict[str, Any]:
        self._load()
        return self.report.plain()

    def load(self) -> tuple[Task, Mapping[str, Sequence[Sample]]]:
        self.report = ReadingReport()
        raw = self.read()
        parts = self._parts(raw)
        train = parts["train"]
        cut = Characters(self.lower)
        characters = Vocabulary.counted(Counter(one for index in train for one in cut.split(raw.texts[index])))
        sound = AudioEncoder.fitted(self.log_mel, [raw.windows[index] for index in train], ())
        own = self.scale == "recording"
        self._encoder = encoder = TranscriptEncoder(sound, characters, self.windows_per_step, self.lower, own)
        sets = {name: [encoder.encode(raw.windows[i], raw.texts[i]) for i in part] for name, part in parts.items()}
        self.report.count(sets)
        unknown = {name: _unknown(samples) for name, samples in sets.items() if name != "train"}
        self.report.notes.append(
            f"characters: {len(characters.tokens)} in train; unknown are "
            + " and ".join(f"{share:.1%} of {name}" for name, share in unknown.items())
        )
        for line in self.report.lines():
            log.info("dataset: %s", line)
        return Task("transcript", encoder.features, characters.size, monitor="character_error_rate"), sets

    def _parts(self, raw: TranscribedRecordings) -> dict[str, list[int]]:
        """The recordings of each split, by number."""
        cut = Characters(self.lower)
        kept: list[int] = []
        for index, (windows, text) in enumerate(zip(raw.windows, raw.texts, strict=True)):
            symbols = np.unique(cut.split(text), return_inverse=True)[1]
            if not len(symbols):
                self.report.drop("without a transcript")
            elif least_steps(symbols) > -(-len(windows) // self.windows_per_step):
                self.report.drop("with a transcript that needs more steps than there are")
            else:
                kept.append(index)
        if not kept:
            raise ValueError("path: found no recording with a transcript, expected at least three; give more data")
        keys = [(raw.windows[index].shape, raw.windows[index].tobytes()) for index in kept]
        said = None if raw.given is None else [raw.given[index] for index in kept]
        stay, dropped = without_duplicates(keys, said)
        for reason, count in dropped.items():
            self.report.drop(reason, count)
        kept = [kept[one] for one in stay.tolist()]
        try:
            found = split(
                len(kept),
                groups=None if raw.groups is None else [raw.groups[index] for index in kept],
                given=None if raw.given is None else [raw.given[index] for index in kept],
                val_fraction=self.val_fraction,
                test_fraction=self.test_fraction,
                seed=self.split_seed,
            )
        except ValueError as error:
            raise ValueError(f"path: {error}") from None
        return {name: [kept[one] for one in part.tolist()] for name, part in found.items()}


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
        windows_per_step, lower, scale, val_fraction, test_fraction, split_seed: see `TranscribedSound`.

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
        batches = {"batch_size": batch_size, "num_workers": num_workers, "bucket": bucket}
        features, drawn = LogMel(rate, bands, window, hop), (val_fraction, test_fraction, split_seed)
        super().__init__(features, windows_per_step, lower, scale, *drawn, **batches)
        self.path = None if path is None else path_of("path", path)
        self.group_pattern = word("group_pattern", group_pattern)

    def read(self) -> TranscribedRecordings:
        if self.path is None:
            raise ValueError("path: given none, expected a manifest or a folder that has one; set dataset.path=...")
        what = "a recording a sample, and a manifest that says what is said in it"
        files = listed_files(self.path, ENDINGS, what, None, self.group_pattern, said="text")
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
