"""Series of numbers as users have them: a file a sample, a long table, or a `.ts` file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from rnn_research.datasets.own.archives import unpacked
from rnn_research.datasets.own.files import files_at, refusal
from rnn_research.datasets.own.listing import MANIFESTS, columns_of, listed_files, split_said
from rnn_research.datasets.own.parts import part_of, parts_of_files
from rnn_research.datasets.own.tables import is_header, number_of, numbers_of, rows_of
from rnn_research.datasets.series.ts_files import cases_of

FORMATS = ("auto", "files", "table", "ts")
ARRAYS = (".npy", ".npz")
ONE_EACH = (".csv", ".tsv", ".txt", *ARRAYS)


@dataclass(eq=False)
class ReadSeries:
    """Series and what is known of each, in order. `labels` and `groups` are empty where the files have none; `given` is
    the split that the files say, "" for none. `places` say where each is found, `sources` the file of its numbers and
    the line of each step, where they are known. `columns` are the names of the columns, where the files have some."""

    series: list[np.ndarray] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    places: list[tuple[str, int | None]] = field(default_factory=list)
    sources: dict[int, tuple[str, np.ndarray | None]] = field(default_factory=dict)
    columns: tuple[str, ...] = ()

    def gap(self, number: int, step: int, column: int) -> str:
        """What a message says of a missing value: the file, the line where it is known, the value and its place."""
        file, lines = self.sources.get(number, (self.where(number), None))
        name = self.columns[column] if self.columns else str(column)
        place = file if lines is None else f"{file}, line {lines[step]}"
        return f"{place}: found {self.series[number][step, column]} at step {step}, column {name}"

    @property
    def where(self) -> Callable[[int], str]:
        """The file and the line of a series, by its number."""
        return lambda number: _place(*self.places[number])


def _place(path: str, line: int | None) -> str:
    return path if line is None else f"{path}, line {line}"


def read_series(
    path: Path,
    format: str = "auto",
    label_column: str | None = None,
    id_column: str | None = None,
    time_column: str | None = None,
    group_column: str | None = None,
    split_column: str | None = None,
    group_pattern: str | None = None,
    columns: Sequence[str] = (),
) -> ReadSeries:
    """All series at a path.

    Args:
        path: a file or a folder.
        format: `files`: a file a sample (CSV of numbers, npy, or npz with one array), (steps, columns), labelled by the
            folder it lies in, or by a manifest (labels.csv, manifest.csv) with the columns file, label and, where they
            are there, split and group. `table`: one CSV with a row a step, an id that says the sample, and a label.
            `ts`: files of the UEA archive. `auto`: what the path looks like.
        label_column, id_column, time_column, group_column, split_column: of a table or a manifest; None: found by their
            usual names.
        group_pattern: of files: a regular expression whose first group, found in a file's path, names its group.
        columns: the names of the columns of numbers, in the order in which they are wanted; other columns of a table
            are left out. Empty: all, in the order of the first file. Files without names are taken as they are.

    Raises:
        ValueError: there is nothing to read, or it is malformed: names the file and the line.
    """
    format = _found_format(path) if format == "auto" else format
    if format == "ts":
        return _from_ts(path)
    asked = {"label": label_column, "group": group_column, "split": split_column}
    read = ReadSeries(columns=tuple(columns))
    if format == "table":
        files = files_at(path, (".csv", ".tsv", ".txt"), "a table with a row a step")
        for file, part in zip(files, parts_of_files(files, path), strict=True):
            _add_table(read, file, part, {**asked, "id": id_column, "time": time_column}, bool(columns))
    else:
        _add_files(read, path, asked, group_pattern)
    return read


def _found_format(path: Path) -> str:
    if path.is_file():
        return {".ts": "ts", ".gz": "ts"}.get(path.suffix.lower(), "table")
    if path.is_dir() and any(one.name.lower().endswith((".ts", ".ts.gz")) for one in path.rglob("*")):
        return "ts"
    tables = [one for one in path.glob("*.[ct]sv") if one.name not in MANIFESTS] if path.is_dir() else []
    return "table" if tables and all(part_of(one.stem) for one in tables) else "files"


def _from_ts(path: Path) -> ReadSeries:
    read = ReadSeries()
    files = files_at(path, (".ts", ".ts.gz"), "files in the .ts format")
    for file, split in zip(files, parts_of_files(files, path), strict=True):
        for line, values, label in cases_of(file, unpacked(file)):
            read.series.append(values)
            read.labels.append(label)
            read.given.append(split)
            read.places.append((str(file), line))
    return read


def _add_table(read: ReadSeries, file: Path, part: str, asked: dict[str, str | None], more: bool) -> None:
    rows = rows_of(file)
    first, header = next(rows, (1, []))
    if not header or not is_header(header):
        raise refusal(file, "found no header, expected the names of the columns, such as id,time,x,y,label", first)
    at = _places(file, header, asked, read.columns) if more else columns_of(file, header, asked)
    if at["id"] is None:
        raise refusal(
            file, f"found the columns {', '.join(header)}, but none that says the sample", 1, "set dataset.id_column"
        )
    names = [name for place, name in enumerate(header) if place not in at.values()]
    if not names:
        raise refusal(file, f"found the columns {', '.join(header)}, but none of numbers", 1, "add one")
    read.columns = read.columns or tuple(names)
    values = [header.index(names[place]) for place in _ordered(file, names, read.columns, more)]
    steps: dict[str, list[tuple[float, int, list[float]]]] = {}
    known: dict[str, tuple[int, dict[str, str]]] = {}
    for line, row in rows:
        if len(row) != len(header):
            raise refusal(file, f"found {len(row)} columns, expected {len(header)} as in the header", line)
        sample = row[at["id"]]
        said = {name: row[place] for name in ("label", "group", "split") if (place := at[name]) is not None}
        first, before = known.setdefault(sample, (line, said))
        if said != before:
            name = next(name for name in said if said[name] != before[name])
            raise refusal(
                file, f"found the {name} {said[name]!r} of sample {sample}, but line {first} has {before[name]!r}", line
            )
        try:
            time = time_of(row[at["time"]]) if at["time"] is not None else float(line)
            steps.setdefault(sample, []).append((time, line, [number_of(row[place]) for place in values]))
        except ValueError as error:
            raise refusal(file, str(error), line) from None
    if not steps:
        raise refusal(file, "found no row but the header, expected one a step")
    for sample, found in steps.items():
        line, said = known[sample]
        found.sort(key=lambda one: one[0])
        read.sources[len(read.series)] = str(file), np.array([at for _, at, _ in found])
        read.series.append(np.array([row for *_, row in found]))
        read.places.append((str(file), line))
        if "label" in said:
            if not said["label"]:
                raise refusal(file, f"found no label of sample {sample}", line)
            read.labels.append(said["label"])
        if "group" in said:
            read.groups.append(said["group"])
        read.given.append(split_said(file, line, said.get("split", "")) or part)


def _places(
    file: Path, header: Sequence[str], asked: dict[str, str | None], numbers: Sequence[str]
) -> dict[str, int | None]:
    """As `columns_of`, of a table that need not say classes, groups and splits. A column that is known to hold numbers
    is no other, whatever its name."""
    there = {name.lower() for name in header}
    needed = {key: name for key, name in asked.items() if key in ("id", "time") or (name or "").lower() in there}
    at = columns_of(file, header, {key: needed.get(key) for key in asked})
    taken = [place for place, name in enumerate(header) if name in numbers]
    return {key: None if place in taken and not needed.get(key) else place for key, place in at.items()}


def time_of(text: str) -> float:
    """When a step is: a number as it is written, or the seconds since 1970 of a date and time (ISO 8601).

    Raises:
        ValueError: it is neither, or not finite; says what was found and what is expected.
    """
    try:
        time = number_of(text)
    except ValueError as error:
        try:
            moment = datetime.fromisoformat(text)
            time = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError, OSError):
            raise ValueError(f"{error} or a date such as 2024-01-31 12:00:00 for the time") from None
    if not np.isfinite(time):
        raise ValueError(f"found the time {text!r}, expected a finite one")
    return time


def _ordered(file: Path, names: Sequence[str], wanted: Sequence[str], more: bool = False) -> list[int]:
    """Where each wanted column is among a file's.

    Raises:
        ValueError: a name is there twice, or one is missing; or one is there that is not wanted, unless there may be
            `more`.
    """
    if len(set(names)) < len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise refusal(file, f"found two columns {twice!r}, expected different names", 1)
    if set(wanted) - set(names) or (not more and set(names) - set(wanted)):
        raise refusal(file, f"found the columns {', '.join(names)}, expected {', '.join(wanted)}", 1)
    return [list(names).index(name) for name in wanted]


def _add_files(read: ReadSeries, path: Path, asked: dict[str, str | None], group_pattern: str | None) -> None:
    for one in listed_files(path, ONE_EACH, "a file a sample", asked, group_pattern):
        if one.path.suffix.lower() in ARRAYS:
            read.sources[len(read.series)] = str(one.path), None
            read.series.append(array_of(one.path))
        else:
            _add_numbers(read, one.path)
        read.labels.append(one.label)
        read.given.append(one.split)
        read.places.append(one.where)
        if one.group is not None:
            read.groups.append(one.group)


def _add_numbers(read: ReadSeries, file: Path) -> None:
    table = numbers_of(file)
    values = table.values
    if table.header:
        read.columns = read.columns or table.header
        values = values[:, _ordered(file, table.header, read.columns)]
    read.sources[len(read.series)] = str(file), table.lines
    read.series.append(values)


def array_of(file: Path) -> np.ndarray:
    """The series in a file of numpy, (steps, columns): npy, or npz with one array; one column may lack its axis.

    Raises:
        ValueError: it is none; says why.
    """
    try:
        held = np.load(file, allow_pickle=False)
        if isinstance(held, np.lib.npyio.NpzFile):
            if len(held.files) != 1:
                raise ValueError(f"{len(held.files)} arrays, expected one")
            held = held[held.files[0]]
        if held.dtype.kind not in "fiub":
            raise ValueError(f"an array of {held.dtype}, expected numbers")
    except Exception as error:  # numpy and zipfile each have their own
        raise refusal(file, f"found what can't be read ({' '.join(str(error).split())[:120]})") from None
    values = held[:, None] if held.ndim == 1 else held
    if values.ndim != 2 or not values.size:
        raise refusal(file, f"found an array of shape {held.shape}, expected (steps, columns)")
    return values.astype(np.float64)
