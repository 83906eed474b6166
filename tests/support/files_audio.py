"""Tiny files of the data sets of sound that read some, as a user or an archive has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.io import wavfile


def tone(path: Path, frequency: float, rate: int = 8000, seconds: float = 0.05, seed: int = 0) -> Path:
    """Write a tone with some noise, 16 bits, and return the path."""
    noise = np.random.default_rng(seed).normal(scale=0.05, size=round(rate * seconds))
    sound = 0.5 * np.sin(2 * np.pi * frequency * np.arange(len(noise)) / rate) + noise
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, rate, (sound * 32767).clip(-32768, 32767).astype(np.int16))
    return path


def folders(folder: Path) -> Path:
    """12 high and 12 low tones, in folders by class."""
    for number in range(24):
        name = ("high", "low")[number % 2]
        tone(folder / name / f"{number}.wav", 2000 if name == "high" else 300, seed=number)
    return folder


def digits(folder: Path) -> Path:
    """Three digits by two speakers, eight times each."""
    for seed, (digit, speaker, number) in enumerate(
        (d, s, n) for d in range(3) for s in ("ann", "bob") for n in range(8)
    ):
        tone(folder / f"{digit}_{speaker}_{number}.wav", 300 * (digit + 1), seed=seed)
    return folder


MAKERS: dict[str, Callable[[Path], dict[str, str]]] = {
    "AudioFolder": lambda folder: {"dataset.path": str(folders(folder))},
    "SpokenDigits": lambda folder: {"dataset.root": str(digits(folder))},
}
"""By the name of a data set's class: writes its files into a folder, and returns what to type with it."""
