"""MNIST read as sequences: pixel by pixel, row by row, or permuted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np
from sklearn.model_selection import train_test_split

from rnn_research.checks import choice, flag, integer, number
from rnn_research.datasets.encoder import Encoder
from rnn_research.datasets.known import KnownData, PublishedData
from rnn_research.datasets.own.archives import unpacked
from rnn_research.datasets.own.files import refusal
from rnn_research.datasets.series.encoder import SeriesEncoder
from rnn_research.datasets.series.reading import ReadSeries
from rnn_research.datasets.task import Task
from rnn_research.structures import Sample, SampleArrays

SIDE = 28
VALIDATION = 5000  # images of the training set that choose, as is usual
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CLASSES = tuple(map(str, range(10)))


@final
class SequentialMNIST(KnownData):
    """60,000 and 10,000 digits of 28x28 pixels in [0, 1]: LeCun et al. 1998; read as sequences by Le, Jaitly and Hinton
    2015 (arXiv:1504.00941, section 4.2).

    Read by pixel, 784 steps of 1 feature, or by row, 28 steps of 28 features. `permute` shuffles the pixels by one
    fixed permutation; rows are cut after it. 5,000 images of the training set, each class in proportion, choose.

    Args:
        root, cache: see `KnownData`; the files are the four idx files, gzipped or not.
        by: `pixel` or `row`.
        permute: shuffle the pixels.
        permutation_seed: which permutation.
        fraction: the share of the other 55,000 images that trains, each class in proportion.
        split_seed: which images choose, and which of the others train.

    Raises:
        ValueError: an argument is out of range; on loading, a file is missing, malformed or can't be downloaded.
    """

    LENGTHS_SAID = "dataset.by"
    PUBLISHED = PublishedData(
        "mnist",
        tuple(f"https://ossci-datasets.s3.amazonaws.com/mnist/{name}.gz" for name in FILES),
        lambda name: name in FILES,
        "2fdb6eb3eaae924174e00c1c806649d4ac4e8e5c9bb9c5742a7823f19c7aea69",
        ", ".join(FILES),
        "CC BY-SA 3.0",
        "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner (1998). Gradient-based learning applied to document recognition.",
    )

    def __init__(
        self,
        root: str | None = None,
        cache: str | None = None,
        by: str = "pixel",
        permute: bool = False,
        permutation_seed: int = 0,
        fraction: float = 1.0,
        split_seed: int = 0,
        batch_size: int = 100,
        num_workers: int = 0,
        bucket: bool = False,
    ) -> None:
        super().__init__(root, cache, batch_size, num_workers, bucket)
        self.by = choice("by", by, ("pixel", "row"))
        self.permute = flag("permute", permute)
        self.permutation_seed = integer("permutation_seed", permutation_seed, least=0)
        self.fraction = number("fraction", fraction, above=0.0, most=1.0)
        self.split_seed = integer("split_seed", split_seed, least=0)

    @property
    def reading(self) -> dict[str, object]:
        """How images become sequences: the arguments of `sequences_of`."""
        return {"by": self.by, "permutation_seed": self.permutation_seed if self.permute else None}

    def load_files(self) -> tuple[Task, dict[str, Sequence[Sample]]]:
        files = self.published_files(FILES)
        images, tested = (images_of(Path(name), files[name]) for name in FILES[::2])
        labels = labels_of(Path(FILES[1]), files[FILES[1]], len(images))
        answers = labels_of(Path(FILES[3]), files[FILES[3]], len(tested))
        train, val = _parts(labels, self.fraction, self.split_seed)
        sets: dict[str, Sequence[Sample]] = {
            "train": self._samples(images[train], labels[train]),
            "val": self._samples(images[val], labels[val]),
            "test": self._samples(tested, answers),
        }
        features = 1 if self.by == "pixel" else SIDE
        task = Task("classification", features, 10, classes=CLASSES, monitor="accuracy")
        return task, sets

    def _samples(self, images: np.ndarray, labels: np.ndarray) -> SampleArrays:
        sequences = sequences_of(images, **self.reading)  # type: ignore[arg-type]
        return SampleArrays(sequences, np.full(len(images), sequences.shape[1]), labels.astype(np.int64))

    @property
    def encoder(self) -> Encoder:
        columns = 1 if self.by == "pixel" else SIDE
        scale = np.zeros(columns), np.ones(columns)
        return SeriesEncoder(columns, *scale, classes=CLASSES, reading={"format": "idx", **self.reading})


def images_of(path: Path, content: bytes) -> np.ndarray:
    """The images in an idx file, (number, 28, 28).

    Raises:
        ValueError: it is damaged, or has no such images.
    """
    found = idx_array(path, content)
    if found.ndim != 3:
        raise refusal(path, f"has values of shape {found.shape}, expected (images, {SIDE}, {SIDE})")
    return found


def labels_of(path: Path, content: bytes, count: int) -> np.ndarray:
    """The labels of so many images in an idx file, from 0 to 9.

    Raises:
        ValueError: it is damaged, or has no such labels.
    """
    said = idx_array(path, content)
    if said.shape != (count,) or said.max(initial=0) >= len(CLASSES):
        has = f"has values of shape {said.shape} up to {said.max(initial=0)}"
        raise refusal(path, f"{has}, expected {count} labels from 0 to 9, one an image")
    return said


def _parts(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the images that train and that choose, in order."""
    held = min(VALIDATION, max(10, len(labels) // 12))
    train, val = train_test_split(np.arange(len(labels)), test_size=held, random_state=seed, stratify=labels)
    if fraction < 1.0:
        many = max(10, round(len(train) * fraction))
        train, _ = train_test_split(train, train_size=many, random_state=seed, stratify=labels[train])
    return np.sort(train), np.sort(val)


def sequences_of(images: np.ndarray, by: str, permutation_seed: int | None) -> np.ndarray:
    """Images as sequences of numbers in [0, 1]: (images, steps, features) float32."""
    pixels = images.reshape(len(images), -1)
    if permutation_seed is not None:
        pixels = pixels[:, np.random.default_rng(permutation_seed).permutation(pixels.shape[1])]
    return np.divide(pixels, 255, dtype=np.float32).reshape(len(images), -1, 1 if by == "pixel" else SIDE)


def read_images(path: Path, by: str, permutation_seed: int | None) -> ReadSeries:
    """The images of an idx file as sequences, with the labels of the file beside it where there is one."""
    images = images_of(path, unpacked(path))
    labels = path.with_name(path.name.replace("images-idx3", "labels-idx1"))
    read = ReadSeries(list(sequences_of(images, by, permutation_seed)))
    if labels != path and labels.is_file():
        read.labels = [str(label) for label in labels_of(labels, unpacked(labels), len(images))]
    read.places = [(f"{path}, image {index}", None) for index in range(len(images))]
    return read


def idx_array(path: Path, content: bytes) -> np.ndarray:
    """The array in an idx file of bytes.

    Raises:
        ValueError: it is none, or is cut short.
    """
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise refusal(path, "found what is no idx file of bytes", repair="fetch it again")
    sizes = np.frombuffer(content, ">u4", content[3], 4) if len(content) >= 4 + 4 * content[3] else np.zeros(0)
    start, expected = 4 + 4 * content[3], int(np.prod(sizes.astype(np.int64)))
    if len(sizes) != content[3] or len(content) - start != expected:
        raise refusal(path, f"has {len(content) - start} bytes of values, expected {expected}", repair="fetch it again")
    values = np.frombuffer(content, np.uint8, offset=start).reshape(sizes.astype(np.int64))
    if values.ndim == 3 and values.shape[1:] != (SIDE, SIDE):
        raise refusal(path, f"has images of {values.shape[1:]}, expected ({SIDE}, {SIDE})")
    return values
