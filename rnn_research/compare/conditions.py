"""A condition: one option of each factor, over its seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rnn_research.compare.breakdown import Bins, Breakdown, breakdown
from rnn_research.compare.clipping_norms import GradientNorms, gradient_norms
from rnn_research.compare.reading import ComparedRun
from rnn_research.compare.run_summary import GradientAtStep, Series
from rnn_research.compare.success import Success, success
from rnn_research.curves import Reading, together
from rnn_research.statistics.intervals import Band, Interval, band, interval


@dataclass(frozen=True, eq=False)
class Condition:
    """What is compared: a row of the table.

    `metric` and `learning` are of the runs that didn't diverge. `start` is at the first recorded step,
    `chosen` at the one asked for; `beside` are the state's parts and layers at that step. `rates` is the slope of the
    curves over training. `clipped` is the share of steps
    with a finite gradient norm in which clipping fired. `answers` are by feature. None where no run has it.
    """

    options: dict[str, str]
    runs: tuple[ComparedRun, ...]
    metric: Interval | None
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

    @property
    def diverged(self) -> tuple[ComparedRun, ...]:
        return tuple(run for run in self.runs if run.diverged)

    @property
    def parameters(self) -> tuple[int, ...]:
        """The different numbers of parameters among the runs."""
        return tuple(sorted({run.record.parameters for run in self.runs}))

    @property
    def steps(self) -> tuple[int, ...]:
        """The different steps at which `chosen` looks."""
        return tuple(sorted({run.chosen.curve.step for run in self.runs if run.chosen}))


def condition(
    options: dict[str, str], members: Sequence[ComparedRun], metric: str | None, bins: Mapping[str, Bins] | None = None
) -> Condition:
    """Put the runs of one condition together; `bins` are those of each feature that the answers are looked at by."""
    finished = [run for run in members if not run.diverged]
    nan = float("nan")
    baselines = interval([run.record.baselines.get(metric or "", nan) for run in members])
    broken = {name: breakdown([run.answers for run in members], name, among) for name, among in (bins or {}).items()}
    clipping = [run.clipping for run in members if run.clipping is not None]
    return Condition(
        options,
        tuple(members),
        metric=interval([run.record.final.get(metric or "", nan) for run in finished]),
        baseline=baselines.mean if baselines else None,
        start=_reading(members, lambda run: run.start),
        chosen=_reading(members, lambda run: run.chosen),
        rates=_band([run.rates for run in members]),
        learning=_band([run.learning for run in finished]),
        norms=gradient_norms(clipping),
        clipped=interval([one.share for one in clipping]),
        success=success([run.record for run in members]),
        answers={name: found for name, found in broken.items() if found is not None},
        beside=_beside(members),
    )


def _reading(members: Sequence[ComparedRun], look: Callable[[ComparedRun], GradientAtStep | None]) -> Reading | None:
    return _together([found for found in map(look, members) if found is not None])


def _together(seen: Sequence[GradientAtStep]) -> Reading | None:
    return together([s.curve for s in seen], [s.decay for s in seen], [s.verdict for s in seen])


def _beside(members: Sequence[ComparedRun]) -> dict[str, Reading]:
    names = dict.fromkeys(name for run in members for name in run.beside)
    found = {name: _together([run.beside[name] for run in members if name in run.beside]) for name in names}
    return {name: reading for name, reading in found.items() if reading is not None}


def _band(series: Sequence[Series | None]) -> Band | None:
    present = [item for item in series if item is not None]
    return band([item.x for item in present], [item.y for item in present])
