"""What one run's files say: its vanishing curves, rates, clipping and learning curve, and what is missing
of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from rnn_research import curves
from rnn_research.compare.breakdown import AnswersByValue, answers_by_feature, measure
from rnn_research.compare.factors import Settings
from rnn_research.compare.select import SelectedRun
from rnn_research.curves import Curve, Decay, Verdict
from rnn_research.records import runs
from rnn_research.records.runs import RunRecord
from rnn_research.statistics.slopes import thinned

StepChoice = int | Literal["first", "last"]
CLIPPING = ("step", "norm_before", "norm_after", "fired")
SPLITS = ("train", "val", "test")
METRICS = ("position_accuracy", "accuracy", "mse", "loss")
# Enough to draw a rate over training by.
MOST_STEPS = 60


@dataclass(frozen=True, eq=False)
class GradientAtStep:
    """The gradient of one run at one recorded step."""

    curve: Curve
    decay: Decay
    verdict: Verdict


@dataclass(frozen=True, eq=False)
class Series:
    """One run's y against the optimiser step x."""

    x: Int[np.ndarray, " step"]
    y: Float[np.ndarray, " step"]


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """A comparable run.

    `settings` are what it was trained with, as text by key. `start` is its first recorded step and `chosen` the one
    asked for; `beside` are the state's parts and layers at that step, by name. `rates` are of every recorded step, and
    `learning` is the validation metric. `answers` are grouped by feature, and `measure` says what they measure. What
    can't be had is None, and `missing` says why.
    """

    folder: Path
    record: RunRecord
    settings: Settings
    states: tuple[str, ...]
    steps: tuple[int, ...]
    start: GradientAtStep | None
    chosen: GradientAtStep | None
    rates: Series | None
    clipping: np.ndarray | None
    learning: Series | None
    missing: tuple[str, ...]
    answers: dict[str, AnswersByValue] = field(default_factory=dict)
    measure: str = ""
    beside: dict[str, GradientAtStep] = field(default_factory=dict)

    @property
    def diverged(self) -> bool:
        return self.record.status == "diverged"


def read_run(
    item: SelectedRun, state: str | None, step: StepChoice, metric: str | None, fraction: float
) -> ComparedRun:
    """Read the tables of a run that was found. `state` None: `joint`, all of the cell's together.

    Never raises for what the tables hold: that is said in `missing`.
    """
    folder, record = item.folder, item.record
    missing: list[str] = []
    adjoint = _table(folder, "adjoint", missing)
    start = chosen = rates = None
    states, steps, beside = (), (), {}
    diverged = record.diverged_step if record.status == "diverged" else None
    if adjoint is not None:
        try:
            states, steps = curves.states(adjoint), tuple(curves.steps(adjoint).tolist())
            state = state or curves.JOINT
            start, rates = _see(adjoint, state, "first", fraction, diverged), _rates(adjoint, state)
            chosen = _see(adjoint, state, step, fraction, diverged)
            beside = _beside(adjoint, state, chosen, fraction, diverged)
        except ValueError as error:
            missing.append(str(error))
    clipping, learning = _clipping(folder, missing), _learning(folder, metric, missing)
    answers, measured = _answers(folder, missing)
    told = (start, chosen, rates, clipping, learning, tuple(missing), answers, measured)
    return ComparedRun(folder, record, item.settings, states, steps, *told, beside=beside)


def split_metric(key: str) -> tuple[str, str]:
    """`test_accuracy` as (test, accuracy), and `length_100_accuracy`, of a further evaluation set, as (length_100,
    accuracy)."""
    split, _, name = key.partition("_")
    if split in SPLITS:
        return split, name
    known = [metric for metric in METRICS if key.endswith(f"_{metric}")]
    return (key[: -len(known[0]) - 1], known[0]) if known else (split, name)


def share_clipped(clipping: np.ndarray) -> float:
    """The share of steps in which clipping fired, of those whose norm before is finite; NaN where none is."""
    fired = clipping["fired"][np.isfinite(clipping["norm_before"])].astype(np.float64)
    return float(fired.mean()) if len(fired) else float("nan")


