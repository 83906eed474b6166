"""Shakespeare's plays, 1.1 million characters of them: the text on which small language models are compared."""

from __future__ import annotations

from pathlib import Path
from typing import final

from rnn_research.checks import path_of
from rnn_research.datasets.download import download
from rnn_research.datasets.text.language import Text
from rnn_research.records.cache_folder import cache_folder

FILE = "input.txt"


@final
class Shakespeare(Text):
    """The characters of 40,000 lines of Shakespeare, as put together by Karpathy 2015, "The unreasonable effectiveness
    of recurrent neural networks" (github.com/karpathy/char-rnn, `tinyshakespeare`): 1,115,394 characters of 65 kinds.

    Split by position, 90/5/5: the usual split of char-rnn. The text is in the public domain.

    Args:
        root: a folder with input.txt; None: it is downloaded once.
        url: where the file is.
        sha256: of the file at `url`; another one is refused.
        cache: the folder that keeps it; None: $RNN_RESEARCH_CACHE, or `rnn_research` in $XDG_CACHE_HOME, or in
            ~/.cache.
        tokens, lower, vocabulary_size, min_count, val_fraction, test_fraction, stateful, window: as `Text`.

    Raises:
        ValueError: an argument is out of range; on loading, the file is missing, or can't be downloaded.
    """

    def __init__(
        self,
        root: str | None = None,
        url: str = "https://raw.githubusercontent.com/karpathy/char-rnn/d1d7aa34fdb3626174bce1d753e6cc6845ce7087/data/tinyshakespeare/input.txt",
        sha256: str = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
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
        super().__init__(None, *cut, stateful, window, cache, batch_size, num_workers)
        self.root = None if root is None else path_of("root", root)
        self.url, self.sha256 = url, sha256

    def files(self) -> list[Path]:
        if self.root is None:
            folder = self.cache or cache_folder()
            if folder is None:
                raise ValueError("dataset.cache: given none, and this user has no home; give a folder")
            return [download(self.url, self.sha256, folder / "shakespeare")]
        path = self.root / FILE
        if not path.is_file():
            raise ValueError(f"dataset.root: {self.root} has no {FILE}, expected the folder that holds it")
        return [path]
