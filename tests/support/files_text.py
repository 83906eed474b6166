"""Tiny files of the data sets of text that read some, as a user or an archive has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np


def plain_text(folder: Path) -> Path:
    """A file of some lines of words that no two parts share, as a language model reads it."""
    random = np.random.default_rng(0)
    lines = ("".join(random.choice(list("abcdefgh "), 40)) for _ in range(100))
    path = folder / "input.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


COARSE = ("ABBR:exp", "DESC:def", "ENTY:animal", "HUM:ind", "LOC:city", "NUM:date")


def questions(folder: Path) -> Path:
    """A training and a test file in TREC's format; the name of a town is in ISO-8859-1."""
    for name, first, count in (("train_5500.label", 0, 60), ("TREC_10.label", 60, 12)):
        lines = [
            f"{COARSE[one % 6]} What is {COARSE[one % 6].lower()} of K\u00f6ln {one} ?"
            for one in range(first, first + count)
        ]
        (folder / name).write_text("\n".join(lines) + "\n", encoding="iso-8859-1")
    return folder


def messages(folder: Path) -> Path:
    """40 text messages, every fourth of them spam, and each third one twice."""
    lines = [
        f"spam\twin prize {one} \u00a3 now" if one % 4 == 0 else f"ham\tsee you at {one}, ok? \u263a"
        for one in range(40)
    ]
    (folder / "SMSSpamCollection").write_text("\n".join([*lines, *lines[::3]]) + "\n", encoding="utf-8")
    return folder


def reviews(folder: Path) -> Path:
    """A table of 60 short texts in two classes."""
    rows = [f'"good film, number {one}",pos' if one % 3 else f'"bad film, number {one}",neg' for one in range(60)]
    (path := folder / "reviews.csv").write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    return path


ENGLISH = ("a", "the", "man", "dog", "runs", "sees", "red", "small")
GERMAN = ("ein", "der", "Mann", "Hund", "l\u00e4uft", "sieht", "rot", "klein")


def sentences(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """So many texts, each with its translation word by word."""
    random, found = np.random.default_rng(seed), {}
    while len(found) < count:
        words = random.integers(len(ENGLISH), size=random.integers(3, 7)).tolist()
        found[" ".join(ENGLISH[word] for word in words) + "."] = " ".join(GERMAN[word] for word in words) + "."
    return list(found.items())


def pairs(folder: Path) -> Path:
    """A table of 60 texts and their translations."""
    (path := folder / "pairs.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in sentences(60)), encoding="utf-8")
    return path


def descriptions(folder: Path) -> Path:
    """The files of Multi30k, with few lines."""
    found = iter(sentences(60))
    for name, count in (("train", 40), ("val", 10), ("test_2016_flickr", 10)):
        part = [next(found) for _ in range(count)]
        for side, ending in enumerate(("en", "de")):
            (folder / f"{name}.{ending}").write_text("".join(f"{pair[side]}\n" for pair in part), encoding="utf-8")
    return folder


MAKERS: dict[str, Callable[[Path], dict[str, str]]] = {
    "Text": lambda folder: {"dataset.path": str(plain_text(folder))},
    "Shakespeare": lambda folder: {"dataset.root": str(plain_text(folder).parent)},
    "Trec": lambda folder: {"dataset.root": str(questions(folder))},
    "SmsSpam": lambda folder: {"dataset.root": str(messages(folder))},
    "ParallelText": lambda folder: {"dataset.path": str(pairs(folder))},
    "Multi30k": lambda folder: {"dataset.root": str(descriptions(folder))},
    "LabelledText": lambda folder: {"dataset.path": str(reviews(folder))},
}
"""By the name of a data set's class: writes its files into a folder, and returns what to type with it."""
