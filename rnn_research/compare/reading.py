"""What one run's files say: its vanishing curves, rates, clipping and learning curve, and what is missing
of them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rnn_research import curves
from rnn_research.compare.breakdown import AnswersByValue, answers_by_feature, measure
from rnn_research.compare.cached import cached, is_kept
from rnn_research.compare.clipping_norms import COLUMNS, ClippingSummary, clipping_summary
from rnn_research.compare.factors import Settings
from rnn_research.compare.optional_tables import read_optional
from rnn_research.compare.run_summary import GradientAtStep, RateSeries, RunSummary, Series
from rnn_research.compare.select import SelectedRun
from rnn_research.records import runs
from rnn_research.records.metrics_file import read_columns
from rnn_research.records.printable import printable
from rnn_research.records.runs import RunRecord
from rnn_research.statistics.slopes import nested

StepChoice = int | Literal["first", "last"]
SPLITS = ("train", "val", "test")
METRICS = ("position_accuracy", "accuracy", "mse", "loss", "bits_per_character", "bits", "perplexity")
DIRECTIONS = ("forward", "backward")
"""Of a layer with two chains, by their numbers in the table."""
MOST_STEPS, FEW_FOR_A_POOL = 60, 64  # so many are enough to draw a rate over training by


@dataclass(frozen=True, eq=False)
class ComparedRun(RunSummary):
    """A comparable run: what its tables say, its record, its `settings` as text by key, and the `metric`
    (`<split>_<name>`) that it is compared by."""

    folder: Path
    record: RunRecord
    settings: Settings
    metric: str | None

    @property
    def score(self) -> float:
        """What its metric ended with; NaN where the record has none."""
        return self.record.final.get(self.metric or "", np.nan)

    @property
    def baseline(self) -> float:
        """What a predictor without memory reaches of its metric; NaN where the record has none."""
        return self.record.baselines.get(self.metric or "", np.nan)

    @property
    def diverged(self) -> bool:
        return self.record.status == "diverged"


@dataclass(frozen=True)
class TableView:
    """What to look at in a run: `state` (None: `joint`) at `step`, the metric, the fraction of the horizon, and one of
    `curves.NETWORKS` (None: all that there is)."""

    state: str | None
    step: StepChoice
    metric: str | None
    fraction: float
    part: str | None = None


def read_runs(
    found: Sequence[SelectedRun], views: Sequence[TableView], alone: Sequence[bool], processes: int = 1
) -> list[ComparedRun]:
    """`read_run` of each with its view. Several processes read what many runs have not kept, for here to read."""
    each = list(zip(found, views, alone, strict=True))
    new = [one for one in each if not is_kept(one[0].folder, _asked(*one))]
    if processes > 1 and len(new) >= FEW_FOR_A_POOL:
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            list(pool.map(_keep, *zip(*new, strict=True), chunksize=16))
    return [read_run(*one) for one in each]


def _keep(item: SelectedRun, view: TableView, alone: bool) -> None:
    read_run(item, view, alone)


def read_run(item: SelectedRun, view: TableView, alone: bool = True) -> ComparedRun:
    """The run with what its tables say, or what was kept of them before. Never raises for what the tables hold: that
    is said in `missing`.

    Args:
        alone: whether no other seed is of its condition, so that the interval of its rate is over its samples.
    """
    asked = _asked(item, view, alone)
    found = cached(item.folder, asked, lambda: summarise(item.folder, view, asked["diverged"], alone))
    return ComparedRun(
        **vars(found), folder=item.folder, record=item.record, settings=item.settings, metric=view.metric
    )


def _asked(item: SelectedRun, view: TableView, alone: bool) -> dict[str, Any]:
    """All that what is kept of a run depends on, beside its files."""
    diverged = item.record.diverged_step if item.record.status == "diverged" else None
    return asdict(view) | {"alone": alone, "diverged": diverged}


def summarise(folder: Path, view: TableView, diverged: int | None, alone: bool) -> RunSummary:
    """What the tables in a run's folder say; of one that diverged, at which step."""
    missing: list[str] = []
    table = _table(folder, "adjoint", missing)
    start = chosen = rates = None
    states, steps, beside = (), (), {}
    if table is not None:
        try:
            state = view.state or curves.JOINT
            table = curves.of_part(table, view.part)
            gradient = _Gradient(table, view.fraction, diverged, curves.RESAMPLES if alone else 0)
            states, steps = curves.states(table), gradient.steps
            start, chosen = gradient.at("first", state), gradient.at(view.step, state)
            rates, beside = gradient.rates(state), gradient.beside(chosen)
        except ValueError as error:
            missing.append(str(error))
    clipping, learning = _clipping(folder, missing), _learning(folder, view.metric, missing)
    answers, measured = _answers(folder, missing)
    optional = read_optional(folder, missing)
    return RunSummary(
        states, steps, start, chosen, rates, clipping, learning, tuple(map(printable, missing)), answers, measured,
        beside, *optional,
    )  # fmt: skip


def split_metric(key: str) -> tuple[str, str]:
    """`test_accuracy` as (test, accuracy), and `length_100_accuracy`, of a further evaluation set, as (length_100,
    accuracy)."""
    split, _, name = key.partition("_")
    if split in SPLITS:
        return split, name
    known = [metric for metric in METRICS if key.endswith(f"_{metric}")]
    return (key[: -len(known[0]) - 1], known[0]) if known else (split, name)


