"""What was read of a run is kept beside its record, so that a second comparison reads no table.

A file holds one view of one run: what `read_run` found for one state, step, metric and fraction. It counts while the
run's files have the sizes and times that they had when it was written, and the package is the one that wrote it; else
the run is read again. Nothing in it is trusted: what can't be read as written is as if it were not there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rnn_research.compare.breakdown import AnswersByValue
from rnn_research.compare.clipping_norms import ClippingSummary
from rnn_research.compare.kept_form import has_form
from rnn_research.compare.optional_tables import COUNTERFACTUAL, SATURATION
from rnn_research.compare.run_summary import GradientAtStep, RateSeries, RunDetail, RunSummary, Series, StrategyBins
from rnn_research.compare.stamps import digest, sources, stamp
from rnn_research.curves import CurveSummary, Decay, FarRatio, Law, SampleGroup, Verdict
from rnn_research.records import runs, whole_file

LARGEST = 1 << 30
"""Bytes of what is kept of a run."""
PREFIX = ".comparison-"
ROOMS = ("compare", "curves", "statistics", "records")
"""What reads a table: where their sources are others, it may come out as another summary."""
KINDS = {
    kind.__name__: kind
    for kind in (
        AnswersByValue,
        ClippingSummary,
        CurveSummary,
        Decay,
        FarRatio,
        GradientAtStep,
        Law,
        RateSeries,
        RunDetail,
        RunSummary,
        SampleGroup,
        Series,
        StrategyBins,
        Verdict,
    )
}
"""What a file may hold, by name."""
FIELDS: dict[type, tuple[str, ...]] = {kind: tuple(item.name for item in fields(kind)) for kind in KINDS.values()}
PLAIN = frozenset((str, int, float, bool, type(None)))
ARRAYS = ("<f8", "<i8", "|b1")
Kept = TypeVar("Kept", RunSummary, RunDetail)
READ = ("adjoint", "clipping", SATURATION, COUNTERFACTUAL, runs.ANSWERS)
"""The tables that a comparison reads."""


def cached(
    folder: Path,
    view: Mapping[str, Any],
    read: Callable[[], Kept],
    kind: type[Kept] = RunSummary,
    among: Sequence[int] = (),
) -> Kept:
    """What `read` returns; from the file beside the record where that still holds, else the file is written.

    Args:
        view: what `read` looks at and how, in plain values: there is a file for each.
        kind: of what it returns.
        among: what that depends on too; for another the file is written anew.
    """
    state, path = _state(folder, view, among), _path(folder, view)
    if (found := _load(path, state, kind)) is not None:
        return found
    summary = read()
    if _state(folder, view, among) == state:  # else the run is being written
        with suppress(OSError):
            runs.replace_atomically(path, lambda file: file.write(_dump(summary, state)), "wb", sync=False)
    return summary


def is_kept(folder: Path, view: Mapping[str, Any]) -> bool:
    """Whether there is a file of this view, which may hold or not."""
    return _path(folder, view).exists()


def _path(folder: Path, view: Mapping[str, Any]) -> Path:
    return folder / f"{PREFIX}{digest(dict(view))[:16]}"


def _state(folder: Path, view: Mapping[str, Any], among: Sequence[int]) -> str:
    """A digest of the view, what it is among, the package, and the sizes and times of the run's files."""
    names = (runs.RECORD, runs.METRICS, *(f"{runs.PROBES}/{name}.npy" for name in READ))
    return digest([sources(*ROOMS), dict(view), list(among), [stamp(f"{folder}/{name}") for name in names]])


def _dump(summary: RunSummary | RunDetail, state: str) -> bytes:
    """A line with the digest of all that follows, one line of JSON, then the arrays that it names by their place."""
    arrays: list[bytes] = []
    size = 0

    def plain(value: Any) -> Any:
        nonlocal size
        if type(value) in PLAIN:
            return value
        if isinstance(value, np.ndarray):
            if value.dtype.kind == "U":
                return {"text": value.tolist()}
            kind = {"f": "<f8", "b": "|b1"}.get(value.dtype.kind, "<i8")
            arrays.append(np.ascontiguousarray(value, dtype=kind).tobytes())
            size += len(arrays[-1])
            return {"array": [kind, size - len(arrays[-1]), list(value.shape)]}
        if is_dataclass(value):
            names = FIELDS[type(value)]
            return {"kind": type(value).__name__, **{name: plain(getattr(value, name)) for name in names}}
        if isinstance(value, tuple | list):
            return {"tuple": [plain(item) for item in value]}
        if isinstance(value, dict):
            return {"dict": [[key, plain(item)] for key, item in value.items()]}
        return value.item() if isinstance(value, np.generic) else value

    head = json.dumps({"state": state, "summary": plain(summary)})
    body = head.encode() + b"\n" + b"".join(arrays)
    return _sum(body) + b"\n" + body


def _sum(body: bytes | memoryview) -> bytes:
    return hashlib.blake2b(body, digest_size=16).hexdigest().encode()


def _load(path: Path, state: str, kind: type[Kept]) -> Kept | None:
    try:
        data = whole_file.content(path, LARGEST)
        start = data.index(b"\n") + 1
        if _sum(memoryview(data)[start:]) != data[: start - 1]:
            return None
        end = data.index(b"\n", start)
        head = json.loads(data[start:end])
        if head["state"] != state:
            return None
        found = _object(head["summary"], memoryview(data)[end + 1 :])
        return found if has_form(found, kind) else None
    # whatever a file holds that somebody else wrote: it is as if it were not there
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, MemoryError):
        return None


def _object(value: Any, arrays: memoryview) -> Any:
    if not isinstance(value, dict):
        return value
    if "kind" in value:
        kind = KINDS[value["kind"]]
        found = object.__new__(kind)  # as it was: its fields are checked together, by `has_form`
        own = vars(found)
        for name in FIELDS[kind]:
            one = value[name]
            own[name] = _object(one, arrays) if isinstance(one, dict) else one
        return found
    if "array" in value:
        kind, start, shape = value["array"]
        if kind not in ARRAYS:
            raise ValueError(kind)
        return np.frombuffer(arrays, kind, int(np.prod(shape)), start).reshape(shape)
    if not all(isinstance(value[form], list) for form in ("tuple", "dict", "text") if form in value):
        raise ValueError(list(value))
    if "tuple" in value:
        return tuple([_object(item, arrays) if isinstance(item, dict) else item for item in value["tuple"]])
    if "text" in value:
        return np.array(value["text"])
    return {key: _object(item, arrays) for key, item in value["dict"]}
