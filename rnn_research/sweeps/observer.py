"""Whether processes on other machines are there, by this process's own clock."""

from __future__ import annotations

import time
from pathlib import Path


class Observer:
    """Watches claims of other machines by this process's clock.

    Args:
        patience: seconds after which a claim that has not grown is that of a process that is gone.
    """

    def __init__(self, patience: float = 60.0) -> None:
        self.patience = patience
        self._seen: dict[Path, tuple[int, float]] = {}
        self._grew: set[Path] = set()

    def silent(self, path: Path, size: int) -> bool:
        """Whether a claim has not grown for so long, as far as was watched."""
        now = time.monotonic()
        before, since = self._seen.get(path, (size, now))
        if before != size:
            self._grew.add(path)
            since = now
        self._seen[path] = (size, since)
        return now - since > self.patience

    def undecided(self, folder: Path) -> bool:
        """Whether it is not known yet of a claim of this folder whether its process is there."""
        paths = {path for path in self._seen if path.parent == folder}
        return any(path not in self._grew for path in paths)
