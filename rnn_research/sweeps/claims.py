"""Claims of output folders: of several processes that start in one folder at once, one gets it.

A claim is a file that can be created once (O_EXCL, which also holds on NFS). It says who made it, so that the claim of
a process that was killed blocks nobody: the next process claims beside it, under the next number. A claim is given back
when its run is over; what guards the folder from then on is the run that lies in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from rnn_research.errors import FolderInUse

NAME = ".claim-{}"
JUST_MADE = 60.0  # seconds in which a claim may still be empty: it is written just after it is made
_held: dict[tuple[str, int], Path] = {}
"""The claims of this process, by folder and thread."""


class Claimed(FolderInUse):
    """Another process has the folder: the message says which, and the repair."""


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold `folder`, which is made where it is not there. Where this thread holds it already, nothing is done.

    Raises:
        Claimed: another has it.
    """
    if _key(folder) in _held:
        yield
        return
    claim(folder)
    try:
        yield
    finally:
        release(folder)


def claim(folder: Path) -> None:
    """Take `folder`, until `release`.

    Raises:
        Claimed: another has it.
        OSError: the folder can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    while True:
        path = folder / NAME.format(number)
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            if owner := _alive(path):
                raise Claimed(f"{folder}: another run has just been started there ({owner})") from None
            number += 1
            continue
        _held[_key(folder)] = path
        said = {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(said, file)
        except BaseException:  # a full disk
            release(folder)
            raise
        return


def holder(folder: Path) -> str:
    """Who holds `folder`; empty where nobody does that is still there."""
    return next(filter(None, map(_alive, sorted(folder.glob(NAME.format("*"))))), "")


def release(folder: Path) -> None:
    """Give `folder` back, where this thread has it."""
    _remove(_held.pop(_key(folder), None))


def release_all() -> None:
    """Give back all that this process has: it ends."""
    while _held:
        _remove(_held.popitem()[1])


def _remove(path: Path | None) -> None:
    if path is not None:
        with contextlib.suppress(OSError):
            path.unlink()


def _key(folder: Path) -> tuple[str, int]:
    return str(folder.resolve()), threading.get_ident()


def _alive(path: Path) -> str:
    """Who made the claim; empty where that process is known to be gone, or the claim was given back."""
    try:
        text, age = path.read_text(encoding="utf-8"), time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return ""
    try:
        made = json.loads(text)
        host, pid, started = str(made["host"]), int(made["pid"]), made["started"]
    except (ValueError, KeyError, TypeError):
        return "" if age > JUST_MADE else "it has not yet said which"
    if host != socket.gethostname():
        return f"process {pid} on {host}; if that is gone, remove {path}"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except (OSError, OverflowError):  # another user's
        pass
    now = _started(pid)
    return "" if started and now and now != started else f"process {pid}"


def _started(pid: int) -> str:
    """When a process started, as the system counts; empty where it doesn't tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
