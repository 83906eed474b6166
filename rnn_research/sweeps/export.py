"""The records and tables of many runs in one archive, for others to compare.

A zip: it holds no links, owners or devices, every system unpacks it, and what is in it can be listed before. Its names
are relative and below one folder. The same runs give the same bytes.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from rnn_research.records import runs
from rnn_research.records.encoding import ENCODING
from rnn_research.sweeps import claims, store

KEPT = (runs.RECORD, runs.METRICS, ENCODING)
WEIGHTS = (runs.CHECKPOINT, runs.BEST)
EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The time of every file in an archive: the first that a zip can tell."""


@dataclass
class Contents:
    """What is packed.

    Attributes:
        runs: how many.
        files: each with its name in the archive.
        left_out: runs that are not packed, by the reason.
    """

    runs: int = 0
    files: list[tuple[Path, str]] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)


def contents(folder: Path, checkpoints: bool = False, only: Collection[Path] | None = None) -> Contents:
    """What an archive of the runs at or below `folder` holds: records, metrics, encodings and tables.

    Args:
        checkpoints: weights too, and the queue: the sweep can be gone on with where it is unpacked. A queue names the
            folders of the machine that made it.
        only: the folders of the runs; None: all.
    """
    found, top = Contents(), folder.resolve()
    for run in runs.find([folder] if only is None else sorted(only)):
        name = os.path.relpath(run, folder)
        if reason := _unfit(run, top):
            found.left_out.setdefault(reason, []).append(name)
            continue
        found.runs += 1
        tables = sorted((run / runs.PROBES).glob("*.npy"))
        paths = [run / name for name in (*KEPT, *(WEIGHTS if checkpoints else ()))]
        found.files += [(path, _inside(path, folder, top)) for path in (*paths, *tables) if _is_plain(path, top)]
    if checkpoints:
        queue = sorted((folder / store.QUEUE).glob("*.json"))
        found.files += [(path, _inside(path, folder, top)) for path in queue if _is_plain(path, top)]
    return found


def _unfit(run: Path, top: Path) -> str:
    """Why a run is not packed; empty where it is."""
    if not run.resolve().is_relative_to(top):
        return "a link to another folder"
    try:
        if runs.read(run).status == "running" and claims.holder(run):
            return "running"
    except runs.DamagedRecord as error:
        return error.reason
    return ""


def _is_plain(path: Path, top: Path) -> bool:
    """Whether it is a file, and lies where it seems to: a link may lead to what is nobody else's business."""
    try:
        return stat.S_ISREG(path.lstat().st_mode) and path.resolve().is_relative_to(top)
    except OSError:
        return False


def _inside(path: Path, folder: Path, top: Path) -> str:
    """The name in the archive: below one folder, in signs that every system has."""
    name = "/".join((top.name or "runs", *path.relative_to(folder).parts))
    return name.encode("utf-8", "replace").decode("utf-8")


def pack(found: Contents, out: Path) -> None:
    """Write the archive. It appears whole.

    Raises:
        OSError: it can't be written, or a file can't be read.
    """

    def write(file: IO[bytes]) -> None:
        with ZipFile(file, "w", ZIP_DEFLATED) as archive:
            for path, info in _infos(found):
                with (
                    suppress(FileNotFoundError),  # begun anew by another since
                    path.open("rb") as source,
                    archive.open(info, "w", force_zip64=True) as target,
                ):
                    shutil.copyfileobj(source, target, 1 << 20)

    runs.replace_atomically(out, write, mode="wb")


def _infos(found: Contents) -> Iterator[tuple[Path, ZipInfo]]:
    for path, name in found.files:
        info = ZipInfo(name, EARLIEST)
        info.compress_type, info.external_attr = ZIP_DEFLATED, (stat.S_IFREG | 0o644) << 16
        yield path, info
