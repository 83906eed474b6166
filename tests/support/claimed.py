"""Which process trains a run, as its claim says."""

from __future__ import annotations

import json
from pathlib import Path


def trainers(sweep: Path) -> dict[str, int]:
    """The process that has each run of a sweep's folder, by the run's name."""
    found = {}
    for path in sorted(sweep.glob("*/.claim-*")):
        try:
            found[path.parent.name] = int(json.loads(path.read_text().partition("\n")[0])["pid"])
        except (OSError, ValueError, KeyError):
            continue
    return found
