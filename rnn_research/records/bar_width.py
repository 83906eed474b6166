"""How wide a progress bar on stderr may be."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any


def bar_width() -> dict[str, Any]:
    """tqdm's arguments: as wide as the terminal, where that tells (some have 0 by 0)."""
    with suppress(OSError, ValueError):
        if os.get_terminal_size(sys.stderr.fileno()).columns:
            return {"dynamic_ncols": True}
    return {"ncols": 100, "nrows": 20}
