"""Samples of tokens in a few arrays, with what is said of them: how they are kept for a second start."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rnn_research.datasets.own.kept import Arrays
from rnn_research.structures import Sample


def packed(sets: Mapping[str, Sequence[Sample]], said: Mapping[str, Any]) -> Arrays:
    """The arrays of samples by split, and of what else there is to keep, in types that JSON has."""
    text = json.dumps({**said, "sets": list(sets)}, ensure_ascii=False).encode("utf-8")
    arrays: Arrays = {"said": np.frombuffer(text, dtype=np.uint8)}
    for name, samples in sets.items():
        arrays[f"{name}_tokens"] = np.concatenate([sample.inputs for sample in samples]).astype(np.int32)
        arrays[f"{name}_ends"] = np.cumsum([len(sample.inputs) for sample in samples])
        arrays[f"{name}_targets"] = np.array([sample.target for sample in samples], dtype=np.int64)
    return arrays


def unpacked(arrays: Arrays) -> tuple[dict[str, list[Sample]], dict[str, Any]]:
    """What `packed` was given."""
    said = json.loads(arrays["said"].tobytes().decode("utf-8"))
    parts = ("tokens", "ends", "targets")
    return {name: _cut(*(arrays[f"{name}_{part}"] for part in parts)) for name in said.pop("sets")}, said


def _cut(tokens: np.ndarray, ends: np.ndarray, targets: np.ndarray) -> list[Sample]:
    """The samples whose tokens stand one after another, each up to its end."""
    tokens, bounds = tokens.astype(np.int64), [0, *ends.tolist()]
    pairs = zip(bounds, bounds[1:], targets.tolist(), strict=False)
    return [Sample(tokens[start:end], target) for start, end, target in pairs]
