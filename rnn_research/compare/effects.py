"""What a strategy (or another option) changed: each condition against its baseline, pair by pair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnn_research.compare.conditions import Condition
from rnn_research.compare.factors import CLIPPING, is_of_clipping, option, short
from rnn_research.compare.reading import ComparedRun
from rnn_research.compare.scales import MetricScale, cut, scale_of
from rnn_research.curves import RESOLUTION
from rnn_research.statistics.intervals import LOG_STUDENT, Interval, exponential, interval
from rnn_research.statistics.multiplicity import holm
from rnn_research.statistics.paired import pair_differences, paired_t
from rnn_research.statistics.power import smallest_detectable
from rnn_research.statistics.ranks import signed_rank

REFERENCE = {CLIPPING: "none"}
"""The baseline, where none is asked for."""
NAN = float("nan")
MOST_SEEDS = 6
"""So many seeds are listed."""


@dataclass(frozen=True, eq=False)
class Effect:
    """A condition less its baseline, all else equal: differences paired by seed, whose 95% interval is Student's.

    None where no pair has both, or where clipping never acted: there is nothing to conclude from then.
    """

    clipped: Condition
    plain: Condition
    rate: Interval | None
    """Of the decay rate, in nats per application; of the runs whose gradient one rate describes, at `step`."""
    metric: Interval | None
    """The difference of the metric, or of what is compared on the scale of logs (perplexity, mse) the ratio: its
    `method` is then Student's on logs."""
    step: int | None = None
    """The optimiser's step at which rates are compared: the same for all runs."""
    rate_p: float = NAN
    """p of the paired t-test, adjusted by Holm for all tests of the comparison; NaN where there is no test."""
    metric_p: float = NAN
    rate_detectable: float | None = None
    """The smallest true difference that so many pairs detect with 80% power, at the spread that was measured; of a
    ratio the smallest factor above 1."""
    metric_detectable: float | None = None
    rate_rank_p: float = NAN
    """p of Wilcoxon's signed-rank test of the same differences, adjusted by Holm among such tests; NaN for fewer than 6
    seeds that differ."""
    metric_rank_p: float = NAN
    notes: tuple[str, ...] = ()
    """What a reader must know: the step, pairs left out, or why nothing is concluded."""


@dataclass(frozen=True, eq=False)
class _Tested:
    mean: Interval | None = None
    p: float = NAN
    detectable: float | None = None
    rank_p: float = NAN


def effects(
    conditions: Sequence[Condition],
    pooled: Sequence[str],
    baseline: Mapping[str, str] | None = None,
    pair: Sequence[str] | None = None,
) -> tuple[Effect, ...]:
    """The effect of each condition in each setting that also has the baseline.

    Runs are paired that have the same seed, and the same option of each factor in `pair` (default: the `pooled`
    factors).

    Args:
        baseline: option by factor; default clipping=none.
    """
    reference = dict(baseline or REFERENCE)
    pairing = [factor for factor in (pooled if pair is None else pair) if not _of(factor, reference)]
    plain = {_setting(c, reference): c for c in conditions if _is(c, reference)}
    found = []
    for condition in conditions:
        against = plain.get(_setting(condition, reference))
        if (
            against is not None
            and against is not condition
            and not _is(condition, reference)
            and set(reference) & set(condition.options)
        ):
            found.append(_effect(condition, against, pairing))
    return _adjusted(found)


def _is(condition: Condition, reference: Mapping[str, str]) -> bool:
    return all(condition.options.get(factor) == wanted for factor, wanted in reference.items())


def _of(factor: str, reference: Mapping[str, str]) -> bool:
    """Whether a factor is one of the baseline's, or a value of it."""
    return any(factor == name or factor.startswith(f"{name}.") for name in reference)


