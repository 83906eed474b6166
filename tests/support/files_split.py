"""The tiny files of a user's own data, put where they say the splits themselves: so that the test part is a file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path


def _lines(source: Path, folder: Path, header: int = 0) -> Path:
    """Every third line of a file is one of the test part. Returns that part's file."""
    lines = source.read_text(encoding="utf-8").splitlines()
    first, rest = lines[:header], lines[header:]
    for part, some in (("train", [row for n, row in enumerate(rest) if n % 3]), ("test", rest[::3])):
        path = folder / f"{part}{source.suffix}"
        path.write_text("\n".join([*first, *some]) + "\n", encoding="utf-8")
    return folder / f"test{source.suffix}"


def _table(source: Path, folder: Path) -> Path:
    """Every third sample of a long table is one of the test part, and none of its subjects trains."""
    header, *rows = source.read_text(encoding="utf-8").splitlines()
    for part in ("train", "test"):
        some = [row for row in rows if (int(row.split(",")[0]) % 3 == 0) == (part == "test")]
        (folder / f"{part}.csv").write_text("\n".join([header, *some]) + "\n", encoding="utf-8")
    return folder / "test.csv"


def _files(source: Path, folder: Path) -> Path:
    """Every fourth file of a folder is one of the test part."""
    for number, file in enumerate(sorted(one for one in source.rglob("*") if one.is_file())):
        to = folder / ("test" if number % 4 == 3 else "train") / file.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, to)
    return folder / "test"


def _clips(source: Path, folder: Path) -> Path:
    """Every fourth clip is one of the test part."""
    for number, clip in enumerate(sorted(source.glob("*/*"))):
        shutil.copytree(clip, folder / ("test" if number % 4 == 3 else "train") / clip.relative_to(source))
    return folder / "test"


SPLIT: dict[str, Callable[[Path, Path], Path]] = {
    "series": _table,
    "labelled_text": lambda source, folder: _lines(source, folder, 1),
    "ptb_trees": _lines,
    "json_trees": _lines,
    "audio_folder": _files,
    "python_ast": _files,
    "frame_folder": _clips,
}
"""By the option of a data set: puts the tiny files at a path into a folder, and returns what holds its test part."""
