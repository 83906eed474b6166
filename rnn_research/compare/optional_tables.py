"""What a run's optional tables say: `saturation`, `counterfactual`, and the classes in `answers`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from rnn_research.compare.run_summary import Series, StrategyBins
from rnn_research.records import runs
from rnn_research.statistics.slopes import nested

SATURATION, COUNTERFACTUAL = "saturation", "counterfactual"
PLACES = ("part", "layer", "direction")
"""Columns that say which layer a row is of."""
TIMESCALE = "forget_timescale"
MOST_STEPS = 60
BINS = 64
MOST_CLASSES = 200
TEST = "test"
Found = TypeVar("Found")


def read_optional(
    folder: Path, missing: list[str]
) -> tuple[dict[str, Series], dict[str, StrategyBins], np.ndarray | None]:
    """(saturation by activation, bins by strategy, confusions); what is not there is empty, and what can't be read is
    said in `missing`."""
    return (
        _read(folder, SATURATION, saturation, {}, missing),
        _read(folder, COUNTERFACTUAL, foreseen, {}, missing),
        _read(folder, runs.ANSWERS, confusions, None, []),  # whatever is wrong with it is said of the answers
    )


def _read(folder: Path, name: str, see: Callable[[np.ndarray], Found], nothing: Found, missing: list[str]) -> Found:
    try:
        table = runs.read_table(folder, name)
        return nothing if table is None or not len(table) else see(table)
    except runs.DamagedRecord as error:
        missing.append(f"{name} table: {str(error).partition(': ')[2]}")
    except (ValueError, TypeError) as error:
        missing.append(f"{name} table: {error}; run it again")
    return nothing


def saturation(table: np.ndarray) -> dict[str, Series]:
    """The share of saturated activations against the step, by activation; of several layers each, as `f, layer 1`, of
    an encoder's and a decoder's as `f, decoder layer 1`, of a backward chain's as `f, layer 1 backward`.

    `forget_timescale` is in cell applications. Of many steps every 2nd, 4th or 8th and the last.

    Raises:
        ValueError: it lacks `step` or `layer`, or holds something else than numbers.
    """
    _check(table, ("step", "layer"))
    places = [name for name in PLACES if name in (table.dtype.names or ())]
    layers = sorted(set(zip(*(table[name].tolist() for name in places), strict=True)))
    found = {}
    for layer in layers:
        rows = table[np.logical_and.reduce([table[name] == at for name, at in zip(places, layer, strict=True)])]
        _, last = np.unique(rows["step"][::-1], return_index=True)  # of a step written twice the later row
        rows = rows[len(rows) - 1 - last]
        rows = rows[nested(len(rows), MOST_STEPS)]
        for name in rows.dtype.names or ():
            values = rows[name].astype(np.float64)
            if name not in ("step", *PLACES) and np.isfinite(values).any():
                key = name if len(layers) == 1 else f"{name}, {_said(dict(zip(places, layer, strict=True)))}"
                found[key] = Series(rows["step"].astype(np.int64), values)
    return found


def _said(place: Mapping[str, int]) -> str:
    """Where a layer is, in words."""
    part = {0: "encoder ", 1: "decoder "}.get(place.get("part", -1), "")
    return f"{part}layer {place['layer']}{' backward' if place.get('direction') else ''}"


def foreseen(table: np.ndarray) -> dict[str, StrategyBins]:
    """What each strategy of a counterfactual table would have done, in at most 64 bins of steps.

    Raises:
        ValueError: it lacks a column, or holds something else than numbers.
    """
    _check(table, ("step", "norm_before"))
    names = [name.removesuffix(".cosine") for name in table.dtype.names or () if name.endswith(".cosine")]
    _check(table, [f"{name}.{part}" for name in names for part in ("norm_after", "skipped")])
    step, width = table["step"].astype(np.int64), 1
    while (step.max() // width) - (step.min() // width) >= BINS:
        width *= 2
    before = table["norm_before"].astype(np.float64)
    known = np.isfinite(before) & (before > 0)
    return {name: _bins(table[known], name, before[known], step[known], width) for name in names if known.any()}


def _bins(table: np.ndarray, name: str, before: np.ndarray, step: np.ndarray, width: int) -> StrategyBins:
    """The steps whose gradient before is finite and not zero, in bins of `width`."""
    after = table[f"{name}.norm_after"].astype(np.float64)
    cosine, skipped = (table[f"{name}.{part}"].astype(np.float64) for part in ("cosine", "skipped"))
    taken = (skipped == 0) & np.isfinite(cosine) & np.isfinite(after) & (after > 0)
    ratio = np.zeros(len(after))
    ratio[taken] = np.log(after[taken]) - np.log(before[taken])
    number, where = np.unique(step // width, return_inverse=True)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(where, values, minlength=len(number))

    return StrategyBins(
        width, number, total(taken), total(np.where(taken, cosine, 0.0)), total(ratio), float((skipped == 1).mean())
    )


def confusions(table: np.ndarray) -> np.ndarray | None:
    """How many samples of the test set with each true class (row) were given each class (column): int64, as large as
    its largest class; None where the table has no classes, or more than 200."""
    names = table.dtype.names or ()
    if "predicted" not in names or "true" not in names or "set" not in names:
        return None
    rows = table[table["set"] == TEST]
    true, predicted = (rows[name].astype(np.float64) for name in ("true", "predicted"))  # NaN in sets without classes
    there = np.isfinite(true) & np.isfinite(predicted) & (true >= 0) & (predicted >= 0)
    if not there.any():
        return None
    pairs = np.stack([true[there], predicted[there]]).astype(np.int64)
    size = int(pairs.max()) + 1
    if size > MOST_CLASSES:
        return None
    return np.bincount(pairs[0] * size + pairs[1], minlength=size * size).reshape(size, size)


def _check(table: np.ndarray, needed: Sequence[str]) -> None:
    names = table.dtype.names or ()
    if absent := sorted(set(needed).difference(names)):
        raise ValueError(f"lacks {', '.join(absent)}")
    if any(table.dtype[name].kind not in "biuf" for name in names):
        raise ValueError("has a column that is not of numbers")
