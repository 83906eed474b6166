"""A folder of the cache that one process, or thread, writes at a time: the others wait."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nobody waits there
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
PAUSE = 0.1  # seconds
_held: set[tuple[str, int]] = set()
"""The folders that this process's threads have."""


@contextmanager
def locked(folder: Path, waits: Callable[[], None]) -> Iterator[bool]:
    """Hold `folder`, which is there; yield whether that was possible: some file systems know no locks.

    The lock ends with the process that has it, however that ends. Where this thread has it already, nothing is done.

    Args:
        waits: called once where another has it.

    Raises:
        OSError: the folder can't be written.
    """
    key = str(folder.resolve()), threading.get_ident()
    if key in _held:
        yield True
        return
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _taken(handle, waits):
            yield False
            return
        _held.add(key)
        try:
            yield True
        finally:
            _held.discard(key)
    finally:
        os.close(handle)


def _taken(handle: int, waits: Callable[[], None]) -> bool:
    if fcntl is None:
        return False
    said = False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if not said:
                waits()
                said = True
            time.sleep(PAUSE)
        except OSError:
            return False
