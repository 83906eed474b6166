"""The files of a folder or of an archive, by their names: read in memory, nothing is written.

An archive comes from elsewhere: what its members are called says nothing of where anything goes, and what they say of
their sizes is not believed.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from rnn_research.datasets.own.files import bytes_of, refusal

LARGEST = 1 << 29
"""Bytes of all files together."""
UNPACKED = 1 << 31
"""Bytes of an archive once it is unpacked, with what is not wanted."""
BLOCK = 1 << 16
BROKEN = (OSError, EOFError, KeyError, RuntimeError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
PACKED: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
"""What unpacks a file, by its first two bytes."""


def published_files(root: Path, wanted: Callable[[str], bool], what: str) -> Mapping[str, bytes]:
    """The contents of every wanted file below `root`, by its name without folders; of gzipped ones without their `.gz`.

    Of two files with one name the one in the upper folder is read.

    Args:
        root: a folder with the files, a folder with archives of them, or an archive.
        wanted: told a file's name.
        what: what the files are, for a message.

    Raises:
        ValueError: none is there, or one can't be read, or they are too large.
    """
    if not root.exists():
        raise ValueError(f"dataset.root: given {root}, which is not there, expected {what}; check the path")
    paths = sorted(path for path in root.rglob("*") if path.is_file()) if root.is_dir() else [root]
    found = files_of(sorted(paths, key=lambda path: len(path.parts)), wanted)
    if not found:
        raise ValueError(f"dataset.root: {root} has none of the files, expected {what}, or an archive of them")
    return found


def files_of(paths: Iterable[Path], wanted: Callable[[str], bool]) -> Mapping[str, bytes]:
    """The contents of the wanted ones of these files, by name, and of what only archives among them hold: some sets are
    published as an archive and a file beside it.

    Raises:
        ValueError: one can't be read, or they are too large.
    """
    found: dict[str, bytes] = {}
    paths, room = list(paths), _Room(LARGEST)
    for path in paths:
        name = plain_name(path)
        if wanted(name) and name not in found:
            found[name] = _read(path, room)
    for path in paths:
        if path.name.lower().endswith(ARCHIVES):
            _add_members(path, wanted, room, found)
    return found


def plain_name(path: Path) -> str:
    """A file's name; of a gzipped file, which is no archive, without its `.gz`."""
    return path.name if path.name.endswith(".tar.gz") else path.name.removesuffix(".gz")


class _TooLarge(ValueError):
    """More comes out of an archive than there is room for."""


class _Room:
    """How many bytes may still be read."""

    def __init__(self, most: int) -> None:
        self.most = self.left = most

    def read(self, file: Any, path: Path) -> bytes:
        """All that is in an open file.

        Raises:
            _TooLarge: it is more than there is room for.
        """
        content = file.read(self.left + 1)
        if len(content) > self.left:
            raise _TooLarge(f"dataset.root: {path} holds more than {self.most:,} bytes, which is refused")
        self.left -= len(content)
        return content


class _Bounded(io.RawIOBase):
    """A stream that ends in an error where more than `UNPACKED` bytes are read of it."""

    def __init__(self, stream: Any, path: Path) -> None:
        self._stream, self._path, self._left = stream, path, UNPACKED

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Some bytes."""
        if not 0 <= size <= self._left:
            raise _TooLarge(f"dataset.root: {self._path} unpacks to more than {UNPACKED:,} bytes, which is refused")
        content = self._stream.read(size)
        self._left -= len(content)
        return content

    def close(self) -> None:
        self._stream.close()
        super().close()


def _read(path: Path, room: _Room) -> bytes:
    try:
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
            return room.read(file, path)
    except BROKEN as error:
        raise ValueError(f"dataset.root: can't read {path} ({error}); fetch the file again") from None


def unpacked(path: Path) -> bytes:
    """A file's contents; of a gzipped one what was packed.

    Raises:
        ValueError: it can't be read, or is damaged.
    """
    content = bytes_of(path)
    try:
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except BROKEN as error:
        raise refusal(path, f"found a gzip file that is damaged ({error})", repair="fetch it again") from None


def _add_members(path: Path, wanted: Callable[[str], bool], room: _Room, found: dict[str, bytes]) -> None:
    """Add what an archive holds and `found` does not."""

    def lacks(name: str) -> bool:
        return wanted(name) and name not in found

    try:
        if path.name.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                for member in archive.infolist():
                    if lacks(name := member.filename.rpartition("/")[2]):
                        with archive.open(member) as file:
                            found[name] = room.read(file, path)
        else:
            with closing(_unpacked(path)) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
                for entry in archive:
                    if entry.isreg() and lacks(name := entry.name.rpartition("/")[2]):
                        found[name] = room.read(archive.extractfile(entry), path)
    except _TooLarge:
        raise
    except (*BROKEN, ValueError, struct.error) as error:  # of numbers and names in headers
        raise ValueError(f"dataset.root: can't read {path} ({error}); fetch the file again") from None


def _unpacked(path: Path) -> _Bounded:
    with path.open("rb") as file:
        start = file.read(2)
    return _Bounded(PACKED.get(start, open)(path, "rb"), path)
