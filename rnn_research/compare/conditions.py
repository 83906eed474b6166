"""A condition: one option of each factor, over its seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnn_research.compare.breakdown import Bins, Breakdown, breakdown
from rnn_research.compare.clipping_norms import GradientNorms, gradient_norms
from rnn_research.compare.optional_conditions import Confusion, ForeseenEffect, confusion, foreseen_effects
from rnn_research.compare.reading import ComparedRun
from rnn_research.compare.run_summary import GradientAtStep, Series
from rnn_research.compare.scales import MetricScale, scale_of, scaled_band, scaled_interval
from rnn_research.compare.success import Success, success
from rnn_research.curves import Reading, together
from rnn_research.statistics.intervals import Band, Interval, band, interval
from rnn_research.statistics.intervals import at as at_x

NAN = float("nan")
LENGTHS_APART = 1.25
"""Words over lengths of which one is more than so many times the other are not compared without saying so."""


@dataclass(frozen=True, eq=False)
class Condition:
    """What is compared: a row of the table. Of several runs of one seed, which differ in what is pooled, the mean
    counts: intervals are over seeds.

    `metric` and `learning` are of the runs that didn't diverge, on the scale of the metric `metric_name`; where its
    runs are of tasks that are compared by different metrics there is none. `start` is at the first
    recorded step, `chosen` at the one asked for; `beside` are the state's parts and layers at that step. `rates` is the
    slope of the curves over training. `clipped` is the share of steps with a finite gradient norm in which clipping
    fired. `answers` are by feature, `saturation` over training by activation, and `foreseen` what strategies that did
    not act would have done, by their name. None where no run has it.
    """

    options: dict[str, str]
    runs: tuple[ComparedRun, ...]
    metric_name: str | None
    metric: Interval | None
    scale: MetricScale
    baseline: float | None
    start: Reading | None
    chosen: Reading | None
    rates: Band | None
    learning: Band | None
    norms: GradientNorms | None
    clipped: Interval | None
    success: Success | None
    answers: dict[str, Breakdown]
    beside: dict[str, Reading]
    saturation: dict[str, Band]
    foreseen: dict[str, ForeseenEffect]
    confusion: Confusion | None

    @property
    def diverged(self) -> tuple[ComparedRun, ...]:
        return tuple(run for run in self.runs if run.diverged)

    @property
    def seeds(self) -> int:
        """How many seeds its runs have."""
        return len({run.record.seed for run in self.runs})

    @property
    def read(self) -> int:
        """Of how many seeds `chosen` is: those whose table could be read at that step."""
        return 0 if self.chosen is None else len(self.chosen.words)

    @property
    def lengths(self) -> tuple[int, int] | None:
        """Over how many applications the words of `start` and of `chosen` are, where the longer is more than
        `LENGTHS_APART` times the shorter: not training alone makes them differ."""
        if not (self.start and self.chosen):
            return None
        first, last = self.start.verdict.length, self.chosen.verdict.length
        return (first, last) if max(first, last) > LENGTHS_APART * min(first, last) > 0 else None

    @property
    def parameters(self) -> tuple[int, ...]:
        """The different numbers of parameters among the runs."""
        return tuple(sorted({run.record.parameters for run in self.runs}))

    @property
    def steps(self) -> tuple[int, ...]:
        """The different steps at which `chosen` looks."""
        return tuple(sorted({run.chosen.curve.step for run in self.runs if run.chosen}))


def condition(
    options: dict[str, str], members: Sequence[ComparedRun], bins: Mapping[str, Bins] | None = None
) -> Condition:
    """Put the runs of one condition together; `bins` are those of each feature that the answers are looked at by."""
    metric = shared_metric(members)
    finished = [run for run in members if not run.diverged] if metric else []
    ours = scale_of(metric, (run.score for run in members))
    answered = scale_of(members[0].measure if len({run.measure for run in members}) == 1 else None)
    baselines = interval([run.baseline for run in members]) if metric else None
    answers = [[run.answers for run in runs] for runs in _seeds(members)]
    broken = {name: breakdown(answers, name, among, answered) for name, among in (bins or {}).items()}
    clipping = [run.clipping for run in members if run.clipping is not None]
    chosen = _reading(members, lambda run: run.chosen)
    alike = all(
        _step(run.start) == _step(run.chosen) for run in members
    )  # what was recorded at one step, as at the start
    return Condition(
        options,
        tuple(members),
        metric_name=metric,
        metric=scaled_interval(_of_seeds(finished, lambda run: run.score, ours), ours),
        scale=ours,
        baseline=baselines.mean if baselines else None,
        start=chosen if alike else _reading(members, lambda run: run.start),
        chosen=chosen,
        rates=_band(members, lambda run: run.rates),
        learning=scaled_band(_band(finished, lambda run: _logs(run.learning, ours)), ours),
        norms=gradient_norms(clipping),
        clipped=scaled_interval(
            _of_seeds(members, lambda run: NAN if run.clipping is None else run.clipping.share), MetricScale.SHARE
        ),
        success=success([run.record for run in members]),
        answers={name: found for name, found in broken.items() if found is not None},
        beside=_beside(members),
        saturation=_saturation(members),
        foreseen=foreseen_effects(members, _band),
        confusion=confusion(members),
    )


def shared_metric(runs: Iterable[ComparedRun]) -> str | None:
    """The metric that all runs are compared by; None where they have different ones, of which no mean is taken."""
    names = {run.metric for run in runs if run.metric is not None}
    return names.pop() if len(names) == 1 else None


def _seeds(members: Sequence[ComparedRun]) -> list[list[ComparedRun]]:
    """The runs of each seed."""
    found: dict[int, list[ComparedRun]] = {}
    for run in members:
        found.setdefault(run.record.seed, []).append(run)
    return list(found.values())


def _of_seeds(
    members: Sequence[ComparedRun], view: Callable[[ComparedRun], float], scale: MetricScale = MetricScale.PLAIN
) -> list[float]:
    """The mean over each seed's runs of what is finite, of logs the geometric one; NaN where nothing is."""
    values = [[value for run in runs if np.isfinite(value := view(run))] for runs in _seeds(members)]
    found = [scaled_interval(some, scale) for some in values]
    return [NAN if one is None else one.mean for one in found]


