"""The run record: what a training leaves behind, and how it is written, read and found.

Knows files and numpy; imports neither torch, lightning nor hydra, so that comparing runs stays fast. A run's
folder:

| file                 | what                                                                           |
|----------------------|--------------------------------------------------------------------------------|
| `run.json`           | the `RunRecord`, replaced atomically at each change of status                  |
| `metrics.csv`        | dense rows `step,epoch,split,loss,<metrics>`                                   |
| `probes/<name>.npy`  | one structured array (a table with named columns) a probe, replaced atomically |
| `probes/answers.npy` | a row a sample of the test set and of every further set: see `ANSWERS`         |
| `checkpoint.ckpt`    | the last state of training                                                     |
| `checkpoint.previous.ckpt` | the state before that, while the run goes on                               |
| `encoding.json`      | the task and what turns raw data into samples, as plain data: see `encoding`    |
| `best.ckpt`          | the best weights by a validation metric, where they are kept                   |
| `run.log`            | the log                                                                        |
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from types import UnionType
from typing import IO, Any, get_args, get_origin, get_type_hints

import numpy as np

from rnn_research.records import npy, version1, wellformed, whole_file
from rnn_research.records.identity import CHOSEN_BEFORE
from rnn_research.records.wellformed import check_record

VERSION = 2
RECORD = "run.json"
METRICS = "metrics.csv"
PROBES = "probes"
CHECKPOINT = "checkpoint.ckpt"
PREVIOUS = "checkpoint.previous.ckpt"
BEST = "best.ckpt"
ANSWERS = "answers"
"""The table of answers after training. Columns: `set`, the data's features (NaN where a set lacks one), `correct` where
the task says what that is, and `loss`, the sample's own at its last step or root."""
OWN_TABLES = ("clipping", "regularizer", ANSWERS)
"""Tables that every run may have beside those of its probes: no probe can have such a name."""
MAGIC = b"\x93NUMPY"
LARGEST = 1 << 26
"""Bytes of a record."""
STATUSES = ("running", "done", "failed", "diverged", "interrupted")


class DamagedRecord(ValueError):
    """A file of a run that can't be read: the message names the file, what is wrong (`reason`), and the repair."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class RunRecord:
    """One training with one seed. Frozen: a change of status is a new record (`dataclasses.replace`).

    Times are ISO 8601 in UTC. `choices` holds the option of each config group, several joined by `+`. `config` holds
    all values, and says what the run is; `overrides` holds what was typed, to type it again. `final` and `best` map
    `<split>_<metric>` to a number; `baselines` holds under the same names what a predictor without memory reaches.
    `engine` says which engine was `asked` for, which was `used`, and `why`. `weights` says which were `measured` after
    training, by the name of their file, and where the best were kept what they are (`best`: `file`, `step`, `epoch`,
    `metric`, `value`). `sources` says which code trained it, as `records.sources` does. `resumed` names the run that it
    goes on from, relative to its own folder. `version` is that of the file.
    """

    name: str
    status: str
    choices: dict[str, str]
    seed: int
    config: dict[str, Any]
    parameters: int
    data: dict[str, Any]
    versions: dict[str, str]
    commit: str | None
    machine: dict[str, Any]
    start: str
    end: str | None = None
    steps: int = 0
    epochs: int = 0
    final: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    baselines: dict[str, float] = field(default_factory=dict)
    diverged_step: int | None = None
    engine: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    success: dict[str, Any] = field(default_factory=dict)
    resumed: dict[str, Any] = field(default_factory=dict)
    actual: dict[str, Any] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    weights: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status: given {self.status!r}, expected one of {', '.join(STATUSES)}")


def in_use(folder: Path, *others: str) -> str:
    """The name of what a run, or one of `others`, left in `folder`; empty where it is free for a new run."""
    names = (RECORD, METRICS, PROBES, CHECKPOINT, BEST, *others)
    return next((name for name in names if os.path.lexists(folder / name)), "")


def check_tables(probes: Iterable[str]) -> None:
    """No probe is named as one of a run's own tables.

    Raises:
        ValueError: one is, and would be dropped or replace it.
    """
    if taken := next((name for name in probes if name in OWN_TABLES), None):
        raise ValueError(
            f"probe.{taken}: {taken} is a table of the run's own, which it would replace; rename the probe"
        )


def replace_atomically(path: Path, write: Any, mode: str = "w", sync: bool = True) -> None:
    """Call `write(file)` on a temporary file beside `path`, sync it, and move it over `path` in one step.

    Args:
        sync: False for what can be made again: a machine that loses power may lose it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile: its files are readable by their owner alone, and os.replace would hand that on.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(temporary, mode.replace("w", "x"), encoding=None if "b" in mode else "utf-8") as file:
            write(file)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write(record: RunRecord, folder: Path) -> None:
    """Write `folder/run.json` atomically. NaN and infinity are written as the text "nan", "inf", "-inf"."""

    def dump(file: IO[str]) -> None:
        json.dump(plain(asdict(record) | {"version": VERSION}), file, indent=1, allow_nan=False)
        file.write("\n")

    replace_atomically(folder / RECORD, dump)


