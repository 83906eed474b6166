r"""Labelled texts, read from a file: CSV, TSV, JSONL, fastText, `label<TAB>text`, TREC's own, or plain lines."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from rnn_research.datasets.own.files import refusal, text_of
from rnn_research.datasets.own.json_values import plain_text
from rnn_research.datasets.own.parts import part_of
from rnn_research.datasets.text.columns import LABEL, TEXT, AskedColumns, Columns, columns_of

FORMATS = ("auto", "csv", "tsv", "jsonl", "fasttext", "tab")
"""The formats that a user may name. `trec` is that of one known data set, and `lines` has no label: for prediction."""
ENDINGS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
FASTTEXT = "__label__"
TREC = re.compile(r"(ABBR|DESC|ENTY|HUM|LOC|NUM):(\w+) (.*)")
DELIMITERS = ",;\t|"
GLANCED = 1000
"""Objects that say which key holds what."""
LONGEST = 1 << 27
"""Characters of one field of a CSV file."""


@dataclass(frozen=True)
class Row:
    """A text of a file, at its line, counted from 1; "" where there is no label, or no text; None: no split is said."""

    line: int
    text: str
    label: str
    split: str | None = None


@dataclass(frozen=True)
class TextReading:
    """How files are read.

    Attributes:
        format: one of `FORMATS`, or `trec` or `lines`.
        asked: the columns that the user named.
        labelled: whether texts must have labels; False: for prediction, where `format` and `asked` are hints.
        labels: of TREC's, `fine` or `coarse`.
    """

    format: str = "auto"
    asked: AskedColumns = field(default_factory=AskedColumns)
    labelled: bool = True
    labels: str = "coarse"


@dataclass
class Seen:
    """What was found in files: the columns of the last one that has some, and what was guessed, in sentences."""

    columns: AskedColumns = field(default_factory=AskedColumns)
    notes: list[str] = field(default_factory=list)

    def add(self, path: Path, found: Columns, first: Sequence[str]) -> None:
        """Keep the columns of a file, by their names where it has a header."""

        def told(place: int | None) -> str | None:
            if place is None:
                return None
            name = first[place].strip()
            alone = [one.strip() for one in first].count(name) == 1
            return name if found.header and alone else str(place + 1)

        self.columns = AskedColumns(told(found.text), told(found.label), told(found.split), kept=False)
        if found.guessed:
            self.notes.append(f"{path.name}: {found.guessed}")


def rows_of(path: Path, how: TextReading, seen: Seen | None = None, content: bytes | None = None) -> Iterator[Row]:
    """The texts of a file, in order; lines that are empty are skipped.

    Args:
        seen: what is found in the file is added to it.
        content: what the file holds, where that is read already.

    Raises:
        ValueError: the file can't be read, or is malformed; names the line.
    """
    seen = Seen() if seen is None else seen
    if how.format == "trec":
        text = text_of(path, "iso-8859-1", content)
        if not how.labelled and not TREC.match(text.lstrip()):
            how, text = replace(how, format="auto"), text_of(path, content=content)
    else:
        text = text_of(path, content=content)
    found = _format(path, text, how)
    if found == "fasttext":
        yield from _fasttext(path, text)
    elif found == "trec":
        yield from _trec(path, text, how)
    elif found == "jsonl":
        yield from _jsonl(path, text, how, seen)
    elif found == "lines":
        if how.labelled:
            raise refusal(
                path,
                f"found no labels: neither a tab nor {FASTTEXT} in its first line",
                repair=f"set dataset.format, one of {', '.join(FORMATS[1:])}",
            )
        yield from (Row(number, line.strip(), "") for number, line in _lines(text))
    else:
        if how.format == "tab" and how.asked == AskedColumns():
            how = replace(how, asked=AskedColumns(text="2", label="1"))
        yield from _table(path, _records(path, text, found), how, seen)


def _format(path: Path, text: str, how: TextReading) -> str:
    """The format of a file: the one asked for, or what its name and its first line say."""
    ending = ENDINGS.get(path.suffix.lower())
    first = next((line for _, line in _lines(text)), "")
    hint = how.format in ("trec", *ENDINGS.values()) and ending is None
    if how.format != "auto" and (how.labelled or hint):
        return how.format
    if ending is not None:
        return ending
    if first.startswith(FASTTEXT):
        return "fasttext"
    if first.lstrip().startswith("{"):
        return "jsonl"
    if "\t" in first:
        return "tab" if first.count("\t") == 1 else "tsv"
    fields = {one.strip().strip('"').lower() for one in re.split(f"[{DELIMITERS}]", first)}
    return "csv" if fields & set(TEXT) and fields & set(LABEL) else "lines"


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that are not empty, with their numbers. Only \\n ends a line: texts may hold Unicode's others."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line and not line.isspace():
            yield number, line


def _fasttext(path: Path, text: str) -> Iterator[Row]:
    for number, line in _lines(text):
        label, _, rest = line.strip().partition(" ")
        if not label.startswith(FASTTEXT) or label == FASTTEXT:
            raise refusal(path, f"found no {FASTTEXT}, expected `{FASTTEXT}NAME text`", number)
        if rest.lstrip().startswith(FASTTEXT):
            raise refusal(path, "found two labels, expected one a text", number)
        yield Row(number, rest.strip(), label.removeprefix(FASTTEXT))


def _trec(path: Path, text: str, how: TextReading) -> Iterator[Row]:
    for number, line in _lines(text):
        found = TREC.fullmatch(line.strip())
        if found is None:
            raise refusal(path, "found no question with its class, expected `COARSE:fine text`", number)
        coarse, fine, question = found.groups()
        yield Row(number, question, coarse if how.labels == "coarse" else f"{coarse}:{fine}")


def _jsonl(path: Path, text: str, how: TextReading, seen: Seen) -> Iterator[Row]:
    some = list(islice(_objects(path, text), GLANCED))
    if not some:
        return
    names = list(some[0][1])
    try:
        columns = columns_of(
            [names, *([str(one.get(name)) for name in names] for _, one in some)], how.asked, how.labelled
        )
    except ValueError as error:
        raise ValueError(f"dataset.path: {path}, line {some[0][0]}: {error}") from None
    columns = replace(columns, header=True, guessed=columns.guessed.partition(";")[0])
    seen.add(path, columns, names)
    keys = [None if place is None else names[place] for place in (columns.text, columns.label, columns.split)]
    for number, one in _objects(path, text):
        content, label, split = (_cell(path, number, one, key) for key in keys)
        yield Row(number, content, label, _split(path, number, split) if columns.split is not None else None)


def _objects(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in _lines(text):
        try:
            one = json.loads(line)
        except (ValueError, RecursionError):
            raise refusal(path, "found no JSON, expected an object a line", number) from None
        if not isinstance(one, dict):
            raise refusal(path, f"found {line.strip()[:30]!r}, expected an object in braces", number)
        yield number, one


def _cell(path: Path, line: int, one: Mapping[str, Any], key: str | None) -> str:
    """What an object holds under a key, in words; "" for null, or where it has no such key."""
    value = None if key is None else one.get(key)
    try:
        said = plain_text(value)
    except ValueError as error:
        raise refusal(path, f"{error} under {key!r}, expected text", line) from None
    if said.isascii() and "\0" not in said:
        return said.strip()
    if "\0" in said:
        raise refusal(path, "found a NUL byte, expected text", line)
    return said.encode("utf-16", "surrogatepass").decode("utf-16", "replace").strip()  # halves of pairs are no text


def _records(path: Path, text: str, kind: str) -> list[tuple[int, list[str]]]:
    """The records of a table, with the line where each begins."""
    if kind == "tab":
        return [(number, line.split("\t", 1)) for number, line in _lines(text)]
    if kind == "tsv":
        return [(number, line.split("\t")) for number, line in _lines(text)]
    limit = csv.field_size_limit(LONGEST)
    try:
        return _csv_records(path, text)
    finally:
        csv.field_size_limit(limit)  # it is the process's


def _csv_records(path: Path, text: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    found, line = [], 1
    while True:
        try:
            record = next(reader, None)
        except csv.Error as error:
            unclosed = "unexpected end" in str(error)
            said = "found a quote that is never closed" if unclosed else f"found no CSV ({error})"
            raise refusal(path, said, line) from None
        if record is None:
            return found
        if any(field.strip() for field in record):
            found.append((line, record))
        line = reader.line_num + 1


def _delimiter(text: str) -> str:
    """What the first record is cut at: of the usual ones that which is there most, a comma where none is."""
    first = re.match(r'(?:"(?:[^"]|"")*"|[^"\n])*', text.lstrip("\n"))
    outside = re.sub(r'"(?:[^"]|"")*"', "", first[0] if first else "")
    return max(DELIMITERS, key=lambda one: (outside.count(one), -DELIMITERS.index(one)))


def _table(path: Path, records: Sequence[tuple[int, list[str]]], how: TextReading, seen: Seen) -> Iterator[Row]:
    if not records:
        return
    try:
        columns = columns_of([record for _, record in records], how.asked, how.labelled)
    except ValueError as error:
        raise ValueError(f"dataset.path: {path}, line {records[0][0]}: {error}") from None
    seen.add(path, columns, records[0][1])
    width = len(records[0][1])
    for line, record in records[columns.header :]:
        if len(record) != width:
            raise refusal(path, f"found {len(record)} columns, expected {width} as in the first line", line)
        label = "" if columns.label is None else record[columns.label].strip()
        split = None if columns.split is None else _split(path, line, record[columns.split])
        yield Row(line, record[columns.text].strip(), label, split)


def _split(path: Path, line: int, said: str) -> str:
    part = part_of(said)
    if part is None:
        raise refusal(path, f"found the split {said!r}, expected train, val or test", line)
    return part
