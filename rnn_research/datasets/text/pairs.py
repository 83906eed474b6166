"""Texts and their translations, read from files: two files line by line, TSV, or JSONL."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnn_research.datasets.own.files import bytes_of, files_at, refusal, text_of
from rnn_research.datasets.own.parts import parts_of_files

TABLES = (".tsv", ".jsonl", ".ndjson")
NAMES = ("source", "target")
"""What columns and keys are called where the user says nothing else."""


@dataclass(frozen=True)
class Pair:
    """A text and its translation, at its line of a file, counted from 1; `part` is the split that the file is, "" where
    it is none."""

    file: Path
    line: int
    source: str
    target: str
    part: str = ""

    @property
    def where(self) -> str:
        """The file and the line, as a user finds them again."""
        return f"{self.file}, line {self.line}"


def lines_of(path: Path, content: bytes | None = None) -> list[str]:
    """The lines of a file of text, of a gzipped one too; an end of line at the end begins no other line.

    Raises:
        ValueError: it can't be read, or is no text.
    """
    content = bytes_of(path) if content is None else content
    if path.name.endswith(".gz"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise refusal(path, f"can't be unpacked ({error})", repair="fetch the file again") from None
    lines = text_of(path, content=content).split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def two_files(
    source: Path, target: Path, part: str = "", contents: tuple[bytes | None, bytes | None] = (None, None)
) -> Iterator[Pair]:
    """The lines of a file, each with the same line of another.

    Raises:
        ValueError: they have not equally many; or as `lines_of`.
    """
    ours, theirs = lines_of(source, contents[0]), lines_of(target, contents[1])
    if len(ours) != len(theirs):
        raise refusal(
            target, f"has {len(theirs)} lines, but {source.name} has {len(ours)}", repair="give each line its own"
        )
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True), start=1):
        yield Pair(source, number, one.strip(), other.strip(), part)


def table(path: Path, names: tuple[str | None, str | None] = (None, None), part: str = "") -> Iterator[Pair]:
    """The pairs of a TSV or a JSONL file; lines that are empty are skipped.

    A TSV file has no quotes. Its columns are named by their header, or by their numbers counted from 1; where nothing
    is said they are `source` and `target` of a header that has both, or else the first two.

    Args:
        names: of the columns or keys.

    Raises:
        ValueError: a line has no such column or key, or is malformed: names it.
    """
    lines = [(number, line) for number, line in enumerate(lines_of(path), start=1) if line.strip()]
    read = _objects if path.name.lower().endswith(TABLES[1:]) else _columns
    for number, source, target in read(path, lines, names):
        yield Pair(path, number, source.strip(), target.strip(), part)


def _columns(
    path: Path, lines: Sequence[tuple[int, str]], names: tuple[str | None, str | None]
) -> Iterator[tuple[int, str, str]]:
    rows = [(number, line.split("\t")) for number, line in lines]
    if not rows:
        return
    first = [cell.strip().casefold() for cell in rows[0][1]]
    asked = [usual if name is None else name for name, usual in zip(names, NAMES, strict=True)]
    if all(name is None for name in names) and not set(NAMES) <= set(first):
        asked = ["1", "2"]
    numbered = all(name.isdecimal() for name in asked)
    if not numbered and (missing := [name for name in asked if name.casefold() not in first]):
        raise refusal(
            path, f"has no column {missing[0]}", rows[0][0], "set dataset.source and dataset.target to names or numbers"
        )
    if not numbered and (twice := [name for name in asked if first.count(name.casefold()) > 1]):
        repair = "rename one, or set dataset.source and dataset.target to their numbers"
        raise refusal(path, f"has {first.count(twice[0].casefold())} columns named {twice[0]!r}", rows[0][0], repair)
    places = [int(name) - 1 if numbered else first.index(name.casefold()) for name in asked]
    for number, row in rows if numbered else rows[1:]:
        if max(places) >= len(row):
            raise refusal(path, f"has {len(row)} columns, expected at least {max(places) + 1}", number)
        yield number, row[places[0]], row[places[1]]


def _objects(
    path: Path, lines: Sequence[tuple[int, str]], names: tuple[str | None, str | None]
) -> Iterator[tuple[int, str, str]]:
    keys = [usual if name is None else name for name, usual in zip(names, NAMES, strict=True)]
    for number, line in lines:
        try:
            found: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise refusal(path, f"is no JSON ({error})", number) from None
        if isinstance(found, Mapping) and isinstance(found.get("translation"), Mapping):
            found = found["translation"]
        texts = [found.get(key) if isinstance(found, Mapping) else None for key in keys]
        for key, text in zip(keys, texts, strict=True):
            if not isinstance(text, str):
                raise refusal(path, f"has no text under {key!r}", number, "set dataset.source and dataset.target")
        yield number, str(texts[0]), str(texts[1])


def pairs_at(path: Path, target_path: Path | None, names: tuple[str | None, str | None]) -> list[Pair]:
    """All pairs at a path.

    Args:
        path: a TSV or a JSONL file; a file of lines, beside a `target_path`; or a folder of TSV or JSONL files, or of
            files NAME.SOURCE and NAME.TARGET. Files called train, val (or dev, valid) and test are these splits.
        names: of columns or keys; in a folder of lines the endings SOURCE and TARGET, such as en and de.

    Raises:
        ValueError: there is nothing of that kind; or a file is malformed: names the line.
    """
    if target_path is not None:
        for one in (path, target_path):
            files_at(one, ("",), "a file of lines")
        return list(two_files(path, target_path))
    if not path.is_dir():
        files_at(path, TABLES, "a file of pairs")
        if not path.name.lower().endswith((*TABLES, *(f"{one}.gz" for one in TABLES))):
            raise refusal(
                path, "is neither TSV nor JSONL", repair="set dataset.target_path to the file of its translations"
            )
        return list(table(path, names))
    endings = [] if None in names else [f".{name}" for name in names]
    tables = [] if endings else files_at(path, (*TABLES, *(f"{one}.gz" for one in TABLES)), "TSV or JSONL files")
    if tables:
        parts = zip(tables, parts_of_files(tables, path), strict=True)
        return [pair for one, part in parts for pair in table(one, names, part)]
    found = []
    sources = files_at(path, (endings[0], f"{endings[0]}.gz"), f"files that end in {endings[0]}")
    for source, part in zip(sources, parts_of_files(sources, path), strict=True):
        name = source.name.removesuffix(".gz").removesuffix(endings[0])
        others = [source.with_name(name + endings[1] + packed) for packed in ("", ".gz")]
        target = next((one for one in others if one.is_file()), None)
        if target is None:
            raise refusal(source, f"has no {name}{endings[1]} beside it", repair="add its translations")
        found += two_files(source, target, part)
    return found
