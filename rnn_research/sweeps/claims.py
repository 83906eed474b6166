"""Claims of run folders: of several processes that want one folder, on one machine or on many, one gets it.

A claim is a file that can be created once (O_EXCL, which also holds on NFS). It says who made it, so that the claim of
a process that is gone blocks nobody: the next process claims beside it, under the next number. A claim is given back
when its run is over; what guards the folder from then on is the run that lies in it.

No two clocks are compared. Whether a process of this machine is there, the machine says. The claims of a queue grow by
one byte every few seconds (`heart`), and an `Observer` on another machine finds one silent that has not grown for so
long by the observer's own clock. A process that finds its claim gone, or another beside it, ends at once: `confirm`.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from rnn_research.errors import FolderInUse
from rnn_research.records import whole_file
from rnn_research.sweeps.observer import Observer

NAME = ".claim-{}"
LARGEST = 1 << 24  # bytes of a claim, which grows by one every few seconds
JUST_MADE = 60.0  # seconds in which a claim may still be empty: it is written just after it is made


class Held(NamedTuple):
    """A claim of this process: its file, and the text by which it is known as this process's."""

    path: Path
    token: str


_held: dict[tuple[str, int], Held] = {}
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


def claim(folder: Path, observer: Observer | None = None, mark: str = "") -> None:
    """Take `folder`, until `release`.

    Args:
        observer: judges the claims of other machines; None: they are respected.
        mark: what the claim says beside its maker, for `deaths`.

    Raises:
        Claimed: another has it.
        OSError: the folder can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number, started = 0, _started(os.getpid())
    while True:
        path = folder / NAME.format(number)
        try:
            _held[_key(folder)] = _made(path, {"pid": os.getpid(), "started": started, "mark": mark})
        except FileNotFoundError:  # removed meanwhile by who found it empty
            folder.mkdir(parents=True, exist_ok=True)
            continue
        except FileExistsError:
            owner = _alive(path, observer)
            if owner:
                raise _refused(folder, owner) from None
            number = 0 if owner is None else number + 1  # given back meanwhile: another may begin at the first
            continue
        _check_alone(folder, path, observer)
        return


def _made(path: Path, said: dict[str, Any]) -> Held:
    """A new claim. It appears with all that it says, where the file system has links; else it is empty for a moment.

    Raises:
        FileExistsError: there is one.
        OSError: it can't be written, and is not there.
    """
    token = secrets.token_hex(8)
    temporary = path.with_name(f".claim.{token}")
    text = f"{json.dumps({**_here(), **said, 'folder': str(path.parent.resolve()), 'token': token})}\n"
    try:
        temporary.write_text(text, encoding="utf-8")
        try:
            os.link(temporary, path)
            return Held(path, token)
        except (FileExistsError, FileNotFoundError):
            raise
        except OSError:  # no links here
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    finally:
        _remove(temporary)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        try:
            file.write(text)
            file.flush()
        except BaseException:  # a full disk
            _remove(path)
            raise
    return Held(path, token)


def _check_alone(folder: Path, own: Path, observer: Observer | None) -> None:
    """Give way to a claim beside one's own: made by a process that found the same old claims a moment earlier or later.
    Of two that see each other both give way, and try again."""
    for path in _claims(folder):
        if path != own and (owner := _alive(path, observer)):
            _remove(_held.pop(_key(folder)).path)
            raise _refused(folder, owner)


def _refused(folder: Path, owner: str) -> Claimed:
    return Claimed(f"{folder}: another run has just been started there ({owner})")


def holder(folder: Path, observer: Observer | None = None) -> str:
    """Who holds `folder`; empty where nobody does that is still there."""
    return next(filter(None, (_alive(path, observer) for path in _claims(folder))), "")


def deaths(folder: Path, mark: str) -> int:
    """How many processes were gone before they gave `folder` back, since a claim had another mark."""
    found = 0
    own = _held.get(_key(folder))
    for path in reversed(_claims(folder)):
        if own is not None and path == own.path:
            continue
        try:
            made = _read(path)[0]
        except FileNotFoundError:  # given back meanwhile
            continue
        if made is None or made.get("mark", "") != mark:
            break
        found += 1
    return found


def made(folder: Path) -> int:
    """How many claims lie in `folder`, of processes that are there or gone."""
    return len(_claims(folder))


def release(folder: Path) -> None:
    """Give `folder` back, where this thread has it, with what is left there of processes that are gone."""
    own = _held.get(_key(folder))
    if own is None:
        return
    if _is_ours(own):
        for path in _claims(folder):
            if path != own.path:
                _remove(path)
        _remove(own.path)
    _held.pop(_key(folder), None)


def release_all() -> None:
    """Give back all that this process has: it ends."""
    while _held:
        _remove(_held.popitem()[1].path)


def confirm(folder: Path) -> bool:
    """Whether this process still holds `folder`, or never claimed it: before something is written there that another
    may have taken up."""
    own = [held for (name, _), held in list(_held.items()) if name == str(folder.resolve())]
    return all(_is_ours(held) for held in own)


def _is_ours(held: Held) -> bool:
    """Whether the claim is still the one that was made, and no other process has claimed after it."""
    number = int(held.path.name.rpartition("-")[2])
    try:
        made, _ = _read(held.path)
    except FileNotFoundError:
        return False
    found = made is None or made.get("token") == held.token
    return found and not os.path.lexists(held.path.with_name(NAME.format(number + 1)))


def beat() -> list[Path]:
    """Let the claims of this process grow by a byte, and return the folders of those that are lost."""
    lost = []
    for held in list(_held.values()):
        if not _is_ours(held):
            if held in _held.values():  # and was not given back meanwhile
                lost.append(held.path.parent)
            continue
        with contextlib.suppress(OSError):
            descriptor = os.open(held.path, os.O_WRONLY | os.O_APPEND)
            try:
                os.write(descriptor, b".")
            finally:
                os.close(descriptor)
    return lost


def _claims(folder: Path) -> list[Path]:
    found = [path for path in folder.glob(NAME.format("*")) if path.name.rpartition("-")[2].isdecimal()]
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _key(folder: Path) -> tuple[str, int]:
    return str(folder.resolve()), threading.get_ident()


def _read(path: Path) -> tuple[dict[str, Any] | None, int]:
    """What a claim says, None where that is nothing yet; and its size.

    Raises:
        FileNotFoundError: it was given back.
    """
    try:
        text = whole_file.content(path, LARGEST).decode("utf-8", "replace")
    except FileNotFoundError:
        raise
    except (OSError, ValueError):  # no file, or a moment's trouble of a network
        return None, 0
    try:
        made = json.loads(text.partition("\n")[0])
        return {**made, "host": str(made["host"]), "pid": int(made["pid"]), "started": made["started"]}, len(text)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None, len(text)


def _alive(path: Path, observer: Observer | None = None) -> str | None:
    """Who made the claim; empty where that process is known to be gone, None where the claim was given back."""
    try:
        made, size = _read(path)
        if made is None:
            old = observer.silent(path, size) if observer else time.time() - path.lstat().st_mtime > JUST_MADE
            return "" if old else "it has not yet said which"
    except FileNotFoundError:
        return None
    pid, here = made["pid"], _here()
    if any(made.get(key, here[key]) != here[key] for key in here):
        if observer is None:
            return f"process {pid} on {made['host']}; if that is gone, remove {path}"
        return "" if observer.silent(path, size) else f"process {pid} on {made['host']}"
    if made.get("folder", str(path.parent.resolve())) != str(path.parent.resolve()):
        return ""  # a copy of a folder that was claimed
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except (OSError, OverflowError):  # another user's
        pass
    now = _started(pid)
    return "" if made["started"] and now and now != made["started"] else f"process {pid}"


@cache
def _here() -> dict[str, str]:
    """Where a process number means one process and a path one folder: on this host, since it was started, in this
    container."""
    found = {"host": socket.gethostname()}
    with contextlib.suppress(OSError):
        found["boot"] = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        found["spaces"] = f"{os.readlink('/proc/self/ns/pid')} {os.readlink('/proc/self/ns/mnt')}"
    return found


def _started(pid: int) -> str:
    """When a process started, as the system counts; empty where it doesn't tell, or the process has ended and nobody
    has taken note of that."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return "ended" if state in "ZX" else rest[18]
    except (OSError, IndexError, ValueError):
        return ""
