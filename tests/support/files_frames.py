"""Tiny clips of the data sets that read images, as a user has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image


def clip(folder: Path, frames: int, column: int, seed: int = 0, size: tuple[int, int] = (32, 32)) -> Path:
    """Write a bright bar that stands in a column over noise, a file a frame; returns the folder."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(frames):
        pixels = random.integers(0, 60, size=(size[1], size[0]), dtype=np.uint8)
        pixels[:, column : column + 4] = 250
        Image.fromarray(pixels).save(folder / f"frame{number}.png")
    return folder


def clips(folder: Path) -> Path:
    """12 clips of a bar on the left and 12 on the right, of 1 to 3 frames."""
    for number in range(24):
        name = ("left", "right")[number % 2]
        clip(folder / name / f"c{number}", 1 + number % 3, 4 if name == "left" else 24, number)
    return folder


MAKERS: dict[str, Callable[[Path], dict[str, str]]] = {
    "FrameFolder": lambda folder: {"dataset.path": str(clips(folder))}
}
"""By the name of a data set's class: writes its files into a folder, and returns what to type with it."""
