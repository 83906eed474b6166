"""Handwritten digits read as sequences: real data that need no download, a small sequential MNIST."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import final

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from rnn_research.checks import choice, flag, integer
from rnn_research.datasets.base import DataModule
from rnn_research.datasets.task import Task
from rnn_research.structures import Sample

SIDE = 8
SPLIT_SEED = 0  # the splits never change, so that any two runs are compared on the same images
HELD_OUT = 270  # images of val, and as many of test: 1,257 stay in train


@final
class Digits(DataModule):
    """scikit-learn's 1,797 digits of 8x8 pixels, scaled to [0, 1]: 1,257 train, 270 val and 270 test.

    Read by pixel, 64 steps of 1 feature, or by row, 8 steps of 8 features. `permute` shuffles the 64 pixels
    by one fixed permutation, as in permuted sequential MNIST (Le et al. 2015, arXiv:1504.00941, section 4.2);
    rows are cut after it.

    Args:
        by: `pixel` or `row`.
        permute: shuffle the pixels.
        permutation_seed: which permutation.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        by: str = "pixel",
        permute: bool = False,
        permutation_seed: int = 0,
        batch_size: int = 32,
        num_workers: int = 0,
        bucket: bool = False,
    ) -> None:
        super().__init__(batch_size, num_workers, bucket)
        self.by = choice("by", by, ("pixel", "row"))
        self.permute = flag("permute", permute)
        self.permutation_seed = integer("permutation_seed", permutation_seed, least=0)

    def load(self) -> tuple[Task, dict[str, Sequence[Sample]]]:
        pixels, labels = load_digits(return_X_y=True)
        if self.permute:
            pixels = pixels[:, np.random.default_rng(self.permutation_seed).permutation(SIDE * SIDE)]
        features = 1 if self.by == "pixel" else SIDE
        images = (pixels / 16).astype(np.float32).reshape(len(pixels), -1, features)
        samples: dict[str, Sequence[Sample]] = {
            split: [Sample(images[index], int(labels[index])) for index in chosen]
            for split, chosen in split_of_digits(labels).items()
        }
        return Task("classification", input_size=features, output_size=10), samples


def split_of_digits(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Image numbers of each split, each class in proportion. No image occurs twice in the data."""
    split = partial(train_test_split, test_size=HELD_OUT, random_state=SPLIT_SEED)
    rest, test = split(range(len(labels)), stratify=labels)
    train, val = split(rest, stratify=labels[rest])
    return {"train": np.asarray(train), "val": np.asarray(val), "test": np.asarray(test)}
