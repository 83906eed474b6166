"""What a run leaves that does not depend on when and where it was trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

OF_PLACE = ("start", "end", "machine", "commit")
"""Fields of a record that tell when and where."""


def kept(folder: Path) -> dict[str, Any]:
    """The record without times and places, and the bytes of metrics.csv and of every table."""
    record = json.loads((folder / "run.json").read_text())
    files = [folder / "metrics.csv", folder / "encoding.json", *sorted((folder / "probes").iterdir())]
    found: dict[str, Any] = {path.name: path.read_bytes() for path in files}
    return found | {"run.json": {key: value for key, value in record.items() if key not in OF_PLACE}}


def kept_of_all(sweep: Path) -> dict[str, dict[str, Any]]:
    """The same of every run of a sweep, by its folder's name."""
    return {path.parent.name: kept(path.parent) for path in sorted(sweep.glob("*/run.json"))}
