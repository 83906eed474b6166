"""What a trained model needs to read new data without the old ones, kept in a run's folder as `encoding.json`.

An object: `task` (`Task.plain`), `structure` (the layout's name) and `encoder` (its `kind` and what it is made of;
null: there is none).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, Any

from rnn_research.records import runs, whole_file

ENCODING = "encoding.json"
LARGEST = 1 << 28
"""Bytes of the file."""


def write(folder: Path, encoding: dict[str, Any]) -> None:
    """Write `folder/encoding.json` atomically, on one line: a vocabulary may have 100,000 words."""

    def dump(file: IO[str]) -> None:
        json.dump(runs.plain(encoding), file, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        file.write("\n")

    runs.replace_atomically(folder / ENCODING, dump)


def read(folder: Path) -> dict[str, Any]:
    """What `write` wrote.

    Raises:
        runs.DamagedRecord: there is none, or it can't be read.
    """
    path = folder / ENCODING
    try:
        raw = json.loads(whole_file.text(path, LARGEST))
    except FileNotFoundError:
        raise runs.DamagedRecord(path, "not there; older runs have none: train it again") from None
    except (OSError, ValueError, RecursionError) as error:
        raise runs.DamagedRecord(path, f"damaged ({error}); restore a copy or run it again") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("task"), dict):
        raise runs.DamagedRecord(path, "damaged (no task in it); restore a copy or run it again")
    return raw