def read(folder: Path) -> RunRecord:
    """Read `folder/run.json`.

    Raises:
        DamagedRecord: it is not JSON, not an object, lacks a field, has one of another type, or is of another
            record version.
    """
    path = folder / RECORD
    try:
        raw = json.loads(whole_file.text(path, LARGEST))
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedRecord(path, f"damaged ({error}); restore a copy or run it again") from None
    if not isinstance(raw, dict):
        raise DamagedRecord(path, f"damaged (not an object but {type(raw).__name__}); run it again")
    if (version := raw.get("version")) not in (1, VERSION) or isinstance(version, bool):
        said = f"record version {version!r}, this rnn_research reads versions 1 to {VERSION}; "
        raise DamagedRecord(path, f"{said}compare it with the version that wrote it, or run it again")
    known = {item.name for item in fields(RunRecord)}
    try:
        raw = version1.converted(raw) if version == 1 else raw
        if isinstance(raw.get("choices"), dict) and "optimizer" in raw["choices"]:  # from the command line
            raw["choices"] = {**raw["choices"], **CHOSEN_BEFORE, **raw["choices"]}  # in the record's own order
        return RunRecord(**_typed({key: value for key, value in raw.items() if key in known}))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DamagedRecord(path, f"damaged ({error}); run it again") from None


def load(folder: str | Path) -> RunRecord:
    """Return the record of the run in `folder`. Raises as `read`."""
    return read(Path(folder))


def find(folders: Iterable[Path]) -> Iterator[Path]:
    """Every folder at or below `folders` that holds a `run.json`, each once, in sorted order; links to folders are
    followed, also into a circle."""
    seen: set[tuple[int, int]] = set()
    for folder in folders:
        found, walked = [], set()
        for at, below, files in os.walk(folder, followlinks=True):
            place = _place(at)
            if place is None or place in walked:
                below.clear()
                continue
            walked.add(place)
            if RECORD in files:
                found.append((at.split(os.sep), place))
        for parts, place in sorted(found, key=lambda one: [*one[0], RECORD]):
            if place not in seen:
                seen.add(place)
                yield Path(os.sep.join(parts))


def _place(folder: str) -> tuple[int, int] | None:
    """Which folder it is, by whatever name; None where it has gone."""
    try:
        there = os.stat(folder)
    except OSError:
        return None
    return there.st_dev, there.st_ino


def write_table(folder: Path, name: str, table: np.ndarray) -> None:
    """Write a probe's structured array to `folder/probes/<name>.npy`, atomically."""
    replace_atomically(
        folder / PROBES / f"{name}.npy", lambda file: np.save(file, table, allow_pickle=False), mode="wb"
    )


def read_table(folder: Path, name: str) -> np.ndarray | None:
    """The table that probe `name` left, or None where it left none.

    Raises:
        DamagedRecord: the file can't be read, or is no table.
    """
    path = folder / PROBES / f"{name}.npy"
    if not path.exists():
        return None
    try:
        with whole_file.opened(path) as file:
            if file.read(len(MAGIC)) != MAGIC:  # numpy would speak of pickles, and how to load them
                raise ValueError("not a .npy file")
            file.seek(0)
            table = npy.read(file)
    except Exception as error:  # numpy parses the header as Python: a torn one raises even TokenError
        raise DamagedRecord(path, f"damaged ({error}); run it again") from None
    return table


def plain(value: Any) -> Any:
    """Return `value` in what any reader of JSON takes: non-finite numbers as text, numpy's scalars as Python's, an
    integer that no int64 holds as the nearest float, or as text where none is near."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, int) and not -wellformed.LARGEST <= value < wellformed.LARGEST:
        return float(value) if abs(value) < 10**308 else str(value)
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value


@cache
def _hints() -> dict[str, Any]:
    return get_type_hints(RunRecord)


def _typed(raw: dict[str, Any]) -> dict[str, Any]:
    """`raw`, whose metrics are numbers again.

    Raises:
        TypeError, ValueError: a value isn't of its field's type.
    """
    for key, hint in _hints().items():
        options = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        if key in raw and not isinstance(raw[key], tuple(get_origin(option) or option for option in options)):
            expected = getattr(hint, "__name__", hint)
            raise TypeError(f"{key}: found {type(raw[key]).__name__}, expected {expected}")
    check_record(raw)
    metrics = {key: raw[key] for key in ("final", "best", "baselines") if key in raw}
    return raw | {key: {name: float(value) for name, value in row.items()} for key, row in metrics.items()}
