"""An HTTP server as they are in the world: it cuts, knows no ranges, changes its files, points elsewhere, or hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Served:
    """A file, and how it is served.

    Attributes:
        cuts: after how many bytes each answer ends, in turn; none left: not at all.
        ranges: whether a part can be asked for.
        tag, modified: what tells versions apart, where the server says so.
        length: whether the length is announced.
        seconds: to wait before anything, and before each block.
        gate: what must be set before anything is sent.
        moved: where it is in truth.
    """

    content: bytes
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    tag: str | None = '"1"'
    modified: str | None = None
    length: bool = True
    seconds: float = 0.0
    moved: str | None = None
    block: int = 1 << 20
    gate: threading.Event | None = None


class Handler(BaseHTTPRequestHandler):
    """Serves `files`, and notes what was asked for: the path, and from which byte on."""

    files: dict[str, Served]
    asked: list[tuple[str, int]]

    def do_GET(self) -> None:
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.asked.append((self.path, start))
        served = self.files.get(self.path)
        if served is None:
            self.send_error(404)
        elif served.moved is not None:
            self.send_response(302)
            self.send_header("Location", served.moved)
            self.end_headers()
        else:
            self._send(served, start)

    def _send(self, served: Served, start: int) -> None:
        whole, same = len(served.content), self.headers.get("If-Range") in (None, served.tag, served.modified)
        if start >= whole and served.ranges and same and start:
            self.send_error(416)
            return
        if not (served.ranges and same):
            start = 0
        self.send_response(206 if start else 200)
        if served.length:
            self.send_header("Content-Length", str(whole - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        for name, value in (("ETag", served.tag), ("Last-Modified", served.modified)):
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if served.gate is not None:
            served.gate.wait(timeout=200)
        end = start + served.cuts.pop(0) if served.cuts else whole
        for place in range(start, min(end, whole), served.block):
            time.sleep(served.seconds)
            self.wfile.write(served.content[place : min(end, place + served.block)])

    def log_message(self, format: str, *args: Any) -> None:
        pass


class QuietServer(ThreadingHTTPServer):
    """Says nothing of clients that go away."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[Any]:
    """The handler of a server that runs meanwhile: its `files`, what was `asked`, and its `address`."""
    handler: Any = type("OneHandler", (Handler,), {"asked": [], "files": {}})
    with QuietServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        handler.address = f"http://127.0.0.1:{http.server_port}"
        yield handler
        http.shutdown()
