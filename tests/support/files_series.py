"""Tiny files of the data sets of series that read some, as a user or an archive has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np


def long_table(folder: Path, samples: int = 30) -> Path:
    """A table with a row a step: samples of two classes by six subjects, two columns, 2 to 5 steps."""
    random, lines = np.random.default_rng(0), ["id,time,x,y,label,subject"]
    for sample in range(samples):
        for step in range(int(random.integers(2, 6))):
            x, y = random.normal(size=2) + sample % 2
            lines.append(f"{sample},{step},{x:.4f},{y:.4f},{'ab'[sample % 2]},{sample % 6}")
    (path := folder / "steps.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def ts_files(folder: Path, name: str = "JapaneseVowels", columns: int = 12) -> Path:
    """A training and a test file in the .ts format, of three classes."""
    random = np.random.default_rng(0)
    for part, count in (("TRAIN", 12), ("TEST", 6)):
        lines = [f"@problemName {name}", "@timeStamps false", "@classLabel true 1 2 3", "@data"]
        for case in range(count):
            values = random.normal(size=(columns, int(random.integers(2, 5)))).round(3)
            lines.append(":".join([*(",".join(map(str, row)) for row in values), str(case % 3 + 1)]))
        (folder / f"{name}_{part}.ts").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def recordings(folder: Path) -> Path:
    """Two people, two actions, three times each, of 3 frames each, one of which is recorded twice."""
    random, labels = np.random.default_rng(0), []
    for subject in (1, 6):
        for take in (1, 2, 3):
            labels += [f"s{subject:02}_e{take:02}", "walk: 1 3", "sitDown: 4 6", "carry:  NaN NaN"]
            rows = [(frame, *random.normal(size=60).round(3)) for frame in (1, 2, 2, 3, 4, 5, 6)]
            text = "\n".join(" ".join(map(str, row)) for row in rows)
            (folder / f"joints_s{subject:02}_e{take:02}.txt").write_text(text + "\n", encoding="utf-8")
    (folder / "actionLabel.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")
    return folder


def idx_files(folder: Path) -> Path:
    """40 and 10 images of noise in the files of MNIST."""
    random = np.random.default_rng(0)
    for part, count in (("train", 120), ("t10k", 10)):
        images = random.integers(0, 256, size=(count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (folder / f"{part}-{kind}-ubyte").write_bytes(header + array.tobytes())
    return folder


MAKERS: dict[str, Callable[[Path], dict[str, str]]] = {
    "SeriesFiles": lambda folder: {"dataset.path": str(long_table(folder))},
    "JapaneseVowels": lambda folder: {"dataset.root": str(ts_files(folder))},
    "SkeletonActions": lambda folder: {"dataset.root": str(recordings(folder))},
    "SequentialMNIST": lambda folder: {"dataset.root": str(idx_files(folder))},
}
"""By the name of a data set's class: writes its files into a folder, and returns what to type with it."""
