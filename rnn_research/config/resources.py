"""How much memory this process can still have, and sizes as people read them. Knows the system alone."""

from __future__ import annotations

import contextlib
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
FIRST = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
SECOND = ("memory.max", "memory.current", "inactive_file")
"""The files of control groups, by version: the limit, what is used, and what part of that is cache."""


def available() -> int:
    """Bytes of memory that this process can still take: of the machine, of the container (cgroup) that it is in, and
    under its own limit (ulimit -v), whichever is least."""
    return max(0, min(_machine(), _cgroup(), _limit()))


def files() -> int:
    """How many more files this process can open."""
    return _left("RLIMIT_NOFILE", "/proc/self/fd")


def processes() -> int:
    """How many processes this user can start at all."""
    return _left("RLIMIT_NPROC")


def _left(limit: str, used: str = "") -> int:
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import resource

        most = resource.getrlimit(getattr(resource, limit))[0]
        if most != resource.RLIM_INFINITY:
            return most - (len(list(Path(used).iterdir())) if used else 0)
    return 1 << 62


def size(count: float) -> str:
    """A number of bytes, as "1.5 GB"."""
    for unit, scale in (("EB", 1e18), ("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}" if count < 1e21 else f"{count / scale:.0e} {unit}"
    return f"{count / 1e3:.3g} kB"


def _machine() -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(ImportError, OSError, ValueError, AttributeError):  # elsewhere than on Linux: all there is
        import os

        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 1 << 62


def _cgroup() -> int:
    """What the tightest limit of the process's control group and those above it leaves. Its cache counts as free."""
    least = 1 << 62
    for folder, most, used, cache in _groups():
        with contextlib.suppress(OSError, ValueError):
            limit = int((folder / most).read_text())  # "max": none
            if limit < 1 << 60:
                least = min(least, limit - int((folder / used).read_text()) + _reclaimable(folder, cache))
    return least


def _groups() -> list[tuple[Path, str, str, str]]:
    """The folders that may hold a limit, with the names of its files, of versions 1 and 2."""
    found = []
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds and "memory" not in kinds.split(","):
                continue
            top, files = (CGROUPS / "memory", FIRST) if kinds else (CGROUPS, SECOND)
            here = top / path.lstrip("/")
            found += [(folder, *files) for folder in (here, *here.parents) if folder.is_relative_to(top)]
    return found


def _reclaimable(folder: Path, name: str) -> int:
    for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name} "):
            return int(line.split()[1])
    return 0


def _limit() -> int:
    """Of its address space, less what it has mapped."""
    try:
        import resource

        most = resource.getrlimit(resource.RLIMIT_AS)[0]
        if most == resource.RLIM_INFINITY:
            return 1 << 62
        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
        return most - pages * resource.getpagesize()
    except (ImportError, OSError, ValueError, IndexError):
        return 1 << 62
