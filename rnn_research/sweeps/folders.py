"""Output folders: made for runs, and removed where a run did not come to be."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def first_missing(folder: Path) -> Path | None:
    """Return the topmost of the folders that making `folder` would make; None where it is there."""
    folder = folder.absolute()
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    return missing[-1] if missing else None


def remove_empty(folder: Path, top: Path | None) -> None:
    """Remove `folder` and those above it up to `top`, as far as they are empty. Of no `top`, nothing is removed."""
    if top is None:
        return
    with contextlib.suppress(OSError):
        for path in (folder.absolute(), *folder.absolute().parents):
            path.rmdir()
            if path == top:
                return
