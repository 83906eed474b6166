"""The heart of a worker: its claims grow while it lives, and it ends where another has taken one up."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from rnn_research.sweeps import claims

BEAT = 2.0
"""Seconds between beats."""
LOST = 75
"""The exit code of a process that lost its run to another: to try again is right."""
_watched: set[str] = set()


def watch(folder: Path) -> None:
    """From now on this process ends where its claim of `folder` is lost: two never write into one run."""
    _watched.add(str(folder.resolve()))


def forget(folder: Path) -> None:
    """No more."""
    _watched.discard(str(folder.resolve()))


def confirm(folder: Path) -> None:
    """End this process where its claim of `folder` is lost. Before something is written there."""
    if _watched and str(folder.resolve()) in _watched and not claims.confirm(folder):
        _end(folder)


def start() -> None:
    """Beat in a thread of this process, until it ends."""
    threading.Thread(target=_beat, daemon=True, name="heart").start()


def _beat() -> None:
    waiting = threading.Event()
    while not waiting.wait(BEAT):
        for folder in claims.beat():
            if str(folder.resolve()) in _watched:
                _end(folder)


def _end(folder: Path) -> None:
    text = f"{folder}: its claim is gone or another process has taken the run up; this one ended without writing more\n"
    os.write(2, text.encode(errors="replace"))
    sys.stderr.flush()
    os._exit(LOST)
