"""The code that trained a run, as a short text: whether two runs were made by the same.

A commit does not tell: a checkout may have changes, an installed package has none, and a user's own files have others.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import rnn_research

PACKAGE, OWN = "rnn_research", "own"
SUFFIXES = (".py", ".c", ".h")
READERS = ("cli", "compare", "report")
"""Rooms of the package that read what runs left, or start them: no number of a run's depends on them."""
DIGITS = 12
MOST = 10_000
"""Files that are looked at below a user's folders: one of them may be a home directory."""


def sources(folders: Sequence[Path] = ()) -> dict[str, str]:
    """What a record holds of the code: a hash of the package's, and one of the user's own.

    Args:
        folders: the user's config folders. Their python files count alone: what their yamls say stands in the config.
    """
    own = _hash(_below(tuple(map(Path, folders)))) if folders else ""
    return {PACKAGE: _package(), **({OWN: own} if own else {})}


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Whose code is another than it was, in words; nothing where a record does not say."""
    if not before:
        return []
    words = {PACKAGE: "rnn_research's", OWN: "the config folder's"}
    return [word for key, word in words.items() if before.get(key, "") != now.get(key, "")]


def joined(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Of a run that one code began and another went on with: both, so that it is neither's."""
    if not before or not changed(before, now):
        return dict(now)
    keys = dict.fromkeys((*before, *now))
    both = {key: dict.fromkeys((*before.get(key, "").split("+"), now.get(key, ""))) for key in keys}
    return {key: "+".join(filter(None, hashes)) for key, hashes in both.items()}


@cache
def _package() -> str:
    """Once a process: what it has imported stays."""
    top = Path(rnn_research.__file__).parent
    paths = (path for path in _below((top,)) if path.relative_to(top).parts[0] not in READERS)
    return _hash(paths, top)


def _hash(paths: Iterable[Path], top: Path | None = None) -> str:
    found = hashlib.sha256()
    for path in paths:
        try:
            content = path.read_bytes()
        except OSError:
            continue
        name = path.name if top is None else path.relative_to(top).as_posix()
        found.update(f"{name}\0{len(content)}\0".encode("utf-8", "surrogateescape") + content)
    return found.hexdigest()[:DIGITS]


def _below(folders: Sequence[Path]) -> Iterator[Path]:
    """Their source files, in an order of their own; without those of hidden folders, and what runs left."""
    count = 0
    for folder in folders:
        for at, below, names in os.walk(folder):
            below[:] = sorted(name for name in below if not name.startswith((".", "__pycache__")))
            if "run.json" in names:
                below.clear()
                continue
            for name in sorted(name for name in names if name.endswith(SUFFIXES)):
                count += 1
                if count > MOST:
                    return
                yield Path(at, name)
