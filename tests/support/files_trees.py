"""Tiny files of the data sets of trees that read some, as a user or an archive has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from treebank import written

WORDS = ("good", "bad", "film", "plot", "very", "not")


def bracketed(count: int = 24) -> list[str]:
    """Different trees of three words in brackets, labelled at every node."""
    made = []
    for number in range(count):
        first, second, third = (WORDS[(number // 6**place) % 6] for place in range(3))
        made.append(f"({'neg' if number % 3 else 'pos'} (pos {first}) (neg (pos {second}) (neg {third})))")
    return made


def nested(count: int = 24) -> list[str]:
    """Different trees in JSON, labelled at the root, a tree a line."""
    words = [[WORDS[(number // 6**place) % 6] for place in range(3)] for number in range(count)]
    return [
        json.dumps({"label": number % 2, "children": [{"token": some[0]}, some[1:]]})
        for number, some in enumerate(words)
    ]


def source(number: int) -> str:
    """A Python source with two functions that no other number's has."""
    more = "    x = x + 1\n" * (number + 1)
    return (
        f"def always_{number}(x):\n{more}    return x\n\n\ndef often_{number}(x):\n{more}    if x:\n        return x\n"
    )


def _ptb(folder: Path) -> dict[str, str]:
    (folder / "trees.txt").write_text("\n".join(bracketed()) + "\n", encoding="utf-8")
    return {"dataset.path": str(folder / "trees.txt")}


def _json(folder: Path) -> dict[str, str]:
    (folder / "trees.jsonl").write_text("\n".join(nested()) + "\n", encoding="utf-8")
    return {"dataset.path": str(folder / "trees.jsonl")}


def _python(folder: Path) -> dict[str, str]:
    for number in range(8):
        (folder / f"module_{number}.py").write_text(source(number), encoding="utf-8")
    return {"dataset.path": str(folder)}


def treebank(folder: Path) -> dict[str, str]:
    """A treebank in the form of the published one, with vectors of two of its words."""
    (folder / "vectors.txt").write_text("film 0.1 0.2\ngreat -0.3 0.4\n", encoding="utf-8")
    return {"dataset.root": str(written(folder)), "dataset.vectors": str(folder / "vectors.txt")}


MAKERS: dict[str, Callable[[Path], dict[str, str]]] = {"PTBTrees": _ptb, "JSONTrees": _json, "PythonAST": _python}
"""By the name of a data set's class: writes its files into a folder, and returns what to type with it."""
