"""Tab-separated text files, a sample a line: one error for what can't be read, with the file and the line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
REPAIR = "mend or delete the line, or fetch the file again"


def refusal(path: Path, sample: int, found: str) -> ValueError:
    """The error for what was found in the line of a file's sample, counted from 0."""
    there = [number for number, line in enumerate(_text(path).split("\n"), start=1) if line.strip()]
    return ValueError(f"dataset.root: {path}, line {there[sample]}: {found}; {REPAIR}")


def read_lines(path: Path, parse: Callable[..., T], columns: tuple[str, ...]) -> list[T]:
    """What `parse` makes of the columns of each line of a UTF-8 file; blank lines are skipped.

    Raises:
        ValueError: the file can't be read, has no line, or a line has other columns or is refused by `parse` (with a
            ValueError that says what was found).
    """
    found = []
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        fields = line.rstrip("\r").split("\t")
        try:
            if len(fields) != len(columns):
                raise ValueError(f"found {len(fields)} columns, expected {len(columns)}: {', '.join(columns)}")
            found.append(parse(*fields))
        except ValueError as error:
            raise ValueError(f"dataset.root: {path}, line {number}: {error}; {REPAIR}") from None
    if not found:
        raise ValueError(f"dataset.root: {path} has no sample, expected one a line; fetch the file again")
    return found


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise ValueError(
            f"dataset.root: can't read {path} ({error.strerror}), expected a folder with the published files; "
            "set dataset.root to one, or leave it out for generated samples"
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(
            f"dataset.root: {path}, line {line}: found bytes that are not UTF-8; convert the file to UTF-8"
        ) from error
