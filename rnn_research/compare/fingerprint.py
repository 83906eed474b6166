"""Whether a comparison would come out as the last one did, told from files' sizes and times, and reading none."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import rnn_research
from rnn_research.compare.comparison import Comparison
from rnn_research.records import runs

FILES = (runs.RECORD, runs.METRICS, "run.log")
ASKED = ("folder", "metric", "state", "step", "fraction", "varying", "where", "baseline", "against")


def fingerprint(comparison: Comparison) -> str:
    """A digest of what was asked, of the package's sources, and of the size and time of every file of the runs, of
    those that are left out too."""
    folders = [item.folder for item in (*comparison.runs, *comparison.excluded, *comparison.whole)]
    asked = {name: getattr(comparison, name) for name in ASKED}
    files = [[comparison.name(folder), *map(_state, _files(folder))] for folder in folders]
    return _digest([_sources(), asked, files])


def _files(folder: Path) -> list[Path]:
    return [*(folder / name for name in FILES), *sorted((folder / runs.PROBES).glob("*.npy"))]


def _state(path: Path) -> tuple[str, int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return path.name, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@cache
def _sources() -> str:
    root = Path(rnn_research.__file__).parent
    rooms = ("compare", "curves", "statistics", "records", "report")
    paths = sorted(path for room in rooms for path in (root / room).iterdir() if path.is_file())
    return _digest([rnn_research.__version__, *(hashlib.blake2b(path.read_bytes()).hexdigest() for path in paths)])


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()
