"""Files fetched once and kept, each known by its SHA-256. Nothing here knows what is in them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit
from urllib.request import urlopen

TIMEOUT = 30  # seconds without a byte
REPAIR = "or fetch the files by hand and set dataset.root to their folder"


def download(url: str, sha256: str | None, folder: Path) -> Path:
    """The file at `url`, kept in `folder` under its own name; fetched unless it is there with this SHA-256.

    The name holds a whole, verified file or what it held before: a failed fetch leaves nothing behind. Without a
    SHA-256 whoever calls checks what is in the file.

    Raises:
        ValueError: the address gives no file, or another one than expected, or `folder` can't be written.
    """
    path = folder / _name(url)
    if path.is_file() and (sha256 is None or _sha256(path) == sha256):
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f"{path.name}.")
    except OSError as error:
        raise ValueError(
            f"dataset.cache: given {folder}, expected a folder that can be written ({error}); give another, {REPAIR}"
        ) from error
    try:
        with os.fdopen(handle, "wb") as out, urlopen(url, timeout=TIMEOUT) as answer:
            shutil.copyfileobj(answer, out)
        if sha256 is not None:
            _verify(Path(temporary), url, sha256)
        os.replace(temporary, path)
    except (OSError, HTTPException) as error:
        raise ValueError(
            f"dataset.url: given {url}, expected a file there, found {error!r}; check the network, {REPAIR}"
        ) from error
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path


DATA = re.compile(r"[A-Za-z0-9][\w.-]*\.(zip|gz|tgz|tar|txt|tsv|csv|json|npz|label)")
"""A file that nothing runs, wherever it lies: a config from elsewhere may say what is fetched, and to where."""


def _name(url: str) -> str:
    parts = urlsplit(url)
    name = PurePosixPath(parts.path).name
    if parts.scheme not in ("http", "https") or not parts.netloc or not name:
        raise ValueError(f"dataset.url: given {url!r}, expected the http(s) address of a file; mend it, {REPAIR}")
    if not DATA.fullmatch(name):
        raise ValueError(
            f"dataset.url: given {url!r}, expected a data file, as NAME.zip or NAME.txt; mend it, {REPAIR}"
        )
    return name


def _verify(path: Path, url: str, sha256: str) -> None:
    found = _sha256(path)
    if found != sha256:
        raise ValueError(
            f"dataset.url: {url} gave {path.stat().st_size} bytes with SHA-256 {found}, expected {sha256}: "
            f"the file was cut short or is another one; try again, {REPAIR}"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