def _table(folder: Path, name: str, missing: list[str]) -> np.ndarray | None:
    try:
        table = runs.read_table(folder, name)
    except runs.DamagedRecord as error:
        missing.append(f"{name} table: {str(error).partition(': ')[2]}")
        return None
    if table is None:
        missing.append(f"{name} table: there is none; was the run without that probe?")
    return table


def _see(
    adjoint: np.ndarray, state: str, step: StepChoice, fraction: float, diverged: int | None, layer: int | None = None
) -> GradientAtStep:
    recorded = curves.steps(adjoint)
    number = {"first": int(recorded[0]), "last": None}[step] if isinstance(step, str) else step
    curve = curves.curve(adjoint, number, state, layer)
    seen = curves.typical(curve)
    decay = curves.decay(curve, fraction, seen=seen)
    return GradientAtStep(curve, decay, curves.verdict(curve, decay, diverged))


def _beside(
    adjoint: np.ndarray, state: str, chosen: GradientAtStep, fraction: float, diverged: int | None
) -> dict[str, GradientAtStep]:
    """What the joint state, or all layers together, consist of, where that is more than one: each for itself."""
    parts = chosen.curve.parts if len(chosen.curve.parts) > 1 else ()
    layers = curves.layers(adjoint)
    views = {part: (part, None) for part in parts} | {
        f"layer {layer}": (state, layer) for layer in layers if len(layers) > 1
    }
    step = chosen.curve.step
    return {name: _see(adjoint, part, step, fraction, diverged, layer) for name, (part, layer) in views.items()}


def _rates(adjoint: np.ndarray, state: str) -> Series | None:
    """The rate at the recorded steps that have one; at most `MOST_STEPS` of them, evenly spread."""
    found = [
        (step, curves.decay(curves.curve(rows, step, state), resamples=0).rate) for step, rows in _by_step(adjoint)
    ]
    known = [(step, rate) for step, rate in found if np.isfinite(rate)]
    if not known:
        return None
    return Series(*(np.array(column) for column in zip(*known, strict=True)))


def _by_step(table: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    table = table[np.argsort(table["step"], kind="stable")]
    steps = np.unique(table["step"])
    for step in steps[thinned(len(steps), MOST_STEPS)]:
        yield int(step), table[slice(*np.searchsorted(table["step"], (step, step + 1)))]


def _clipping(folder: Path, missing: list[str]) -> np.ndarray | None:
    table = _table(folder, "clipping", missing)
    if table is None:
        return None
    fits = (name for name in table.dtype.names or () if table.dtype[name].kind in "biuf")
    absent = sorted(set(CLIPPING).difference(fits))
    if absent or not len(table):
        lacks = f"lacks numbers in {', '.join(absent)}; run it again"
        missing.append(f"clipping table: {lacks if absent else 'has no rows'}")
        return None
    return table


def _answers(folder: Path, missing: list[str]) -> tuple[dict[str, AnswersByValue], str]:
    """Nothing where there is no table: runs that diverged, and those of earlier versions, have none."""
    try:
        table = runs.read_table(folder, runs.ANSWERS)
        return ({}, "") if table is None else (answers_by_feature(table), measure(table))
    except runs.DamagedRecord as error:
        missing.append(f"{runs.ANSWERS} table: {str(error).partition(': ')[2]}")
    except (ValueError, TypeError) as error:
        missing.append(f"{runs.ANSWERS} table: {error}; run it again")
    return {}, ""


def _learning(folder: Path, metric: str | None, missing: list[str]) -> Series | None:
    """The validation curve of `metric` (`<split>_<name>`); of a step written twice the later row."""
    if metric is None:
        return None
    name = split_metric(metric)[1]
    points: dict[int, float] = {}
    try:
        rows = runs.read_metrics(folder)
    except runs.DamagedRecord as error:
        missing.append(f"{runs.METRICS}: {str(error).partition(': ')[2]}")
        return None
    for row in rows:
        try:
            if row["split"] == "val" and 0 <= int(row["step"]) < 2**63:
                points[int(row["step"])] = float(row[name])
        except (KeyError, ValueError):
            continue
    if not points:
        missing.append(f"metrics.csv: no validation {name}")
        return None
    steps = sorted(points)
    return Series(np.array(steps), np.array([points[step] for step in steps]))
