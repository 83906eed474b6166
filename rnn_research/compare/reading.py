"""What one run's files say: its vanishing curves, rates, clipping and learning curve, and what is missing
of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from rnn_research import curves
from rnn_research.compare.breakdown import AnswersByValue, answers_by_feature, measure
from rnn_research.compare.factors import Settings
from rnn_research.compare.select import SelectedRun
from rnn_research.curves import CurveSummary, Decay, Verdict
from rnn_research.records import runs
from rnn_research.records.runs import RunRecord
from rnn_research.statistics.slopes import nested

StepChoice = int | Literal["first", "last"]
CLIPPING = ("step", "norm_before", "norm_after", "fired")
SPLITS = ("train", "val", "test")
METRICS = ("position_accuracy", "accuracy", "mse", "loss")
# Enough to draw a rate over training by.
MOST_STEPS = 60


@dataclass(frozen=True, eq=False)
class GradientAtStep:
    """The gradient of one run at one recorded step."""

    curve: CurveSummary
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
    item: SelectedRun, state: str | None, step: StepChoice, metric: str | None, fraction: float, alone: bool = True
) -> ComparedRun:
    """Read the tables of a run that was found. `state` None: `joint`, all of the cell's together.

    Never raises for what the tables hold: that is said in `missing`.

    Args:
        alone: whether no other seed is of its condition, so that the interval of its rate is over its samples.
    """
    folder, record = item.folder, item.record
    missing: list[str] = []
    table = _table(folder, "adjoint", missing)
    start = chosen = rates = None
    states, steps, beside = (), (), {}
    if table is not None:
        try:
            state = state or curves.JOINT
            diverged = record.diverged_step if record.status == "diverged" else None
            gradient = _Gradient(table, fraction, diverged, curves.RESAMPLES if alone else 0)
            states, steps = curves.states(table), gradient.steps
            start, chosen = gradient.at("first", state), gradient.at(step, state)
            rates, beside = gradient.rates(state), gradient.beside(chosen)
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


class _Gradient:
    """The adjoint table of one run, each step looked at once."""

    def __init__(self, table: np.ndarray, fraction: float, diverged: int | None, resamples: int) -> None:
        self.fraction, self.diverged, self.resamples = fraction, diverged, resamples
        curves.check(table)
        number = np.ascontiguousarray(table["step"])
        if (np.diff(number) < 0).any():
            order = np.argsort(number, kind="stable")
            table, number = table[order], number[order]
        self.table = table
        starts = np.flatnonzero(np.diff(number, prepend=number[0] - 1))
        self.rows = {
            int(number[first]): table[first:last] for first, last in zip(starts, [*starts[1:], len(table)], strict=True)
        }
        self.seen: dict[tuple[int, str, int | None], GradientAtStep] = {}

    @property
    def steps(self) -> tuple[int, ...]:
        return tuple(self.rows)

    def at(self, step: StepChoice, state: str, layer: int | None = None) -> GradientAtStep:
        """Raises a ValueError where the step was not recorded, or the table lacks the state or the layer."""
        number = self._number(step, state, layer)
        key = number, state, layer
        if key not in self.seen:
            curve = curves.curve(self.rows.get(number, self.table), number, state, layer)
            seen = curves.typical(curve)
            decay = curves.decay(curve, self.fraction, self.resamples, seen)
            verdict = curves.verdict(curve, decay, self.diverged)
            self.seen[key] = GradientAtStep(curves.summary(curve, seen), decay, verdict)
        return self.seen[key]

    def rates(self, state: str) -> Series | None:
        """The rate at the recorded steps that have one: of many steps every 2nd, 4th or 8th and the last, so that runs
        of different lengths have the same ones."""
        known = [self.steps[index] for index in nested(len(self.steps), MOST_STEPS)]
        found = [(step, rate) for step in known if np.isfinite(rate := self._rate(step, state))]
        if not found:
            return None
        return Series(*(np.array(column) for column in zip(*found, strict=True)))

    def beside(self, chosen: GradientAtStep) -> dict[str, GradientAtStep]:
        """What the joint state, or all layers together, consist of, where that is more than one: each for itself."""
        state, parts, layers = chosen.curve.state, chosen.curve.parts, curves.layers(self.table)
        views = {part: (part, None) for part in parts if len(parts) > 1} | {
            f"layer {layer}": (state, layer) for layer in layers if len(layers) > 1
        }
        return {name: self.at(chosen.curve.step, part, layer) for name, (part, layer) in views.items()}

    def _number(self, step: StepChoice, state: str, layer: int | None) -> int:
        if step == "first":
            return self.steps[0]
        if step != "last":
            return step
        if len(self.steps) == 1:
            return self.steps[0]
        # from the last step back: all rows are looked at only where no norm is finite
        ends = (curves.last_finite_step(self.rows[number], state, layer) for number in reversed(self.steps))
        return next((number for number in ends if number is not None), self.steps[-1])

    def _rate(self, step: int, state: str) -> float:
        if (step, state, None) in self.seen:
            return self.seen[step, state, None].decay.rate
        return curves.decay(curves.curve(self.rows[step], step, state), resamples=0).rate


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
    try:
        rows = runs.read_columns(folder, ("split", "step", name))
    except runs.DamagedRecord as error:
        missing.append(f"{runs.METRICS}: {str(error).partition(': ')[2]}")
        return None
    points = _points([(step, value) for split, step, value in rows if split == "val"])
    if not points:
        missing.append(f"metrics.csv: no validation {name}")
        return None
    steps = sorted(points)
    return Series(np.array(steps), np.array([points[step] for step in steps]))


def _points(rows: Sequence[tuple[str, str]]) -> dict[int, float]:
    """(step, value) as numbers, without rows that are none."""
    try:
        points = {int(step): float(value) for step, value in rows}
    except ValueError:
        points = {}
        for step, value in rows:
            with suppress(ValueError):
                points[int(step)] = float(value)
    return {step: value for step, value in points.items() if 0 <= step < 2**63}