def _table(folder: Path, name: str, missing: list[str]) -> np.ndarray | None:
    try:
        table = runs.read_table(folder, name)
    except runs.DamagedRecord as error:
        missing.append(f"{name} table: {error.reason}")
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
        self.seen: dict[tuple[int, str, int | None, int | None], GradientAtStep] = {}
        if (number == number[0]).all():  # one step, as in long tables
            self.table, self.rows = table, {int(number[0]): table}
            return
        if (np.diff(number) < 0).any():
            order = np.argsort(number, kind="stable")
            table, number = table[order], number[order]
        self.table = table
        starts = np.flatnonzero(np.diff(number, prepend=number[0] - 1))
        self.rows = {
            int(number[first]): table[first:last] for first, last in zip(starts, [*starts[1:], len(table)], strict=True)
        }

    @property
    def steps(self) -> tuple[int, ...]:
        return tuple(self.rows)

    def at(
        self, step: StepChoice, state: str, layer: int | None = None, direction: int | None = None
    ) -> GradientAtStep:
        """Raises a ValueError where the step was not recorded, or the table lacks the state, layer or direction."""
        number = self._number(step, state, layer)
        key = number, state, layer, direction
        if key not in self.seen:
            rows = curves.of_direction(self.rows.get(number, self.table), direction)
            curve = curves.curve(rows, number, state, layer)
            # of several seeds the spread is theirs; of the samples', half as many draws tell enough
            seen = curves.typical(curve, self.resamples or curves.RESAMPLES // 2)
            decay = curves.decay(curve, self.fraction, self.resamples, seen)
            verdict = curves.verdict(curve, decay, self.diverged)
            self.seen[key] = GradientAtStep(curves.summary(curve, seen), decay, verdict)
        return self.seen[key]

    def rates(self, state: str) -> RateSeries | None:
        """The rate at the recorded steps that have one: of many steps every 2nd, 4th or 8th and the last, so that runs
        of different lengths have the same ones."""
        decays = {
            step: self._decay(step, state) for step in map(self.steps.__getitem__, nested(len(self.steps), MOST_STEPS))
        }
        known = {step: decay for step, decay in decays.items() if np.isfinite(decay.rate)}
        if not known:
            return None
        rates = [decay.rate for decay in known.values()]
        return RateSeries(np.array(list(known)), np.array(rates), np.array([decay.holds for decay in known.values()]))

    def beside(self, chosen: GradientAtStep) -> dict[str, GradientAtStep]:
        """What the joint state, or all layers or directions together, consist of, where that is more than one: each for
        itself. The directions are those of the top layer; of those below each has its layer's name."""
        state, parts, layers = chosen.curve.state, chosen.curve.parts, curves.layers(self.table)
        views: dict[str, tuple[str, int | None, int | None]]
        views = {part: (part, None, None) for part in parts if len(parts) > 1}
        ways = curves.directions(self.table)
        views |= {DIRECTIONS[way]: (state, None, way) for way in ways}
        if len(layers) > 1:
            below = layers[:-1] if ways else layers
            of_layers = [(layer, way) for layer in below for way in ways or (None,)]
            views |= {f"layer {layer}{' backward' * (way == 1)}": (state, layer, way) for layer, way in of_layers}
        return {name: self.at(chosen.curve.step, *view) for name, view in views.items()}

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

    def _decay(self, step: int, state: str) -> curves.Decay:
        if (key := (step, state, None, None)) in self.seen:
            return self.seen[key].decay
        return curves.decay(curves.curve(self.rows[step], step, state), resamples=0)


def _clipping(folder: Path, missing: list[str]) -> ClippingSummary | None:
    table = _table(folder, "clipping", missing)
    if table is None:
        return None
    fits = (name for name in table.dtype.names or () if table.dtype[name].kind in "biuf")
    absent = sorted(set(COLUMNS).difference(fits))
    if absent or not len(table):
        lacks = f"lacks numbers in {', '.join(absent)}; run it again"
        missing.append(f"clipping table: {lacks if absent else 'has no rows'}")
        return None
    return clipping_summary(table)


def _answers(folder: Path, missing: list[str]) -> tuple[dict[str, AnswersByValue], str]:
    """Nothing where there is no table: runs that diverged, and those of earlier versions, have none."""
    try:
        table = runs.read_table(folder, runs.ANSWERS)
        return ({}, "") if table is None else (answers_by_feature(table), measure(table))
    except runs.DamagedRecord as error:
        missing.append(f"{runs.ANSWERS} table: {error.reason}")
    except (ValueError, TypeError) as error:
        missing.append(f"{runs.ANSWERS} table: {error}; run it again")
    return {}, ""


def _learning(folder: Path, metric: str | None, missing: list[str]) -> Series | None:
    """The validation curve of `metric` (`<split>_<name>`); of a step written twice the later row."""
    if metric is None:
        return None
    name = split_metric(metric)[1]
    try:
        rows = read_columns(folder, ("split", "step", name), having="val")
        expected = rows or not read_columns(folder, ("split", "step", "loss"), having=",val,")
    except runs.DamagedRecord as error:
        missing.append(f"{runs.METRICS}: {error.reason}")
        return None
    points = _points([(step, value) for split, step, value in rows if split == "val"])
    if not points:
        if expected:  # of a run with validations it may be measured after training alone, as BLEU is
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
