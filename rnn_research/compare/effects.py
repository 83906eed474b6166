"""What clipping did about it: each strategy against none, seed by seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rnn_research.compare.conditions import Condition
from rnn_research.compare.factors import CLIPPING, is_of_clipping, option
from rnn_research.compare.reading import ComparedRun
from rnn_research.curves import RESOLUTION
from rnn_research.statistics.intervals import Interval
from rnn_research.statistics.paired import paired_difference

REFERENCE = "none"
NAN = float("nan")
View = Callable[[ComparedRun], float]


@dataclass(frozen=True, eq=False)
class Effect:
    """A condition with clipping less the one without, all else equal: differences paired by seed, whose 95%
    interval is Student's; without one where all differ by the same. None where no seed has both."""

    clipped: Condition
    plain: Condition
    rate: Interval | None
    """Of the decay rate, in nats per application; of the runs whose gradient one rate describes."""
    metric: Interval | None


def effects(conditions: Sequence[Condition], pooled: Sequence[str], metric: str | None) -> tuple[Effect, ...]:
    """The effect of each clipping option in each setting that also has `clipping=none`.

    Runs are paired that have the same seed, and the same option of each of the `pooled` factors.
    """
    plain = {_setting(c): c for c in conditions if c.options.get(CLIPPING) == REFERENCE}
    pairs = ((c, plain.get(_setting(c))) for c in conditions if c.options.get(CLIPPING) not in (None, REFERENCE))
    views = ((_rate, RESOLUTION), (lambda run: _score(run, metric), 0.0))
    return tuple(
        Effect(clipped, reference, *(_difference(clipped, reference, pooled, view, fine) for view, fine in views))
        for clipped, reference in pairs
        if reference is not None
    )


def _setting(condition: Condition) -> tuple[tuple[str, str], ...]:
    """Every option but clipping's own."""
    return tuple(item for item in condition.options.items() if not is_of_clipping(item[0]))


def _rate(run: ComparedRun) -> float:
    return run.chosen.decay.rate if run.chosen is not None and run.chosen.decay.holds else NAN


def _score(run: ComparedRun, metric: str | None) -> float:
    return NAN if run.diverged else run.record.final.get(metric or "", NAN)


def _difference(
    clipped: Condition, plain: Condition, pooled: Sequence[str], view: View, resolution: float
) -> Interval | None:
    pairing = [factor for factor in pooled if not is_of_clipping(factor)]

    def paired(runs: Sequence[ComparedRun]) -> list[tuple[tuple[str, ...], float]]:
        return [((str(run.record.seed), *(option(run.settings, f) for f in pairing)), view(run)) for run in runs]

    return paired_difference(paired(clipped.runs), paired(plain.runs), resolution)
