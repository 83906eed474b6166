"""Published collections of labelled texts: TREC's questions, and the SMS Spam Collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, final

from rnn_research.datasets.known import KnownData, PublishedData
from rnn_research.datasets.task import Task
from rnn_research.datasets.text.labelled import TextData
from rnn_research.datasets.text.rows import TextReading
from rnn_research.structures import Sample


class PublishedTexts(KnownData, TextData):
    """Texts of a data set that is known."""

    PARTS: ClassVar[Mapping[str, str]]
    """The files by name, each with its split, "" where it is none."""

    def files(self) -> Sequence[tuple[Path, str, bytes | None]]:
        found = self.published_files(self.PARTS)
        return [((self.root or Path()) / name, part, found[name]) for name, part in self.PARTS.items()]


@final
class Trec(PublishedTexts):
    """Questions by what they ask for: Li and Roth 2002, "Learning question classifiers", COLING.

    5,452 questions train, of which `val_fraction` choose, and the official 500 test. 6 classes (abbreviation,
    description, entity, human, location, number), or 50 finer ones of which some are in one part alone. Of the training
    questions those equal to a test question, and all but one of equal ones, are dropped. The published text is split
    into tokens by spaces. No licence is stated.

    Args:
        root, cache: see `KnownData`; the files are in ISO-8859-1, a question a line, as in `NUM:date When was
            it ?`, and may be called TREC.train and TREC.test.
        classes: 6 or 50.
        tokens, lower, min_count, vocabulary_size, max_length, vectors, freeze_vectors: see `TextData`.
        val_fraction, split_seed, class_weights: see `OwnData`.

    Raises:
        ValueError: an argument is out of range; on loading, a file is missing, malformed (says which line) or can't be
            downloaded.
    """

    PARTS: ClassVar[Mapping[str, str]] = {"train_5500.label": "train", "TREC_10.label": "test"}
    PUBLISHED = PublishedData(
        "trec",
        (
            "https://cogcomp.seas.upenn.edu/Data/QA/QC/train_5500.label",
            "https://cogcomp.seas.upenn.edu/Data/QA/QC/TREC_10.label",
        ),
        lambda name: name in ("train_5500.label", "TREC_10.label"),
        "55c93caf1d3940f795db7a0d23d30a8de69c659ef3ddd00844f62129007c9bb2",
        "train_5500.label and TREC_10.label",
        "no licence is stated",
        "X. Li, D. Roth (2002). Learning question classifiers. COLING.",
        called={"TREC.train": "train_5500.label", "TREC.test": "TREC_10.label"},
    )

    def __init__(
        self,
        root: str | None = None,
        cache: str | None = None,
        classes: int = 6,
        tokens: str = "spaces",
        lower: bool = True,
        min_count: int = 2,
        vocabulary_size: int | None = None,
        max_length: int | None = None,
        vectors: str | None = None,
        freeze_vectors: bool = False,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        class_weights: str = "none",
        batch_size: int = 32,
        num_workers: int = 0,
        bucket: bool = True,
    ) -> None:
        own = {"val_fraction": val_fraction, "split_seed": split_seed, "class_weights": class_weights}
        batches = {"batch_size": batch_size, "num_workers": num_workers, "bucket": bucket}
        texts = (tokens, lower, min_count, vocabulary_size, max_length, vectors, freeze_vectors)
        super().__init__(root, cache, *texts, **own, **batches)
        if classes not in (6, 50):
            raise ValueError(f"classes: given {classes}, expected 6 or 50")
        self.classes = classes

    def reading(self) -> TextReading:
        return TextReading("trec", labels="coarse" if self.classes == 6 else "fine")


@final
class SmsSpam(PublishedTexts):
    """Text messages, spam or not (ham): Almeida, Gómez Hidalgo and Yamakami 2011, "Contributions to the study of SMS
    spam filtering: new collection and results", DocEng. UCI Machine Learning Repository, doi.org/10.24432/C5CC84, CC BY
    4.0.

    5,574 messages. Of equal ones the first stays, and then splits are drawn, each class in proportion: none is
    published. An eighth is spam, so `macro_f1` says more than the accuracy, and it is what chooses.

    Args:
        root, cache: see `KnownData`.
        tokens, lower, min_count, vocabulary_size, max_length, vectors, freeze_vectors: see `TextData`.
        val_fraction, test_fraction, split_seed, class_weights: see `OwnData`.

    Raises:
        ValueError: an argument is out of range; on loading, the file is missing, malformed (says which line) or can't
            be downloaded.
    """

    PARTS: ClassVar[Mapping[str, str]] = {"SMSSpamCollection": ""}
    PUBLISHED = PublishedData(
        "sms_spam",
        ("https://archive.ics.uci.edu/ml/machine-learning-databases/00228/smsspamcollection.zip",),
        lambda name: name == "SMSSpamCollection",
        "88b0c647d702b64ca2b1f274c37bbe2f4164fb2073c6699c952517a9412e18c9",
        "SMSSpamCollection",
        "CC BY 4.0",
        "T. A. Almeida, J. M. Gómez Hidalgo, A. Yamakami (2011). Contributions to the study of SMS spam filtering: new "
        "collection and results. DocEng. doi.org/10.24432/C5CC84",
    )

    def __init__(
        self,
        root: str | None = None,
        cache: str | None = None,
        tokens: str = "words",
        lower: bool = True,
        min_count: int = 2,
        vocabulary_size: int | None = None,
        max_length: int | None = 100,
        vectors: str | None = None,
        freeze_vectors: bool = False,
        val_fraction: float = 0.1,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        class_weights: str = "none",
        batch_size: int = 32,
        num_workers: int = 0,
        bucket: bool = True,
    ) -> None:
        own = {"val_fraction": val_fraction, "test_fraction": test_fraction, "split_seed": split_seed}
        batches = {"batch_size": batch_size, "num_workers": num_workers, "bucket": bucket}
        texts = (tokens, lower, min_count, vocabulary_size, max_length, vectors, freeze_vectors)
        super().__init__(root, cache, *texts, class_weights=class_weights, **own, **batches)

    def reading(self) -> TextReading:
        return TextReading("tab")

    def make_task(self, sets: Mapping[str, Sequence[Sample]], shared: Mapping[str, Any]) -> Task:
        return replace(super().make_task(sets, shared), monitor="macro_f1")
