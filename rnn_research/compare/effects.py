"""What clipping did about it: each strategy against none, seed by seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rnn_research.compare.conditions import Condition
from rnn_research.compare.factors import CLIPPING, is_of_clipping
from rnn_research.compare.reading import Run
from rnn_research.curves import Interval, interval

REFERENCE = "none"


@dataclass(frozen=True, eq=False)
class Effect:
    """A condition with clipping less the one without, all else equal: differences paired by seed, whose 95%
    interval is Student's. None where no seed has both."""

    clipped: Condition
    plain: Condition
    rate: Interval | None
    """Of the decay rate, in nats per application."""
    metric: Interval | None


def effects(conditions: Sequence[Condition], metric: str | None) -> tuple[Effect, ...]:
    """The effect of each clipping option in each setting that also has `clipping=none`."""
    plain = {_setting(c): c for c in conditions if c.options.get(CLIPPING) == REFERENCE}
    pairs = ((c, plain.get(_setting(c))) for c in conditions if c.options.get(CLIPPING) not in (None, REFERENCE))
    return tuple(_effect(clipped, reference, metric) for clipped, reference in pairs if reference is not None)


def _setting(condition: Condition) -> tuple[tuple[str, str], ...]:
    """Every option but clipping's own."""
    return tuple(item for item in condition.options.items() if not is_of_clipping(item[0]))


def _effect(clipped: Condition, plain: Condition, metric: str | None) -> Effect:
    def score(run: Run) -> float | None:
        return None if run.diverged else run.record.final.get(metric or "")

    return Effect(clipped, plain, _difference(clipped, plain, _rate), _difference(clipped, plain, score))


def _rate(run: Run) -> float | None:
    return None if run.chosen is None or run.chosen.decay.bounded else run.chosen.decay.rate


def _difference(clipped: Condition, plain: Condition, of: Callable[[Run], float | None]) -> Interval | None:
    with_it = {run.record.seed: of(run) for run in clipped.runs}
    without = {run.record.seed: of(run) for run in plain.runs}
    both = ((with_it[seed], without.get(seed)) for seed in with_it)
    return interval([a - b for a, b in both if a is not None and b is not None])
