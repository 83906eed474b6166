"""Whose data these are, and what may be done with them: said once on a machine."""

from __future__ import annotations

import logging
from contextlib import suppress

from rnn_research.records.cache_folder import cache_folder

log = logging.getLogger(__name__)
_said: set[str] = set()
"""What this process has said."""


def say_once(name: str, licence: str, citation: str) -> None:
    """Log a data set's licence and citation, unless that was done on this machine: a file in the cache holds them, and
    says so."""
    text = f"{name} ({licence}). {citation}"
    if text in _said:
        return
    _said.add(text)
    above = cache_folder()
    path = None if above is None else above / "licences" / f"{name}.txt"
    with suppress(OSError, ValueError):
        if path is not None and path.read_text(encoding="utf-8") == text:
            return
    log.info("dataset: %s", text)
    with suppress(OSError):  # it is said again
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
