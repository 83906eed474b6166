"""Clips in folders: which images each has, in order, and which class and split it is of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rnn_research.datasets.frames.images import ENDINGS
from rnn_research.datasets.own.files import refusal
from rnn_research.datasets.own.parts import part_of


@dataclass(frozen=True)
class Clip:
    """A folder of images.

    Attributes:
        folder: where they lie.
        frames: the images, by the numbers in their names.
        label: its class: the folder that it lies in.
        split: the split that a folder above is named for, "" for none.
    """

    folder: Path
    frames: tuple[Path, ...]
    label: str
    split: str = ""


def clips_at(path: Path) -> list[Clip]:
    """All clips below a folder, in the order of their paths: CLASS/CLIP/IMAGE, perhaps below train, val and test.

    Raises:
        ValueError: there is none; a clip has no image, or lies in no folder that says its class: names it.
    """
    if not path.is_dir():
        raise ValueError(f"dataset.path: given {path}, which is no folder, expected CLASS/CLIP/IMAGE; check the path")
    found = []
    for folder in sorted(one for one in path.rglob("*") if one.is_dir() and not _hidden(one, path)):
        frames = frames_in(folder)
        if not frames:
            if not any(one.is_dir() for one in folder.iterdir()) and len(folder.relative_to(path).parts) > 1:
                raise refusal(folder, "has no image, expected the frames of a clip", repair="add some, or delete it")
            continue
        above = folder.relative_to(path).parts[:-1]
        if not above or (len(above) == 1 and part_of(above[0]) is not None):
            raise refusal(folder, "has images but lies in no folder that says its class", repair="use CLASS/CLIP/IMAGE")
        split = next((part for one in above[:-1] if (part := part_of(one)) is not None), "")
        found.append(Clip(folder, frames, above[-1], split))
    if not found:
        raise ValueError(f"dataset.path: {path} has no clip, expected CLASS/CLIP/IMAGE with {' or '.join(ENDINGS)}")
    return found


def frames_in(folder: Path) -> tuple[Path, ...]:
    """The images of a folder in the order of the numbers in their names: frame2 before frame10."""
    some = [one for one in folder.iterdir() if one.suffix.lower() in ENDINGS and not one.name.startswith(".")]
    return tuple(sorted((one for one in some if one.is_file()), key=lambda one: _by_number(one.name)))


def spread(frames: Sequence[Path], every: int, most: int | None) -> tuple[Path, ...]:
    """Every so many of a clip's frames, from the first; where there are more than `most`, so many spread evenly."""
    chosen = frames[::every]
    if most is None or len(chosen) <= most:
        return tuple(chosen)
    return tuple(chosen[(2 * number + 1) * len(chosen) // (2 * most)] for number in range(most))


def _by_number(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", name)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def _hidden(folder: Path, above: Path) -> bool:
    return any(part.startswith(".") for part in folder.relative_to(above).parts)
