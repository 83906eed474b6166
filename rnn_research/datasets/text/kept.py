"""Texts that were read and encoded, kept by what the files hold, so that a second start need not read them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnn_research.records.cache_folder import cache_folder
from rnn_research.structures import Sample

VERSION = 1
"""Of what is kept; another one is not read."""
LEAST = 1 << 20
"""Bytes of all files: fewer are read again as fast."""


@dataclass(frozen=True)
class Encoded:
    """What reading files gave: samples by split, and what is said of them, in types that JSON has."""

    sets: Mapping[str, Sequence[Sample]]
    said: Mapping[str, Any]


def place_of(files: Sequence[tuple[Path, str]], options: Mapping[str, Any]) -> Path | None:
    """Where what is read of these files with these options is kept; None: nowhere, since they are small, can't be
    read, or this user has no folder for it.

    Args:
        files: each with its split.
        options: all on which the result depends beside the files' contents.
    """
    folder = cache_folder()
    try:
        if folder is None or sum(path.stat().st_size for path, _ in files) < LEAST:
            return None
        contents = [(path.name, split, _sha256(path)) for path, split in files]
    except OSError:
        return None
    key = json.dumps([VERSION, options, contents], sort_keys=True)
    return folder / "texts" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"


def read(place: Path) -> Encoded | None:
    """What is kept there; None: nothing, or nothing that can be read."""
    try:
        with place.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            said = json.loads(kept["said"].tobytes().decode("utf-8"))
            sets = {
                name: sliced(kept[f"{name}_tokens"], kept[f"{name}_ends"], kept[f"{name}_targets"])
                for name in said["sets"]
            }
        return Encoded(sets, said)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def write(place: Path, encoded: Encoded) -> None:
    """Keep it there, whole or not at all; where the folder can't be written, not at all."""
    said = json.dumps({**encoded.said, "sets": list(encoded.sets)}, ensure_ascii=False).encode("utf-8")
    arrays: dict[str, np.ndarray] = {"said": np.frombuffer(said, dtype=np.uint8)}
    for name, samples in encoded.sets.items():
        arrays[f"{name}_tokens"] = np.concatenate([sample.inputs for sample in samples]).astype(np.int32)
        arrays[f"{name}_ends"] = np.cumsum([len(sample.inputs) for sample in samples])
        arrays[f"{name}_targets"] = np.array([sample.target for sample in samples], dtype=np.int64)
    temporary = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=place.parent, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, place)
    except OSError:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def sliced(tokens: np.ndarray, ends: np.ndarray, targets: Sequence[Any] | np.ndarray) -> list[Sample]:
    """The samples whose tokens stand one after another, each up to its end."""
    tokens, bounds = tokens.astype(np.int64), [0, *ends.tolist()]
    targets = targets.tolist() if isinstance(targets, np.ndarray) else targets
    return [Sample(tokens[start:end], target) for start, end, target in zip(bounds, bounds[1:], targets, strict=False)]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
