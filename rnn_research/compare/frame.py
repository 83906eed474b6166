"""The runs as a data frame of polars or pandas, whichever is installed; neither is required."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnn_research.compare.comparison import Comparison, compare
from rnn_research.compare.factors import short
from rnn_research.compare.reading import ComparedRun
from rnn_research.records import runs
from rnn_research.records.printable import printable, printable_values

LIBRARIES = ("polars", "pandas")
OWN = (
    "run",
    "seed",
    "status",
    "diverged_step",
    "far_ratio",
    "far_ratio_low",
    "far_ratio_high",
    "rate",
    "rate_low",
    "rate_high",
    "rate_holds",
    "verdict",
    "horizon",
    "clipped",
    "solved_at_step",
    "parameters",
    "steps",
    "left_out",
    "folder",
)
"""The columns that every frame has; between `run` and `seed` stand the factors, and after `status` the metrics."""


def read(*folders: Path | str, library: str | None = None, **options: Any) -> Any:
    """Return the runs at or below `folders` as a data frame, a row a run; runs that can't be compared too, with the
    reason in `left_out`.

    Columns: the factors by their short names, numbers where all values are; `seed`, `status`, every metric that the
    records end with; `far_ratio` and `rate` (nats per cell application) with their 95% interval over samples,
    `rate_holds` (whether one exponential describes the curve), `verdict`, `horizon`, `clipped` (a share of steps),
    `parameters`, `steps`, `folder`. What a run lacks is null.

    Args:
        library: `polars` or `pandas`; default the first of these that is installed.
        options: of `compare`.

    Raises:
        NothingToCompare: as `compare`.
        ImportError: the library (either, by default) is not installed.
    """
    module = _library(library)
    comparison = compare([Path(folder) for folder in folders], **options)
    found = rows(comparison)
    table = {key: [row[key] for row in found] for key in found[0]}
    return module.DataFrame(table, strict=False) if module.__name__ == "polars" else module.DataFrame(table)


def rows(comparison: Comparison) -> list[dict[str, Any]]:
    """The runs in the order of their conditions, each as a mapping with the same keys, then those left out."""
    metrics = list(dict.fromkeys(name for run in comparison.runs for name in run.record.final))
    names = _names(comparison, metrics)
    found = [_row(comparison, run, condition.options) for condition in comparison.conditions for run in condition.runs]
    found += [_left_out(comparison, item.folder, item.reason) for item in comparison.excluded]
    keys = ["run", *names, "seed", "status", *metrics, *OWN[3:]]
    table = {key: [row.get(f"factor {names[key]}" if key in names else key) for row in found] for key in keys}
    table |= {name: _numbers(table[name]) for name in names}
    return [dict(zip(keys, values, strict=True)) for values in zip(*table.values(), strict=True)]


def _names(comparison: Comparison, metrics: list[str]) -> dict[str, str]:
    """The factor of each column that shows one; a factor called as another column has its whole name, or `factor.`
    before it."""
    taken, found = {*OWN, *metrics}, {}
    for factor, name in short(comparison.varying).items():
        free = next(each for each in (name, factor, f"factor.{factor}") if each not in taken)
        taken.add(free)
        found[free] = factor
    return found


def _row(comparison: Comparison, run: ComparedRun, options: Mapping[str, str]) -> dict[str, Any]:
    record = run.record
    row: dict[str, Any] = {f"factor {factor}": value for factor, value in options.items()}
    row |= record.final
    row |= {"run": printable(comparison.name(run.folder)), "folder": printable(str(run.folder))}
    row |= {"seed": record.seed, "status": record.status, "diverged_step": record.diverged_step}
    row |= {"parameters": record.parameters, "steps": record.steps, "solved_at_step": record.success.get("step")}
    if run.chosen is not None:
        decay, far = run.chosen.decay, run.chosen.decay.far
        row |= {"far_ratio": far.ratio, "far_ratio_low": far.low, "far_ratio_high": far.high}
        row |= {"rate": decay.rate, "rate_low": decay.low, "rate_high": decay.high, "rate_holds": decay.holds}
        row |= {"verdict": run.chosen.verdict.word, "horizon": decay.horizon}
    if run.clipping is not None:
        row["clipped"] = run.clipping.share
    return row


def _left_out(comparison: Comparison, folder: Path, reason: str) -> dict[str, Any]:
    row = {"run": printable(comparison.name(folder)), "folder": printable(str(folder)), "left_out": printable(reason)}
    try:
        record = runs.read(folder)
    except runs.DamagedRecord:
        return row
    known = {"seed": record.seed, "status": record.status, "parameters": record.parameters, "steps": record.steps}
    return row | printable_values(record.final) | known


def _numbers(values: list[Any]) -> list[Any]:
    """A factor's values as integers or floats where all are, else as they were written."""
    for kind in (int, float):
        try:
            return [None if value is None else kind(value) for value in values]
        except ValueError:
            continue
    return values


def _library(asked: str | None) -> Any:
    names = LIBRARIES if asked is None else (asked,)
    if asked is not None and asked not in LIBRARIES:
        raise ImportError(f"library: given {asked!r}, expected one of {', '.join(LIBRARIES)}")
    for name in names:
        if importlib.util.find_spec(name) is not None:
            return importlib.import_module(name)
    raise ImportError(f"read: {' and '.join(names)} not installed; pip install {names[0]}, or use compare(...)")