def _setting(condition: Condition, reference: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Every option but those that the baseline names."""
    return tuple(item for item in condition.options.items() if not _of(item[0], reference))


def _effect(condition: Condition, against: Condition, pairing: Sequence[str]) -> Effect:
    if is_of_clipping_alone(condition, against) and (why := never_acted(condition)):
        return Effect(condition, against, None, None, notes=(why,))
    pairs = _pairs(condition.runs, against.runs, pairing)
    step, notes = _step(pairs) if pairs else (None, (_unpaired(condition, against, pairing),))
    rate = _tested(pairs, lambda run: NAN if step is None else run.rate_at(step), RESOLUTION)
    metric = condition.metric_name if condition.metric_name == against.metric_name else None
    scale = scale_of(metric, (run.score for pair in pairs for side in pair for run in side))
    score = _tested(pairs, lambda run: NAN if run.diverged else run.score, 0.0, scale) if metric else _Tested()
    if pairs:
        notes = (*notes, *_nothing_shared(step, rate, score, metric), *_other_metrics(condition, against))
    lost = [run for pair in pairs for side in pair for run in side if run.diverged]
    if lost:
        notes = (*notes, f"{len(lost)} of the paired runs diverged, and have no final score")
    return Effect(
        condition, against, rate.mean, score.mean, step, rate.p, score.p, rate.detectable, score.detectable,
        rate.rank_p, score.rank_p, notes,
    )  # fmt: skip


def is_of_clipping_alone(condition: Condition, against: Condition) -> bool:
    """Whether two conditions differ in the clipping strategy and its values alone."""
    differ = [factor for factor, wanted in condition.options.items() if against.options.get(factor) != wanted]
    return bool(differ) and all(map(is_of_clipping, differ))


def never_acted(condition: Condition) -> str:
    """Why nothing is concluded of a strategy that never fired in any run; empty where one did, or no table says."""
    tables = [run.clipping for run in condition.runs if run.clipping is not None]
    if not tables or any(table.acted for table in tables):
        return ""
    return "it never acted in any step: what differs is not its doing, and nothing is concluded"


def _unpaired(condition: Condition, against: Condition, pairing: Sequence[str]) -> str:
    """Why there is no pair of runs."""
    ours, theirs = ({run.record.seed for run in one.runs} for one in (condition, against))
    if ours & theirs:
        return f"no run of both has the same seed and the same {', '.join(short(pairing).values())}: nothing is paired"
    listed = [", ".join(map(str, sorted(seeds)[:MOST_SEEDS])) for seeds in (ours, theirs)]
    return f"it shares no seed with its baseline (seeds {listed[0]} against {listed[1]}): nothing is paired"


def _nothing_shared(step: int | None, rate: _Tested, score: _Tested, metric: str | None) -> Iterator[str]:
    """Why a difference is none although runs are paired."""
    if step is not None and rate.mean is None:
        yield f"no pair has a decay rate on both sides at step {step}"
    if metric is not None and score.mean is None:
        yield f"no pair has {metric} on both sides"


def _other_metrics(condition: Condition, against: Condition) -> Iterator[str]:
    """That there is no difference of two metrics."""
    names = (condition.metric_name, against.metric_name)
    if None not in names and names[0] != names[1]:
        yield f"it is compared by {names[0]} and its baseline by {names[1]}: their difference says nothing"


Pair = tuple[list[ComparedRun], list[ComparedRun]]


def _pairs(ours: Iterable[ComparedRun], theirs: Iterable[ComparedRun], pairing: Sequence[str]) -> list[Pair]:
    """The runs of each pair that both conditions have."""

    def by_key(runs: Iterable[ComparedRun]) -> dict[Hashable, list[ComparedRun]]:
        found: dict[Hashable, list[ComparedRun]] = {}
        for run in runs:
            key = (run.record.seed, *(option(run.settings, factor) for factor in pairing))
            found.setdefault(key, []).append(run)
        return found

    one, other = by_key(ours), by_key(theirs)
    return [(one[key], other[key]) for key in one if key in other]


def _step(pairs: Sequence[Pair]) -> tuple[int | None, tuple[str, ...]]:
    """The step at which rates are compared, and what to say of it.

    That at which most pairs were looked at on both sides; where there is none, since one side diverged early, the last
    that all of them recorded.
    """
    looked = [{run.chosen.curve.step for side in pair for run in side if run.chosen} for pair in pairs]
    alike = Counter(min(steps) for steps in looked if len(steps) == 1)
    if alike:
        step = max(alike, key=lambda number: (alike[number], number))
        return step, ()
    shared = [set.intersection(*(set(run.recorded) for side in pair for run in side)) for pair in pairs]
    common = set.intersection(*shared) if shared else set()
    if not common:
        return None, ("no step was recorded by all of the paired runs: rates are not compared",)
    return max(common), (f"rates are compared at step {max(common)}, the last that all of the paired runs recorded",)


def _tested(
    pairs: Sequence[Pair],
    view: Callable[[ComparedRun], float],
    resolution: float,
    scale: MetricScale = MetricScale.PLAIN,
) -> _Tested:
    """The mean difference with its interval, the p-values, and what could be detected; on the scale of logs all of
    it of the log-ratio, and then as a factor."""
    ours, theirs = ([(k, view(run)) for k, pair in enumerate(pairs) for run in pair[side]] for side in (0, 1))
    if scale is MetricScale.LOG:
        known = [value for _, value in (*ours, *theirs) if np.isfinite(value)]
        if refused := sum(value <= 0 for value in known):
            why = f"{refused} of {len(known)} values not above 0"
            return _Tested(Interval(NAN, NAN, NAN, len(pairs), why, LOG_STUDENT))
        ours, theirs = ([(k, float(np.log(value))) for k, value in side] for side in (ours, theirs))
    differences = pair_differences(ours, theirs)
    of_seeds: dict[int, list[float]] = {}  # levels that are pooled share their seed, and are no seeds of their own
    for (runs, _), difference in zip(pairs, differences, strict=True):
        if np.isfinite(difference):
            of_seeds.setdefault(runs[0].record.seed, []).append(float(difference))
    finite = np.array([np.mean(some) for some in of_seeds.values()])
    found = interval(finite, resolution)
    shown = exponential(found) if scale is MetricScale.LOG else found
    shown = cut(shown, -1.0, 1.0) if shown is not None and scale is MetricScale.SHARE else shown
    if found is None or found.why:
        return _Tested(shown)
    effect = smallest_detectable(len(finite))
    detectable = None if effect is None else effect * float(finite.std(ddof=1))
    if scale is MetricScale.LOG and detectable is not None:
        detectable = float(np.exp(detectable))
    ranked = signed_rank(np.where(np.abs(finite) <= resolution, 0.0, finite))
    return _Tested(shown, paired_t(finite, resolution).p, detectable, ranked.p)


def _adjusted(found: Sequence[Effect]) -> tuple[Effect, ...]:
    """With p-values for the family of all tests that are shown."""
    if not found:
        return ()
    names = (("rate_p", "metric_p"), ("rate_rank_p", "metric_rank_p"))  # a family each
    adjusted = [holm([getattr(effect, name) for effect in found for name in pair]) for pair in names]
    return tuple(
        replace(effect, **{
            name: float(family[2 * k + place])
            for pair, family in zip(names, adjusted, strict=True) for place, name in enumerate(pair)
        }) for k, effect in enumerate(found)
    )  # fmt: skip
