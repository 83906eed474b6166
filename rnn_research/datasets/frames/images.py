"""Images of one size and one kind, whatever their files are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rnn_research.checks import flag, integer
from rnn_research.datasets.own.files import refusal

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
LARGEST = 50_000_000
"""Pixels of an image: more is a mistake, or is meant to use up the memory."""


@dataclass(frozen=True)
class FrameForm:
    """What every frame is made: its size in pixels, and whether it is grey or has red, green and blue."""

    height: int = 32
    width: int = 32
    grey: bool = True

    def __post_init__(self) -> None:
        integer("height", self.height, least=4, most=512)
        integer("width", self.width, least=4, most=512)
        flag("grey", self.grey)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return 1 if self.grey else 3, self.height, self.width

    def plain(self) -> dict[str, Any]:
        """The attributes in types that JSON has."""
        return asdict(self)


@dataclass
class FramesSeen:
    """How many frames had each size, and each mode of colour."""

    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)

    def notes(self, form: FrameForm) -> list[str]:
        """What was done with frames of another size or other colours."""
        said = []
        if other := {size: count for size, count in self.sizes.items() if size != (form.width, form.height)}:
            (wide, high), _ = max(other.items(), key=lambda item: item[1])
            several = "" if len(other) == 1 else f" and {len(other) - 1} other sizes"
            said.append(
                f"{sum(other.values())} frames of {wide}x{high}{several} were resized to {form.width}x{form.height}"
            )
        wanted = "L" if form.grey else "RGB"
        if changed := sum(count for mode, count in self.modes.items() if mode != wanted):
            said.append(f"{changed} frames were made {'grey' if form.grey else 'red, green and blue'}")
        return said


def frame_of(path: Path, form: FrameForm, seen: FramesSeen) -> np.ndarray:
    """An image of a form, (channels, height, width) uint8: bilinear with antialiasing, as Pillow resizes.

    Raises:
        ValueError: it is no image that can be read; names it.
    """
    try:
        with Image.open(path) as image:
            if image.width * image.height > LARGEST:
                raise refusal(path, f"has {image.width}x{image.height} pixels, expected at most {LARGEST:,}")
            seen.sizes[image.size] += 1
            seen.modes[image.mode] += 1
            plain = image.convert("L" if form.grey else "RGB")
            if plain.size != (form.width, form.height):
                plain = plain.resize((form.width, form.height), Image.Resampling.BILINEAR)
            values = np.asarray(plain, dtype=np.uint8)
    except (OSError, SyntaxError, Image.DecompressionBombError, ValueError, EOFError) as error:
        if str(error).startswith("dataset.path:"):
            raise
        reason = " ".join(str(error).replace(f"{path}", "it").split())[:120] or type(error).__name__
        raise refusal(path, f"found no image that can be read ({reason})") from None
    return values[None] if form.grey else values.transpose(2, 0, 1)


def clip_of(frames: Sequence[Path], form: FrameForm, seen: FramesSeen) -> np.ndarray:
    """The frames of a clip, (steps, channels height width) uint8, a row a frame."""
    return np.stack([frame_of(path, form, seen).reshape(-1) for path in frames])
