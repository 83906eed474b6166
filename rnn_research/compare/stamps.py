"""What tells, without reading any table, that files and the package's sources are as they were."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import rnn_research
from rnn_research.records import runs

LOG = "run.log"
"""Where a run writes what it says."""
Stamp = tuple[int, int, int, int]


def digest(value: Any) -> str:
    """A digest of plain values."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()


def stamp(path: Path | str) -> Stamp | None:
    """A file's size, its times of writing and of change, and its place on the disk; None where it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def run_stamps(folder: Path) -> dict[str, Stamp]:
    """The stamp of each file of a run that a comparison shows, by its path in the folder: record, metrics, log and
    tables, those that are there."""
    names = [runs.RECORD, runs.METRICS, LOG]
    with suppress(OSError):
        names += sorted(f"{runs.PROBES}/{name}" for name in os.listdir(folder / runs.PROBES) if name.endswith(".npy"))
    found = {name: stamp(f"{folder}/{name}") for name in names}
    return {name: one for name, one in found.items() if one is not None}


@cache
def sources(*rooms: str) -> str:
    """A digest of the package's version and of the files in these of its rooms."""
    root = Path(rnn_research.__file__).parent
    paths = sorted(path for room in rooms for path in (root / room).iterdir() if path.is_file())
    return digest([rnn_research.__version__, *(hashlib.blake2b(path.read_bytes()).hexdigest() for path in paths)])
