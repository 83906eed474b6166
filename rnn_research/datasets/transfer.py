"""One request for a file over HTTP: what has come before is kept, and only the rest asked for (RFC 9110, 14)."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from contextlib import suppress
from contextvars import ContextVar
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib import request
from urllib.error import HTTPError

from tqdm import tqdm

from rnn_research.records.bar_width import bar_width

log = logging.getLogger(__name__)
TIMEOUT = 30.0  # seconds without a byte
EVERY = 5.0  # seconds from one line to the next, where there is no terminal
MOST = 1 << 28
"""Bytes of a file: known data have some millions."""
BLOCK = 1 << 16
shows_bar: ContextVar[bool] = ContextVar("shows_bar", default=False)
"""Whether a bar may be drawn on the terminal; the log has lines otherwise."""


class Cut(OSError):
    """The connection ended before the file did."""


class Part:
    """What has come of a file, and of which version of it."""

    def __init__(self, path: Path) -> None:
        self.path, self._about = path, path.with_name(f"{path.name}.json")

    @property
    def size(self) -> int:
        """Bytes that have come."""
        with suppress(OSError):
            return self.path.stat().st_size
        return 0

    def about(self, url: str) -> dict[str, Any]:
        """What was said of the version that these bytes are of: `size`, `tag`, `modified`, each None where it was not;
        empty where nothing is known, or where it came from elsewhere."""
        with suppress(OSError, ValueError):
            said = json.loads(self._about.read_text(encoding="utf-8"))
            if isinstance(said, dict) and said.get("url") == url and self.path.is_file():
                return said
        return {}

    def begin(self, about: dict[str, Any]) -> None:
        """Forget what has come: another version comes."""
        self.forget()
        self._about.write_text(json.dumps(about), encoding="utf-8")

    def forget(self) -> None:
        """Leave nothing."""
        self.path.unlink(missing_ok=True)
        self._about.unlink(missing_ok=True)


def receive(url: str, part: Part) -> int:
    """Fetch a file, or what is still to come of it. Returns how many bytes had come before, of this version.

    Raises:
        Cut: the connection ended too early; what has come is kept.
        OSError, HTTPException: there is no connection, or the server refuses; of a file here with its `filename`.
    """
    about = part.about(url)
    start = part.size if about else 0
    if start and start == about.get("size"):
        return start
    try:
        with _opener().open(_request(url, start, about), timeout=TIMEOUT) as answer:
            if answer.status == 206 and not (start and _goes_on(answer, start, about)):
                start = -1
            elif answer.status != 206:
                part.begin(_about(url, answer))
                start = 0
            if start >= 0:
                _append(answer, part, start)
                return start
    except HTTPError as error:
        error.close()
        if error.code != 416 or not start:  # nothing from there on: it is another version
            raise
    part.forget()
    if start == -1 and not about:
        raise HTTPException("the server sent a part that nobody asked for")
    return receive(url, part)


def _opener() -> request.OpenerDirector:
    """Knows http and https alone, so that an address that points elsewhere leads to no other."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler,
        request.UnknownHandler,
        request.HTTPHandler,
        request.HTTPSHandler,
        request.HTTPDefaultErrorHandler,
        request.HTTPRedirectHandler,
        request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _request(url: str, start: int, about: dict[str, Any]) -> request.Request:
    headers = {"User-Agent": "rnn_research", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if version := about.get("tag") or about.get("modified"):
            headers["If-Range"] = version
    return request.Request(url, headers=headers)


def _about(url: str, answer: Any) -> dict[str, Any]:
    tag = answer.headers.get("ETag")
    strong = tag if tag and not tag.startswith("W/") else None  # a weak one does not promise the same bytes
    return {"url": url, "size": answer.length, "tag": strong, "modified": answer.headers.get("Last-Modified")}


def _goes_on(answer: Any, start: int, about: dict[str, Any]) -> bool:
    """Whether a part begins where the bytes that have come end, and is of their version."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != start:
        return False
    said = _about("", answer)
    same = [(said[name], about.get(name)) for name in ("tag", "modified")]
    same.append((None if found[2] == "*" else int(found[2]), about.get("size")))
    return all(one == other for one, other in same if one is not None and other is not None)


def _append(answer: Any, part: Part, start: int) -> None:
    rest = answer.length
    total = None if rest is None else start + rest
    if (total or 0) > MOST:
        raise HTTPException(f"the file has {total:,} bytes, and {MOST:,} at most are fetched")
    shown, size = _Shown(part.path.name.removesuffix(".part"), start, total), start
    try:
        with part.path.open("ab") as file:
            while block := _block(answer):
                size += len(block)
                if size > MOST:
                    raise HTTPException(f"more than {MOST:,} bytes came")
                try:
                    file.write(block)
                    file.flush()
                except OSError as error:
                    error.filename = str(part.path)
                    raise
                shown.add(len(block))
    finally:
        shown.close()
    if total is not None and size != total:
        raise Cut(f"the connection ended after {size} of {total} bytes; the next start goes on from there")


def _block(answer: Any) -> bytes:
    try:
        return answer.read1(BLOCK)
    except TimeoutError as error:
        raise Cut(f"nothing came for {TIMEOUT:g} seconds; the next start goes on from there") from error
    except (OSError, HTTPException) as error:
        raise Cut(f"the connection broke ({error}); the next start goes on from there") from error


class _Shown:
    """How much has come: a bar on a terminal, else a line in the log now and then."""

    def __init__(self, name: str, start: int, total: int | None) -> None:
        self.name, self.size, self.total = name, start, total
        self.begun = self.said = time.monotonic()
        self.bar: tqdm[Any] | None = None
        of = "" if total is None else f" ({_megabytes(total)})"
        log.info("dataset: %s: downloading%s%s", name, of, f" from {_megabytes(start)} on" if start else "")
        if shows_bar.get() and sys.stderr is not None and sys.stderr.isatty():
            scale = {"unit": "B", "unit_scale": True, "leave": False, **bar_width()}
            self.bar = tqdm(total=total, initial=start, desc=name, **scale)

    def add(self, size: int) -> None:
        """Some more has come."""
        self.size += size
        if self.bar is not None:
            self.bar.update(size)
        elif (now := time.monotonic()) - self.said >= EVERY:
            self.said = now
            of = "" if self.total is None else f" of {_megabytes(self.total)}"
            log.info("dataset: %s: %s%s", self.name, _megabytes(self.size), of)

    def close(self) -> None:
        """No more comes."""
        if self.bar is not None:
            self.bar.close()


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
