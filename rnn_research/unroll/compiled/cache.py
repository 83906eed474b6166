"""The folder where compiled libraries are kept: whether it is this user's alone, who makes a library there, and what a
killed process left.

Nothing here is needed for a right library: a file appears whole or not at all, and two that are made at once are the
same. So nobody waits for another process longer than `WAIT`: it may have been stopped.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import shutil
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

WAIT = 4.0  # seconds for another process that makes the same library, about twice what one takes
QUIET = 1.0  # seconds after which a line says what takes so long
LEFT = 900.0  # seconds after which what is being made was left by a process that was killed
DIGEST = 32
_tired: set[str] = set()
"""Folders in which this process waited in vain: it does so once."""


def unsafe(folder: Path) -> str:
    """Why libraries may not be loaded from a folder, which is made for this user alone where there is none; empty where
    they may: nobody else can have put, or can put, something there."""
    try:
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
        if not folder.is_dir():
            return f"{folder} is no folder; give RNN_RESEARCH_CACHE=FOLDER, or leave it out"
        for path in _visited(folder):
            info, last = path.lstat(), path.resolve() == folder.resolve()
            if why := _foreign(info, last):
                mend = f"; chmod 700 {path}" if info.st_uid == _user() else ""
                return f"{path} {why}{mend}"
    except OSError as error:
        return f"{folder} can't be used ({error.strerror or error})"
    return ""


def read(path: Path) -> bytes | None:
    """The content of a library, where the file is whole, this user's alone, and was made under this name."""
    try:
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # a pipe is not waited for
        with open(os.open(path, flags), "rb") as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode) or _foreign(info, last=True):
                return None
            content = file.read()
    except OSError:
        return None
    return content if len(content) > DIGEST and _digest(path, content[:-DIGEST]) == content[-DIGEST:] else None


def put(made: Path, path: Path) -> None:
    """Move a new library to its name, with the hash that `read` wants at its end."""
    content = made.read_bytes()
    made.write_bytes(content + _digest(path, content))
    made.chmod(0o700)
    os.replace(made, path)


@contextlib.contextmanager
def turn(path: Path) -> Iterator[None]:
    """Wait while another process makes this library, where the file system knows locks, but no longer than `WAIT`."""
    with contextlib.ExitStack() as stack:
        try:
            import fcntl
        except ImportError:
            yield
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        lock = stack.enter_context(open(os.open(path.parent / ".lock", flags, 0o600), "r+b"))
        byte = int(hashlib.sha256(path.name.encode()).hexdigest()[:15], 16)  # of one file, a byte for each library
        end = time.monotonic() + (0 if str(path.parent) in _tired else WAIT)

        def taken() -> bool:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            except OSError:
                return False
            return True

        if not path.exists() and not taken():
            with saying(f"waiting for another process, which compiles {path}; for {WAIT:g} s at most"):
                while not path.exists() and not taken():
                    if time.monotonic() > end:
                        _tired.add(str(path.parent))
                        break
                    time.sleep(0.02)
        yield


@contextlib.contextmanager
def saying(text: str) -> Iterator[None]:
    """Say `text`, when what is done here has taken longer than `QUIET`."""
    timer = threading.Timer(QUIET, say, [text])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@functools.cache
def say(text: str) -> None:
    """Log a warning, which reaches the terminal, the first time that it is given."""
    log.warning("%s", text)


def sweep(folder: Path) -> None:
    """Remove what processes that were killed have left half made."""
    for path in folder.glob(".making-*"):
        with contextlib.suppress(OSError):
            if time.time() - path.lstat().st_mtime > LEFT:
                shutil.rmtree(path, ignore_errors=True)


def _digest(path: Path, content: bytes) -> bytes:
    """With the name: a library of ours under another one's name is another's."""
    return hashlib.sha256(path.name.encode() + b"\0" + content).digest()


def _visited(folder: Path) -> list[Path]:
    """Every folder and link on the way to a folder, links followed."""
    todo, here, found = [*reversed(folder.absolute().parts)], Path(folder.absolute().anchor), []
    while todo and len(found) < 200:
        part = todo.pop()
        here = here.parent if part == os.pardir else here / part
        found.append(here)
        if here.is_symlink():
            target = Path(os.readlink(here))
            here = Path(target.anchor) if target.is_absolute() else here.parent
            todo += reversed(target.parts)
    return found


def _foreign(info: os.stat_result, last: bool) -> str:
    """What is wrong with a file's or folder's owner or mode.

    Args:
        last: it is the cache itself, or a file in it; those above it may be the system's, and a folder such as /tmp,
            where nobody can replace another's, may be written to by all.
    """
    if _user() < 0:  # a system without owners of this kind
        return ""
    if info.st_uid != _user() and (last or (stat.S_ISLNK(info.st_mode) and info.st_uid != 0)):
        return "is another user's"
    if stat.S_ISLNK(info.st_mode) or (not last and info.st_mode & stat.S_ISVTX):
        return ""
    group = info.st_mode & stat.S_IWGRP and info.st_uid == _user() and not _alone_in(info.st_gid)
    return "can be written to by others" if info.st_mode & stat.S_IWOTH or group else ""


def _alone_in(group: int) -> bool:
    """Whether a group is the user's own, as many systems give to each, which lets them write to what others can't."""
    try:
        import grp
        import pwd

        name = pwd.getpwuid(_user()).pw_name
        found = grp.getgrgid(group)
    except (ImportError, KeyError):
        return False
    return found.gr_name == name and set(found.gr_mem) <= {name}


def _user() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else -1
