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


def spoken_numbers(folder: Path) -> Path:
    """Two digits by two speakers, twelve times each: as many for each split as `spoken_numbers` wants."""
    for seed, (digit, speaker, number) in enumerate(
        (d, s, n) for d in range(2) for s in ("ann", "bob") for n in range(12)
    ):
        tone(folder / f"{digit}_{speaker}_{number}.wav", 300 * (3 * digit + 1), seconds=0.1, seed=seed)
    return folder


TONES = {"a": 300, "b": 900, "c": 2000}


def said(path: Path, text: str, seed: int = 0) -> Path:
    """Write a recording that says a text: a tone a letter, with pauses."""
    random, parts = np.random.default_rng(seed), []
    for letter in text:
        time = np.arange(1600) / 16000
        parts += [0.5 * np.sin(2 * np.pi * TONES[letter] * time), np.zeros(random.integers(400, 1600))]
    sound = np.concatenate([np.zeros(800), *parts])
    path.parent.mkdir(parents=True, exist_ok=True)
    noisy = sound + random.normal(scale=0.01, size=len(sound))
    wavfile.write(path, 16000, (noisy * 32767).clip(-32768, 32767).astype(np.int16))
    return path


def transcripts(folder: Path, count: int = 24) -> Path:
    """Recordings of words of a, b and c, with a manifest that says what and in which split. Returns the manifest."""
    random, lines = np.random.default_rng(0), ["file,text,split"]
    for number in range(count):
        text = "".join(random.choice(list(TONES), size=random.integers(1, 5)))
        said(folder / "rec" / f"{number}.wav", text, number)
        lines.append(f"rec/{number}.wav,{text},{('train', 'train', 'val', 'test')[number % 4]}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "manifest.csv"


MAKERS: dict[str, Callable[[Path], dict[str, str]]] = {
    "AudioTranscripts": lambda folder: {"dataset.path": str(transcripts(folder))},
    "SpokenNumbers": lambda folder: {"dataset.root": str(spoken_numbers(folder))},
    "AudioFolder": lambda folder: {"dataset.path": str(folders(folder))},
    "SpokenDigits": lambda folder: {"dataset.root": str(digits(folder))},
}
"""By the name of a data set's class: writes its files into a folder, and returns what to type with it."""
