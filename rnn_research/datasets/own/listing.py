"""Files of one sample each: what a folder or a manifest says of every one."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rnn_research.datasets.own.files import files_at, refusal, text_of
from rnn_research.datasets.own.json_values import plain_text
from rnn_research.datasets.own.parts import part_of
from rnn_research.datasets.own.tables import column_named, rows_of
from rnn_research.datasets.task import SPLITS

MANIFESTS = ("labels.csv", "manifest.csv", "labels.tsv", "manifest.tsv", "manifest.jsonl")
"""Files in the data's folder that say what the others are."""
TABLES = (".csv", ".tsv", ".jsonl")
USUAL = {
    "file": ("file", "path", "filename", "name", "audio", "audio_filepath"),
    "text": ("text", "transcript", "transcription", "sentence"),
    "label": ("label", "class", "target", "y", "activity", "category"),
    "id": ("id", "sample", "series", "series_id", "sample_id", "sequence", "case"),
    "time": ("time", "t", "step", "timestamp", "frame"),
    "group": ("group", "subject", "person", "speaker", "participant", "user"),
    "split": ("split", "part", "set", "fold"),
}
"""The names that a column has where the user gives none."""


@dataclass(frozen=True)
class ListedFile:
    """A file of one sample.

    Attributes:
        path: where it is.
        label: its class, or what is said in it.
        split: the split that is said of it, "" for none.
        group: what no two splits may share; None: nothing is said.
        place: where that is said, for a message: the manifest, or the file itself.
        line: of the manifest.
    """

    path: Path
    label: str
    split: str = ""
    group: str | None = None
    place: Path | None = None
    line: int | None = None

    @property
    def where(self) -> tuple[str, int | None]:
        """The file that a message names, and the line in it."""
        return str(self.place or self.path), self.line


def listed_files(
    path: Path,
    endings: Collection[str],
    what: str,
    columns: dict[str, str | None] | None = None,
    group_pattern: str | None = None,
    said: str = "label",
) -> list[ListedFile]:
    """Every file of a sample at a path, in order, and what is said of it.

    A manifest (labels.csv, manifest.csv, or any table that is given itself) names them, with the columns file, label
    and, where they are there, split and group. Without one each file is labelled by the folder it lies in; a folder
    above that is named train, val or test says the split.

    Args:
        path: a folder, or a manifest, or one file in a folder that says its class.
        endings: of the files, with their dot, in lower case.
        what: the files, for a message.
        columns: the manifest's column of the `label`, the `split` and the `group`; None: found by their usual names.
        group_pattern: a regular expression whose first group, found in a file's path, names its group.
        said: what a manifest says of each: its `label`, or a `text`, which may be empty and which no folder says.

    Raises:
        ValueError: there is no such file, or what is said of one is malformed: names the file and the line.
    """
    manifest = manifest_at(path, endings)
    if manifest is None and said == "text":
        if not path.exists():
            raise ValueError(f"dataset.path: given {path}, which is not there, expected {what}; check the path")
        raise refusal(path, f"found no {' or '.join(MANIFESTS)}, expected {what}", repair="write one, or give its path")
    found = _from_folders(path, endings, what) if manifest is None else _from_manifest(manifest, columns or {}, said)
    if group_pattern is None:
        return found
    pattern = _compiled(group_pattern)
    return [replace(one, group=_group(one.path, pattern)) for one in found]


def manifest_at(path: Path, endings: Collection[str]) -> Path | None:
    """The manifest at a path: itself, where it is a table and no file of a sample, or one in the folder; None: none."""
    if path.name in MANIFESTS or (path.is_file() and path.suffix.lower() in TABLES and path.suffix not in endings):
        return path
    return next((path / name for name in MANIFESTS if (path / name).is_file()), None)


def _group(file: Path, pattern: re.Pattern[str]) -> str:
    found = pattern.search(file.as_posix())
    if found is None:
        raise ValueError(f"dataset.group_pattern: {pattern.pattern!r} is not found in {file}")
    return found[1] if pattern.groups else found[0]


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"dataset.group_pattern: given {pattern!r}, expected a regular expression ({error})") from None


def _from_folders(path: Path, endings: Collection[str], what: str) -> list[ListedFile]:
    found = []
    for file in files_at(path, endings, f"folders by class with {what}"):
        above = file.relative_to(path).parts[:-1] if file != path else file.parts[-2:-1]
        if not above:
            repair = "put it into one, or write a labels.csv"
            raise refusal(file, "lies in no folder that says its class", repair=repair)
        split = next((part for one in above[:-1] if (part := part_of(one)) is not None), "")
        found.append(ListedFile(file, above[-1], split))
    return found


def _from_manifest(manifest: Path, asked: dict[str, str | None], said: str) -> list[ListedFile]:
    rows = _objects(manifest) if manifest.suffix.lower() == ".jsonl" else rows_of(manifest)
    _, header = next(rows, (0, []))
    if not header:
        raise refusal(manifest, f"found no line, expected a header such as file,{said}")
    at = columns_of(manifest, header, {"file": None, said: None, "split": None, "group": None, **asked})
    place, told = at["file"], at[said]
    if place is None or told is None:
        raise refusal(manifest, f"found the columns {', '.join(header)}, expected file and {said}", 1)
    found = []
    for line, row in rows:
        if len(row) != len(header):
            raise refusal(manifest, f"found {len(row)} columns, expected {len(header)} as in the header", line)
        path = manifest.parent / row[place]
        if not path.is_file():
            raise refusal(manifest, f"names {row[place]}, which is not there", line)
        if not row[told] and said == "label":
            raise refusal(manifest, f"found no label of {row[place]}", line)
        group = None if at["group"] is None else row[at["group"]] or None
        split = "" if at["split"] is None else split_said(manifest, line, row[at["split"]])
        found.append(ListedFile(path, row[told], split, group, manifest, line))
    without = next((one for one in found if one.group is None), None)
    if without is not None and any(one.group is not None for one in found):
        raise refusal(manifest, f"found no group of {without.path.name}, but of others", without.line)
    return found


def _objects(manifest: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a manifest of JSON objects, a line each, as a table's; the first are the names of the columns."""
    header: list[str] = []
    for line, text in enumerate(text_of(manifest).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise refusal(manifest, f"is no JSON ({error})", line) from None
        if not isinstance(found, dict):
            raise refusal(manifest, f"found {type(found).__name__}, expected an object", line)
        if not header:
            header = list(found)
            yield line, header
        yield line, [_cell(manifest, line, name, found.get(name)) for name in header]


def _cell(manifest: Path, line: int, name: str, value: Any) -> str:
    try:
        return plain_text(value).strip()
    except ValueError as error:
        raise refusal(manifest, f"{error} under {name!r}, expected text", line) from None


def columns_of(path: Path, header: Sequence[str], asked: dict[str, str | None]) -> dict[str, int | None]:
    """The place of each column: the one asked for, or found by its usual names; None: there is none.

    Raises:
        ValueError: one that is asked for is not there.
    """
    return {
        name: column_named(path, header, wanted, USUAL[name], f"dataset.{name}_column")
        for name, wanted in asked.items()
    }


def split_said(path: Path, line: int, text: str) -> str:
    """The split that a cell says; "" for an empty one.

    Raises:
        ValueError: it says another word.
    """
    part = part_of(text) if text else ""
    if part is None:
        raise refusal(path, f"found the split {text!r}, expected one of {', '.join(SPLITS)}", line)
    return part
