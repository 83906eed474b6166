"""The one folder that keeps what can be made or fetched again: compiled libraries, downloaded archives."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path | None:
    """`$RNN_RESEARCH_CACHE`, or `rnn_research` in `$XDG_CACHE_HOME`, or in `~/.cache`.

    None: this user has no home, as in some containers.
    """
    own, above = os.environ.get("RNN_RESEARCH_CACHE"), os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(own).expanduser() if own else Path(above).expanduser() / "rnn_research"
    except RuntimeError:
        return None
