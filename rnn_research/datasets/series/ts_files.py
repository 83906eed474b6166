"""Files in the .ts format of the UEA and UCR archives (Bagnall et al. 2018, arXiv:1811.00075).

Comments begin with #, headers with @; after `@data` a case a line: dimensions separated by `:`, each a list of values
separated by `,`, and the class at the end. `?` is a missing value.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rnn_research.datasets.own.files import refusal, refuse_other_forms
from rnn_research.datasets.own.tables import number_of


def cases_of(path: Path, content: bytes) -> Iterator[tuple[int, np.ndarray, str]]:
    """Each case: its line, its values (steps, dimensions) and its class.

    Dimensions that are shorter than the longest end with NaN. A line that is not UTF-8 is read as latin-1, since
    published comments are not all UTF-8.

    Raises:
        ValueError: a line is malformed, or the file has time stamps or no class: names the line.
    """
    data, dimensions = False, None
    refuse_other_forms(path, content)
    content = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for number, coded in enumerate(content.split(b"\n"), start=1):
        line = _decoded(coded).strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("@"):
            data |= _header(path, number, line.lower().split())
            continue
        if not data:
            raise refusal(path, f"found {line[:40]!r} before @data, expected a header that begins with @", number)
        *parts, label = line.split(":")
        if not parts or not label.strip() or "," in label:
            raise refusal(path, "found no class at the end, expected dimensions and a class, separated by :", number)
        if dimensions is not None and len(parts) != dimensions:
            raise refusal(path, f"found {len(parts)} dimensions, expected {dimensions}", number)
        dimensions = len(parts)
        yield number, _values(path, number, parts), label.strip()
    if not data:
        raise refusal(path, "found no @data, expected a file in the .ts format")


def _decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _header(path: Path, number: int, words: list[str]) -> bool:
    """Whether this header begins the data."""
    if words[0] == "@timestamps" and words[1:2] == ["true"]:
        raise refusal(path, "found time stamps, expected values alone", number, "write the series without them")
    if words[0] == "@targetlabel" and words[1:2] == ["true"]:
        raise refusal(path, "found numbers to predict, expected classes", number, "use a file of a classification task")
    if words[0] == "@classlabel" and words[1:2] == ["false"]:
        raise refusal(
            path, "found no classes, expected @classLabel true", number, "use a file of a classification task"
        )
    return words[0] == "@data"


def _values(path: Path, number: int, parts: list[str]) -> np.ndarray:
    try:
        columns = [np.array([number_of(value.strip()) for value in part.split(",")]) for part in parts]
    except ValueError as error:
        raise refusal(path, str(error), number) from None
    values = np.full((max(map(len, columns)), len(columns)), np.nan)
    for place, column in enumerate(columns):
        values[: len(column), place] = column
    return values
