"""Files fetched once and kept whole. Nothing here knows what is in them.

What has come of a file lies beside it as `NAME.part`, with what tells the server's versions apart in `NAME.part.json`,
until all of it is there and checked: a download that was cut, or a process that was killed, goes on from there.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from rnn_research.datasets import transfer
from rnn_research.datasets.folder_lock import locked
from rnn_research.datasets.transfer import Part

log = logging.getLogger(__name__)
TRIES = 5  # of a connection that breaks when something has come
DATA = re.compile(r"[A-Za-z0-9][\w.-]{0,99}\.(zip|gz|tgz|tar|txt|tsv|csv|json|npz|label)", re.ASCII)
"""A file that nothing runs, wherever it lies: a config from elsewhere may say what is fetched, and to where."""


def download(url: str, sha256: str | None, folder: Path) -> Path:
    """The file at `url`, kept in `folder` under its own name; fetched unless it is there with this SHA-256.

    The name holds a whole, checked file or what it held before. Of processes that ask for it together one fetches it,
    and the others wait.

    Args:
        sha256: None: whoever calls checks what is in the file.

    Raises:
        ValueError: the address gives no file, or another one than expected, or `folder` can't be written.
    """
    return fetched(url, sha256, folder)[0]


def fetched(
    url: str, sha256: str | None, folder: Path, anew: bool = False, by_hand: Sequence[str] = ()
) -> tuple[Path, bool]:
    """As `download`, and whether all of the file has come right now, in one piece.

    Args:
        anew: fetch it in any case, from its start.
        by_hand: the addresses that a message asks the user to fetch where this can't; none: `url`.
    """
    path = folder / file_name(url)
    if not anew and _right(path, sha256):
        return path, False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder, lambda: log.info("dataset: another process downloads to %s; waiting for it", folder)) as ok:
            if not anew and _right(path, sha256):
                return path, False
            part = Part(folder / (f"{path.name}.part" if ok else f"{path.name}.{secrets.token_hex(4)}.part"))
            try:
                if anew:
                    part.forget()
                return path, _fetch(url, sha256, part, path)
            except (HTTPException, OSError, UnicodeError) as error:  # the last of a host or path that is no address
                if isinstance(error, OSError) and error.filename is not None and not isinstance(error, HTTPError):
                    raise  # of a file here
                raise ValueError(_by_hand(url, _reason(error), folder, by_hand)) from error
            finally:
                if not ok:
                    part.forget()
    except OSError as error:
        raise ValueError(
            f"dataset.cache: given {folder}, expected a folder that can be written ({error}); give another, or fetch "
            "the files by hand and set dataset.root to their folder"
        ) from error


def file_name(url: str) -> str:
    """The name of the file at an address.

    Raises:
        ValueError: it is no http(s) address of a data file.
    """
    repair = "mend it, or fetch the files by hand and set dataset.root to their folder"
    try:
        parts = urlsplit(url)
        name = PurePosixPath(parts.path).name
    except (TypeError, ValueError, AttributeError):  # a bracket, a number
        parts, name = None, ""
    if parts is None or parts.scheme not in ("http", "https") or not parts.netloc or not name:
        raise ValueError(f"dataset.url: given {url!r}, expected the http(s) address of a file; {repair}")
    if not DATA.fullmatch(name):
        raise ValueError(f"dataset.url: given {url!r}, expected a data file, as NAME.zip or NAME.txt; {repair}")
    return name


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's contents, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _right(path: Path, sha256: str | None) -> bool:
    return path.is_file() and (sha256 is None or sha256_of(path) == sha256)


def _fetch(url: str, sha256: str | None, part: Part, path: Path) -> bool:
    """Put the file in its place. Returns whether all of it came right now, from one version of it."""
    joined = _filled(url, part)
    if sha256 is not None and (found := sha256_of(part.path)) != sha256 and joined:
        log.info("dataset: %s: what had come before does not belong to it; from the start", path.name)
        part.forget()
        joined = _filled(url, part)
    if sha256 is not None and (found := sha256_of(part.path)) != sha256:
        size = part.size
        part.forget()
        raise ValueError(
            f"dataset.url: {url} gave {size} bytes with SHA-256 {found}, expected {sha256}: it is another file, and "
            "was deleted; try again, or fetch the files by hand and set dataset.root to their folder"
        )
    os.replace(part.path, path)
    part.forget()
    return not joined


def _filled(url: str, part: Part) -> bool:
    """Fetch what is still to come. Returns whether some had come before."""
    joined = False
    for tries in range(1, TRIES + 1):
        before = part.size
        try:
            joined |= transfer.receive(url, part) > 0
            break
        except transfer.Cut:
            if tries == TRIES or part.size <= before:
                raise
            log.info("dataset: %s was cut off after %d bytes; trying again from there", url, part.size)
    return joined


def _reason(error: Exception) -> str:
    """Why, in few words."""
    if isinstance(error, HTTPError):
        return f"the server says {error.code} {error.reason}"
    if isinstance(error, URLError):
        error = error.reason if isinstance(error.reason, Exception) else error
    if isinstance(error, TimeoutError):
        return f"nothing came for {transfer.TIMEOUT:g} seconds"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _by_hand(url: str, reason: str, folder: Path, urls: Sequence[str]) -> str:
    return " ".join(
        f"dataset.root: given none, and {url} can't be downloaded ({reason}); fetch {' and '.join(urls or [url])} by "
        f"hand into {folder}, or set dataset.root=FOLDER to one that has all of the files".split()
    )
