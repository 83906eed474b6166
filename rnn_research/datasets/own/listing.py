"""Files of one sample each: what a folder or a manifest says of every one."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rnn_research.datasets.own.files import files_at, refusal
from rnn_research.datasets.own.parts import part_of
from rnn_research.datasets.own.tables import column_named, rows_of
from rnn_research.datasets.task import SPLITS

MANIFESTS = ("labels.csv", "manifest.csv", "labels.tsv", "manifest.tsv")
"""Files in the data's folder that say what the others are."""
USUAL = {
    "file": ("file", "path", "filename", "name", "audio"),
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
        label: its class.
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
) -> list[ListedFile]:
    """Every file of a sample at a path, in order, and what is said of it.

    A manifest (labels.csv, manifest.csv) names them, with the columns file, label and, where they are there, split and
    group. Without one each file is labelled by the folder it lies in; a folder above that is named train, val or test
    says the split.

    Args:
        path: a folder, or a manifest, or one file in a folder that says its class.
        endings: of the files, with their dot, in lower case.
        what: the files, for a message.
        columns: the manifest's column of the `label`, the `split` and the `group`; None: found by their usual names.
        group_pattern: a regular expression whose first group, found in a file's path, names its group.

    Raises:
        ValueError: there is no such file, or what is said of one is malformed: names the file and the line.
    """
    manifest = path if path.name in MANIFESTS else next((path / n for n in MANIFESTS if (path / n).is_file()), None)
    found = _from_folders(path, endings, what) if manifest is None else _from_manifest(manifest, columns or {})
    if group_pattern is None:
        return found
    pattern = _compiled(group_pattern)
    return [replace(one, group=_group(one.path, pattern)) for one in found]


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


def _from_manifest(manifest: Path, asked: dict[str, str | None]) -> list[ListedFile]:
    rows = rows_of(manifest)
    _, header = next(rows, (0, []))
    if not header:
        raise refusal(manifest, "found no line, expected a header such as file,label")
    at = columns_of(manifest, header, {"file": None, "label": None, "split": None, "group": None, **asked})
    if at["file"] is None or at["label"] is None:
        raise refusal(manifest, f"found the columns {', '.join(header)}, expected file and label", 1)
    found = []
    for line, row in rows:
        if len(row) != len(header):
            raise refusal(manifest, f"found {len(row)} columns, expected {len(header)} as in the header", line)
        path = manifest.parent / row[at["file"]]
        if not path.is_file():
            raise refusal(manifest, f"names {row[at['file']]}, which is not there", line)
        if not row[at["label"]]:
            raise refusal(manifest, f"found no label of {row[at['file']]}", line)
        group = None if at["group"] is None else row[at["group"]]
        split = "" if at["split"] is None else split_said(manifest, line, row[at["split"]])
        found.append(ListedFile(path, row[at["label"]], split, group, manifest, line))
    return found


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
