"""The record of a run under way: it grows while training goes on, and is written now and then."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rnn_research.records import runs
from rnn_research.sweeps import heart


class LiveRecord:
    """What the callbacks of a run have in common: its record so far, and its folder."""

    def __init__(self, record: runs.RunRecord, folder: Path) -> None:
        self.record, self.folder = record, folder

    def change(self, **changes: Any) -> None:
        """Set fields of the record."""
        self.record = replace(self.record, **changes)

    def write(self) -> None:
        """Write the record as it is."""
        heart.confirm(self.folder)
        runs.write(self.record, self.folder)


def now() -> str:
    """The time, as records give it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
