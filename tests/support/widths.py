"""The widths of vectors that x86-64 has, by its levels, and which of them this CPU has. Imports no torch."""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path

LEVELS = {"v2": ("sse4_2",), "v3": ("avx2", "fma"), "v4": ("avx512f", "avx512vl", "avx512dq")}
"""What tells each."""


def flags(level: str) -> str:
    """The compiler's flags for a level, with the tuning for Zen 3: with it, gcc leaves lone sums unfused where it may
    choose."""
    return f"-march=x86-64-{level} -mtune=znver3"


def missing(level: str) -> str:
    """What of a level this CPU has not; empty: nothing."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return "x86-64"
    known: list[str] = []
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        known = next((line.split() for line in lines if line.startswith("flags")), [])
    return ", ".join(needed for needed in LEVELS[level] if needed not in known)
