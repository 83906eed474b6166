"""Tiny files of the data sets of text that read some, as a user or an archive has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np


def plain_text(folder: Path) -> Path:
    """A file of some lines of words that no two parts share, as a language model reads it."""
    random = np.random.default_rng(0)
    lines = ("".join(random.choice(list("abcdefgh "), 40)) for _ in range(100))
    path = folder / "input.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


MAKERS: dict[str, Callable[[Path], dict[str, str]]] = {
    "Text": lambda folder: {"dataset.path": str(plain_text(folder))},
    "Shakespeare": lambda folder: {"dataset.root": str(plain_text(folder).parent)},
}
"""By the name of a data set's class: writes its files into a folder, and returns what to type with it."""
