"""Shakespeare's plays, 1.1 million characters of them: the text on which small language models are compared."""

from __future__ import annotations

from pathlib import Path
from typing import final

from rnn_research.datasets.known import KnownData, PublishedData
from rnn_research.datasets.text.corpus import TextFile
from rnn_research.datasets.text.language import Text

FILE = "input.txt"


@final
class Shakespeare(KnownData, Text):
    """The characters of 40,000 lines of Shakespeare, as put together by Karpathy 2015, "The unreasonable effectiveness
    of recurrent neural networks" (github.com/karpathy/char-rnn, `tinyshakespeare`): 1,115,394 characters of 65 kinds.

    Split by position, 90/5/5: the usual split of char-rnn. The text is in the public domain.

    Args:
        root, cache: see `KnownData`; the file is input.txt.
        tokens, lower, vocabulary_size, min_count, val_fraction, test_fraction, stateful, window: as `Text`.

    Raises:
        ValueError: an argument is out of range; on loading, the file is missing, or can't be downloaded.
    """

    PUBLISHED = PublishedData(
        "shakespeare",
        (
            "https://raw.githubusercontent.com/karpathy/char-rnn/d1d7aa34fdb3626174bce1d753e6cc6845ce7087/data/tinyshakespeare/input.txt",
        ),
        lambda name: name == FILE,
        "3270fd896e2e98b7feb32b268fca19e53b28ea3e1d56cd5a1631550e7a0886a1",
        FILE,
        "public domain",
        "A. Karpathy (2015). The unreasonable effectiveness of recurrent neural networks (char-rnn, tinyshakespeare).",
        sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    )

    def __init__(
        self,
        root: str | None = None,
        cache: str | None = None,
        tokens: str = "chars",
        lower: bool = False,
        vocabulary_size: int | None = None,
        min_count: int = 1,
        val_fraction: float = 0.05,
        test_fraction: float = 0.05,
        stateful: bool = True,
        window: int = 100,
        batch_size: int = 32,
        num_workers: int = 0,
    ) -> None:
        cut = (tokens, lower, vocabulary_size, min_count, val_fraction, test_fraction)
        super().__init__(root, cache, None, *cut, stateful, window, batch_size, num_workers)

    def files(self) -> list[TextFile]:
        found = self.published_files([FILE])
        self.path = (self.root or Path(self.PUBLISHED.name)) / FILE
        return [(self.path, found[FILE])]
