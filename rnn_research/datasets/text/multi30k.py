"""Multi30k: descriptions of images in two languages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, final

from rnn_research.checks import choice
from rnn_research.datasets.known import KnownData, PublishedData
from rnn_research.datasets.text.pairs import Pair, two_files
from rnn_research.datasets.text.parallel import ParallelData


@final
class Multi30k(KnownData, ParallelData):
    """Descriptions of images in English and in German: Elliott, Frank, Sima'an and Specia 2016 (arXiv:1605.00459), task
    1 of the shared task on multimodal translation. No licence is stated.

    29,000 pairs train, 1,014 choose, and the 1,000 of 2016 test. Of the training pairs those whose text is one of val
    or test are dropped.

    Args:
        root, cache: see `KnownData`; files may be gzipped.
        source: en or de: the language that is read; the other one is written.
        tokens, lower, min_count, vocabulary_size, max_length: see `ParallelData`.

    Raises:
        ValueError: an argument is out of range; on loading, a file is missing, malformed (says which line) or can't be
            downloaded.
    """

    PARTS: ClassVar[Mapping[str, str]] = {"train": "train", "val": "val", "test_2016_flickr": "test"}
    FILES: ClassVar[frozenset[str]] = frozenset(f"{name}.{side}" for name in PARTS for side in ("en", "de"))
    PUBLISHED = PublishedData(
        "multi30k",
        tuple(
            "https://raw.githubusercontent.com/multi30k/dataset/a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/raw"
            f"/{name}.{side}.gz"
            for name in ("train", "val", "test_2016_flickr")
            for side in ("en", "de")
        ),
        lambda name: name in Multi30k.FILES,
        "35eeb58722d6260a92760bd0004107f93d5ccba0e778fda7011b022e4d856505",
        "train, val and test_2016_flickr, each as .en and .de",
        "no licence is stated",
        "D. Elliott, S. Frank, K. Sima'an, L. Specia (2016). Multi30K: multilingual English-German image descriptions. "
        "Workshop on Vision and Language. arXiv:1605.00459",
    )

    def __init__(
        self,
        root: str | None = None,
        cache: str | None = None,
        source: str = "en",
        tokens: str = "words",
        lower: bool = False,
        min_count: int = 2,
        vocabulary_size: int | None = None,
        max_length: int | None = 100,
        batch_size: int = 64,
        num_workers: int = 0,
        bucket: bool = True,
    ) -> None:
        batches = {"batch_size": batch_size, "num_workers": num_workers, "bucket": bucket}
        super().__init__(root, cache, tokens, lower, min_count, vocabulary_size, max_length, **batches)
        self.source = choice("source", source, ("en", "de"))

    def pairs(self) -> list[Pair]:
        files = self.published_files(sorted(self.FILES))
        target, folder, found = "de" if self.source == "en" else "en", self.root or Path(), []
        for name, part in self.PARTS.items():
            read, written = f"{name}.{self.source}", f"{name}.{target}"
            found += two_files(folder / read, folder / written, part, (files[read], files[written]))
        return found
