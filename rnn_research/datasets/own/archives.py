"""The files of a folder or of an archive, by their names: read in memory, nothing is written."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from rnn_research.datasets.own.files import bytes_of, refusal

LARGEST = 1 << 31
"""Bytes of one file in an archive."""
BROKEN = (OSError, EOFError, KeyError, RuntimeError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")


def published_files(root: Path, wanted: Callable[[str], bool], what: str) -> Mapping[str, bytes]:
    """The contents of every wanted file below `root`, by its name without folders; of gzipped ones without their `.gz`.

    Args:
        root: a folder with the files, a folder with archives of them, or an archive.
        wanted: told a file's name.
        what: what the files are, for a message.

    Raises:
        ValueError: none is there, or one can't be read.
    """
    if not root.exists():
        raise ValueError(f"dataset.root: given {root}, which is not there, expected {what}; check the path")
    paths = sorted(path for path in root.rglob("*") if path.is_file()) if root.is_dir() else [root]
    found: dict[str, bytes] = {}
    for path in paths:
        name = path.name.removesuffix(".gz") if not path.name.endswith(".tar.gz") else path.name
        if wanted(name):
            found.setdefault(name, _read(path))
    if not found:
        for path in paths:
            if path.name.lower().endswith(ARCHIVES):
                found |= _members(path, wanted)
    if not found:
        raise ValueError(f"dataset.root: {root} has none of the files, expected {what}, or an archive of them")
    return found


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.name.endswith(".gz") else content
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


def _members(path: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    found = {}
    try:
        if path.name.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                for member in archive.infolist():
                    if wanted(name := member.filename.rpartition("/")[2]) and _fits(path, name, member.file_size):
                        found[name] = archive.read(member)
        else:
            with tarfile.open(path) as archive:
                for entry in archive:
                    if (
                        entry.isfile()
                        and wanted(name := entry.name.rpartition("/")[2])
                        and _fits(path, name, entry.size)
                    ):
                        found[name] = (archive.extractfile(entry) or io.BytesIO()).read()
    except BROKEN as error:
        raise ValueError(f"dataset.root: can't read {path} ({error}); fetch the file again") from None
    return found


def _fits(path: Path, name: str, size: int) -> bool:
    if size > LARGEST:
        raise ValueError(f"dataset.root: {name} in {path} has {size} bytes, expected {LARGEST} at most")
    return True
