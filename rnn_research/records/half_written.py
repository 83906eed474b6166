"""What a process that was killed has left half written in a run's folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rnn_research.records.runs import PROBES


def half_written(folder: Path) -> Iterator[Path]:
    """Files that a process was writing when it was killed."""
    for pattern in (".*.ckpt", *(f"{below}.*.{'[0-9a-f]' * 16}" for below in ("", f"{PROBES}/"))):
        yield from folder.glob(pattern)
