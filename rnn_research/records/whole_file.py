"""Opens files that may come from anywhere, and only files: a pipe, a device or a socket in their place would be waited
for, or read, for ever."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO

ANY = 1 << 62
"""Bytes that no file has."""


def opened(path: Path) -> IO[bytes]:
    """The file, to be read.

    Raises:
        OSError: it can't be read, or is no file.
    """
    # Without waiting: to open a pipe takes as long as until somebody writes to it.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a file")
    return open(descriptor, "rb")


def content(path: Path, most: int) -> bytes:
    """All that the file holds.

    Raises:
        OSError: as `opened`.
        ValueError: it holds more than `most` bytes.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise ValueError(f"{size} bytes")
        return file.read()


def text(path: Path, most: int) -> str:
    """The same as text in UTF-8, which else is a ValueError."""
    return content(path, most).decode("utf-8")
