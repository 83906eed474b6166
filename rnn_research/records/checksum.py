"""A checksum inside a checkpoint, so that one changed bit is noticed before training goes on from it.

torch's checkpoints are zip files, which may end in a comment: the checksum is that comment, of all bytes before it. One
file holds both, so they are written, moved and copied together, and torch and every zip program read it as before.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from rnn_research.records import whole_file

END = b"PK\x05\x06"
"""Begins a zip's last record, of 22 bytes, whose last two are the length of the comment that follows."""
LABEL = b"sha256:"
COMMENT = len(LABEL) + 64


class DamagedCheckpoint(ValueError):
    """A checkpoint that is not what was written: says what was found."""


def seal(path: Path) -> None:
    """Add the checksum to a zip file that has no comment yet, and sync it."""
    with path.open("r+b") as file:
        file.seek(-22, os.SEEK_END)
        last = file.read()
        if last[:4] != END or last[20:] != b"\0\0":
            raise DamagedCheckpoint(f"{path}: not a zip file without a comment")
        file.seek(-2, os.SEEK_END)
        file.write(COMMENT.to_bytes(2, "little"))
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0, os.SEEK_END)
        file.write(LABEL + digest.encode())
        file.flush()
        os.fsync(file.fileno())


def write_sealed(path: Path, write: Callable[[Path], None], previous: Path | None = None) -> None:
    """Let `write` make a zip file beside `path`, seal it, and move it over `path` in one step.

    Args:
        previous: where the file that was there is kept.
    """
    temporary = path.with_name(f".{path.name}")
    try:
        write(temporary)
        seal(temporary)
        if previous is not None and path.exists():
            os.replace(path, previous)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check(path: Path) -> None:
    """Compare a file with its checksum.

    Raises:
        Damaged: it has none, or another.
        OSError: it can't be read.
    """
    found = hashlib.sha256()
    with whole_file.opened(path) as file:
        left = max(os.fstat(file.fileno()).st_size - COMMENT, 0)
        file.seek(left)
        if not (comment := file.read()).startswith(LABEL):
            raise DamagedCheckpoint("it has no checksum: cut short, or not written by this rnn_research")
        file.seek(0)
        while left and (block := file.read(min(left, 1 << 20))):  # never all of it at once
            found.update(block)
            left -= len(block)
    if comment[len(LABEL) :] != found.hexdigest().encode():
        raise DamagedCheckpoint("its checksum is not that of its content, which was changed since it was written")