def _logs(series: Series | None, scale: MetricScale) -> Series | None:
    """The series, or on the scale of logs its logarithms; what is not above 0 has none."""
    if series is None or scale is not MetricScale.LOG:
        return series
    return replace(series, y=np.log(np.where(series.y > 0, series.y, np.nan)))


def _reading(members: Sequence[ComparedRun], look: Callable[[ComparedRun], GradientAtStep | None]) -> Reading | None:
    of_seeds = [_of_one_seed([at for at in map(look, runs) if at is not None]) for runs in _seeds(members)]
    seen = [at for at in of_seeds if at is not None]
    return together([at.curve for at in seen], [at.decay for at in seen], [at.verdict for at in seen])


def _step(at: GradientAtStep | None) -> int | None:
    return None if at is None else at.curve.step


def _of_one_seed(seen: Sequence[GradientAtStep]) -> GradientAtStep | None:
    """What a seed's runs say together, as one run."""
    if len(seen) < 2:
        return seen[0] if seen else None
    found = together([at.curve for at in seen], [at.decay for at in seen], [at.verdict for at in seen])
    if found is None:
        return None
    sums = found.depth_sum
    curve = replace(
        seen[0].curve,
        distance=found.curve.x,
        log=found.curve.mean,
        log_depth_sum=found.curve.mean if sums is None else at_x(found.curve.x, [sums.x], [sums.mean])[0],
        branching=any(at.curve.branching for at in seen),
    )
    far = replace(found.decay.far, low=NAN, high=NAN)  # levels are no seeds: their spread is no interval
    return GradientAtStep(curve, replace(found.decay, low=NAN, high=NAN, far=far, seeds=1), found.verdict)


def _beside(members: Sequence[ComparedRun]) -> dict[str, Reading]:
    names = dict.fromkeys(name for run in members for name in run.beside)
    found = {name: _reading(members, lambda run, name=name: run.beside.get(name)) for name in names}  # type: ignore[misc]
    return {name: reading for name, reading in found.items() if reading is not None}


def _saturation(members: Sequence[ComparedRun]) -> dict[str, Band]:
    names = dict.fromkeys(name for run in members for name in run.saturation)
    found: dict[str, Band | None] = {}
    for name in names:
        scale = MetricScale.LOG if name.partition(",")[0].endswith("timescale") else MetricScale.SHARE
        logs = _band(members, lambda run, name=name, scale=scale: _logs(run.saturation.get(name), scale))  # type: ignore[misc]
        found[name] = scaled_band(logs, scale)
    return {name: one for name, one in found.items() if one is not None}


def _band(members: Sequence[ComparedRun], look: Callable[[ComparedRun], Series | None]) -> Band | None:
    """The mean over seeds, of each seed's mean over its runs."""
    of_seeds = []
    for runs in _seeds(members):
        series = [one for one in map(look, runs) if one is not None]
        if (found := band([one.x for one in series], [one.y for one in series])) is not None:
            of_seeds.append(found)
    return band([one.x for one in of_seeds], [one.mean for one in of_seeds])
