"""Which factor of the study explains the decay rate, and how much of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations
from typing import Any

from rnn_research.compare.comparison import Comparison
from rnn_research.compare.effects import never_acted
from rnn_research.compare.factors import is_of_clipping, option
from rnn_research.compare.reading import ComparedRun
from rnn_research.curves import RESOLUTION
from rnn_research.statistics.factors import Explained, explained
from rnn_research.statistics.multiplicity import holm

LEAST = 2
"""Conditions that make a question of it."""
APART = "the runs' rates are of different training steps"


@dataclass(frozen=True)
class ExplainedRates(Explained):
    """What explains the decay rates; p-values are adjusted by Holm for all terms."""

    step: int | None = None
    """The optimiser's step at which all rates were read; None where there is none in common."""
    varies_with: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Of a factor those that vary with it, whose effects can't be told from its own."""
    notes: tuple[str, ...] = ()
    """What nothing is concluded of, and why."""


def explained_rates(comparison: Comparison) -> ExplainedRates | None:
    """What each varying factor, and each pair of them, explains of the decay rates' variance over the runs whose
    gradient one rate describes; None where one condition is all that there is. Where these rates are equal as far as
    float32 can tell, or no run is left to tell chance by, `why` says it.

    Rates are of one training step: where runs were looked at at different ones, as where some diverged early, of the
    last at which all of them have a rate. Where there is none, `why` says it, and nothing is explained. Of a clipping
    strategy that never acted nothing is concluded: its runs are left out, or where no other acted, its factor. Factors
    that vary together are named together.
    """
    factors = list(comparison.distinguishing_factors)
    if len(comparison.conditions) < LEAST or not factors:
        return None
    seen = [run for run in comparison.runs if run.chosen is not None and run.chosen.decay.holds]
    seen, factors, notes = _acting(comparison, seen, factors)
    looked = {run.chosen.curve.step for run in seen if run.chosen is not None}
    shared = looked if len(looked) < LEAST else set.intersection(*(set(run.recorded) for run in seen))
    step = max(shared) if shared else None
    levels = {factor: [option(run.settings, factor) for run in seen] for factor in comparison.varying}
    kept, alias = _apart(levels, factors)
    rates = [float("nan") if step is None else run.rate_at(step) for run in seen]
    found = explained(rates, {factor: levels[factor] for factor in kept}, [run.record.seed for run in seen])
    adjusted = holm([term.p for term in found.terms]) if found.terms else ()
    terms = tuple(replace(term, p=float(p)) for term, p in zip(found.terms, adjusted, strict=True))
    whole: dict[str, Any] = {item.name: getattr(found, item.name) for item in fields(found)} | {"terms": terms}
    whole["why"] = _why(found, rates)
    if step is None and seen:
        whole["why"] = APART
    if not kept and notes:
        whole["why"] = notes[0]
    return ExplainedRates(**whole, step=step, varies_with=alias, notes=notes)


def _why(found: Explained, rates: Sequence[float]) -> str:
    """Why nothing is explained: the statistics' own reason, or that what there is would explain anything."""
    known = [rate for rate in rates if rate == rate]
    why = found.why
    if found.terms and max(known) - min(known) <= RESOLUTION:
        why = "all equal"
    elif found.terms and not found.residual_df:
        why = "no run is left to tell chance by"
    return f"{why}, of {len(known)} runs whose gradient one rate describes" if why else ""


def _acting(
    comparison: Comparison, seen: Sequence[ComparedRun], factors: Sequence[str]
) -> tuple[list[ComparedRun], list[str], tuple[str, ...]]:
    """The runs and factors that something can be concluded of, and what is said of the rest."""
    idle = {
        id(run)
        for condition in comparison.conditions
        if any(map(is_of_clipping, condition.options)) and _clips(condition.options) and never_acted(condition)
        for run in condition.runs
    }
    ours = [factor for factor in factors if is_of_clipping(factor)]
    if not idle or not ours:
        return list(seen), list(factors), ()
    acting = [run for run in seen if id(run) not in idle]
    if any(len({option(run.settings, factor) for run in acting}) > 1 for factor in ours):
        count = len(seen) - len(acting)
        said = f"left out {count} run{'s' * (count != 1)} whose clipping never acted"
        return acting, list(factors), (said,) if count else ()
    rest = [factor for factor in factors if factor not in ours]
    return list(seen), rest, ("clipping never acted in any step, and nothing is concluded of it",)


def _clips(options: dict[str, str]) -> bool:
    return options.get("clipping", "") != "none"


def _apart(
    levels: dict[str, list[str]], factors: Sequence[str]
) -> tuple[list[str], tuple[tuple[str, tuple[str, ...]], ...]]:
    """Of the factors those whose effects can be told apart, and with each what varies with it: a factor that one, or
    two together, determine. Levels of these runs alone count."""
    kept: list[str] = []
    alias: dict[str, list[str]] = {}
    # the distinguishing factors first: what they determine is named with them
    for factor in [*factors, *(name for name in levels if name not in factors)]:
        own = levels[factor]
        if len(set(own)) < LEAST or (is_of_clipping(factor) and not any(map(is_of_clipping, factors))):
            continue
        pairs = [] if factor in factors else combinations(kept, 2)  # else a factor of a square of three would be lost
        of = [*((one,) for one in kept), *pairs]
        by: tuple[str, ...] = next((names for names in of if _determined(own, [levels[n] for n in names])), ())
        for name in by:
            alias.setdefault(name, []).append(factor)
        if not by and factor in factors:
            kept.append(factor)
    for factor in list(kept):  # `model`, where each rate was tried for one model alone
        by = next(((one,) for one in kept if one != factor and _determined(levels[factor], [levels[one]])), ())
        if by:
            kept.remove(factor)
            alias[by[0]] = [factor, *alias.pop(factor, []), *alias.get(by[0], [])]
    return kept, tuple((name, tuple(dict.fromkeys(others))) for name, others in alias.items())


def _determined(own: Sequence[str], by: Sequence[Sequence[str]]) -> bool:
    """Whether each combination of levels has one level of `own` alone."""
    pairs = list(zip(*by, strict=True))
    return len(set(pairs)) == len(set(zip(pairs, own, strict=True)))
