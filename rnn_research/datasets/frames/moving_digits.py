"""Moving digits: where a handwritten digit goes, or which one it is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import final

import numpy as np
from sklearn.datasets import load_digits

from rnn_research.checks import choice, integer, number
from rnn_research.datasets.digits import SIDE, split_of_digits
from rnn_research.datasets.generated import GeneratedModule
from rnn_research.datasets.task import Task
from rnn_research.structures import Sample, SampleArrays

DIRECTIONS = ("right", "down right", "down", "down left", "left", "up left", "up", "up right")
STEPS = np.array([(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)])
"""Pixels that a digit goes down and to the right from one frame to the next, by direction."""


@final
class MovingDigits(GeneratedModule):
    """A handwritten digit (8x8, of scikit-learn's) goes over a field of pixels, one pixel a frame in one of eight
    directions; what leaves at a border comes back at the other. Over it lies noise.

    After Moving MNIST (Srivastava et al. 2015, arXiv:1502.04681, section 4.2), with a label in place of frames to
    predict. The images of the three splits are those of `digits`: no image is in two.

    Samples: inputs (length, side side) uint8, a frame a step.

    Args:
        length: frames.
        max_length: each clip has a number of frames uniform in [length, max_length]; None: `length` exactly.
        label: `direction`, 8 classes, or `digit`, 10.
        visible: the digit is shown in the first so many frames, and noise alone after them: it must be remembered;
            None: in all.
        side: pixels of the field, each way.
        noise: the most that is added to a pixel, of 1; drawn evenly from 0.
        test_lengths: also evaluate on clips of exactly these lengths, each a set `length_<frames>`.
        train_size: clips of train; likewise `val_size`, `test_size`.
        seed: which clips are drawn.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        length: int = 10,
        max_length: int | None = None,
        label: str = "direction",
        visible: int | None = None,
        side: int = 16,
        noise: float = 0.2,
        test_lengths: list[int] | None = None,
        train_size: int = 5_000,
        val_size: int = 500,
        test_size: int = 1_000,
        seed: int = 0,
        batch_size: int = 32,
        num_workers: int = 0,
        bucket: bool = False,
    ) -> None:
        super().__init__(train_size, val_size, test_size, seed, batch_size, num_workers, bucket)
        self.label = choice("label", label, ("direction", "digit"))
        least = 2 if label == "direction" else 1
        self.length = integer("length", length, least=least)
        self.max_length = length if max_length is None else integer("max_length", max_length, least=length)
        self.visible = None if visible is None else integer("visible", visible, least=least)
        self.side = integer("side", side, least=SIDE, most=128)
        self.noise = number("noise", noise, least=0.0, most=1.0)
        self.test_lengths = [integer("test_lengths", one, least=least) for one in test_lengths or ()]

    def load(self) -> tuple[Task, dict[str, Sequence[Sample]]]:
        pixels, digits = load_digits(return_X_y=True)
        images = (pixels.reshape(-1, SIDE, SIDE) * 255 / 16).astype(np.uint8)
        parts = split_of_digits(digits)

        def drawn(split: str, shortest: int, longest: int) -> partial[SampleArrays]:
            return partial(self._make, images[parts[split]], digits[parts[split]], shortest, longest)

        further = {f"length_{frames}": drawn("test", frames, frames) for frames in self.test_lengths}
        sets = self.streams(lambda split: drawn(split, self.length, self.max_length), further)
        classes = DIRECTIONS if self.label == "direction" else tuple(map(str, range(10)))
        shape = (1, self.side, self.side)
        return Task("classification", self.side**2, len(classes), classes=classes, frame=shape), sets

    def _make(
        self,
        images: np.ndarray,
        digits: np.ndarray,
        shortest: int,
        longest: int,
        random: np.random.Generator,
        count: int,
    ) -> SampleArrays:
        lengths = random.integers(shortest, longest + 1, size=count)
        which, direction = random.integers(len(images), size=count), random.integers(len(STEPS), size=count)
        place = random.integers(self.side, size=(count, 1, 2)) + np.arange(longest)[:, None] * STEPS[direction][:, None]
        within = (place[..., None] + np.arange(SIDE)) % self.side  # (count, longest, 2, SIDE)
        frames = np.zeros((count, longest, self.side, self.side), dtype=np.uint8)
        shown = longest if self.visible is None else min(self.visible, longest)
        clip, step = np.arange(count)[:, None, None, None], np.arange(shown)[:, None, None]
        down, right = within[:, :shown, 0, :, None], within[:, :shown, 1, None, :]
        frames[clip, step, down, right] = images[which][:, None]
        noise = random.integers(0, round(255 * self.noise) + 1, size=frames.shape, dtype=np.uint16)
        seen = np.minimum(frames + noise, 255).astype(np.uint8).reshape(count, longest, -1)
        seen[np.arange(longest) >= lengths[:, None]] = 0
        return SampleArrays(seen, lengths, direction if self.label == "direction" else digits[which])
