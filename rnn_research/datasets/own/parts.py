"""What files, folders and columns call the three splits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test"} | dict.fromkeys(
    ("val", "dev", "valid", "validation", "development", "eval"), "val"
)
"""The split by each name, in lower case."""


def part_of(name: str) -> str | None:
    """The split that a word names; None: it names none."""
    return PARTS.get(name.strip().lower())


def part_of_name(file: Path) -> str:
    """The split that a file's name says, as `train.txt` or `sst-dev.ptb`; "" where it says none, or several."""
    found = {PARTS[word] for word in re.split(r"[^a-z]+", file.name.lower()) if word in PARTS}
    return found.pop() if len(found) == 1 else ""


def part_of_folder(file: Path, root: Path) -> str:
    """The split that the uppermost folder between `root` and a file below it names; "" where none does."""
    between = file.relative_to(root).parts[:-1]
    return next((part for folder in between if (part := part_of(folder)) is not None), "")


def parts_of_files(files: Sequence[Path], root: Path) -> list[str]:
    """The split of each file below the folder `root`: by its own name, else by the folders it lies in; "" where none
    is said. Of one file, which is the root itself, nothing is said."""
    return [part_of_name(file) or part_of_folder(file, root) if file != root else "" for file in files]
