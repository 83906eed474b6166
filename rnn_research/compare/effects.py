"""What clipping did about it: each strategy against none, seed by seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rnn_research.compare.conditions import Condition
from rnn_research.compare.factors import CLIPPING, is_of_clipping, option
from rnn_research.compare.reading import Run
from rnn_research.curves import RESOLUTION, Interval, interval

REFERENCE = "none"
NAN = float("nan")
View = Callable[[Run], float]


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


def _rate(run: Run) -> float:
    return run.chosen.decay.rate if run.chosen is not None and run.chosen.decay.holds else NAN


def _score(run: Run, metric: str | None) -> float:
    return NAN if run.diverged else run.record.final.get(metric or "", NAN)


def _difference(
    clipped: Condition, plain: Condition, pooled: Sequence[str], view: View, resolution: float
) -> Interval | None:
    pairing = [factor for factor in pooled if not is_of_clipping(factor)]
    with_it, without = (_by_pair(condition.runs, pairing, view) for condition in (clipped, plain))
    return interval([with_it[pair] - without[pair] for pair in with_it if pair in without], resolution)


def _by_pair(runs: Sequence[Run], pairing: Sequence[str], view: View) -> dict[tuple[str, ...], float]:
    """The mean of `view` over the runs of each pair: several only where clippings are pooled."""
    values: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for run in runs:
        pair = (str(run.record.seed), *(option(run.settings, factor) for factor in pairing))
        values[pair].append(view(run))
    return {pair: float(np.mean(of_pair)) for pair, of_pair in values.items()}
