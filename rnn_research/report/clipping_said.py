"""What clipping did, in one sentence for the whole study, as HTML. All text from records is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rnn_research.compare import Comparison, Condition, Effect
from rnn_research.compare.effects import is_of_clipping_alone, never_acted
from rnn_research.compare.factors import is_of_clipping
from rnn_research.report import as_text
from rnn_research.report.changes import SHOWN
from rnn_research.report.names import joined
from rnn_research.report.prose import setting_of, typeset
from rnn_research.statistics.intervals import Interval

MOST = 4
"""Of more settings of one strategy the sentence says how far they reach."""
MOST_STRATEGIES = 3
NONE = "none"


def headline(comparison: Comparison) -> str:
    """`Clipping by global_norm fired on 3% of steps in lstm (decay rate the same within 0.006).` Empty where clipping
    does not vary."""
    factors = [factor for factor in comparison.distinguishing_factors if is_of_clipping(factor)]
    if not factors:
        return ""
    effects = [one for one in comparison.effects if is_of_clipping_alone(one.clipped, one.plain)]
    by_strategy: dict[str, list[tuple[Condition, Effect | None]]] = {}
    against = {id(one.clipped): one for one in effects}
    for condition in comparison.conditions:
        if condition.options[factors[0]] != NONE:
            name = joined(comparison, condition, factors)
            by_strategy.setdefault(name, []).append((condition, against.get(id(condition))))
    said = [f"{name} {_of_strategy(comparison, own)}" for name, own in by_strategy.items()]
    if not said:
        return ""
    more = f"; and {len(said) - MOST_STRATEGIES} strategies more" if len(said) > MOST_STRATEGIES else ""
    return typeset(f"Clipping by {'; by '.join(said[:MOST_STRATEGIES])}{more}.")


def _of_strategy(comparison: Comparison, own: Sequence[tuple[Condition, Effect | None]]) -> str:
    if len(own) > MOST:
        return _tallied(own)
    fired = [(c, effect) for c, effect in own if not never_acted(c)]
    idle = [setting_of(comparison, c) for c, _ in own if never_acted(c)]
    said = [f"{_fired(c, k == 0)}{_in(setting_of(comparison, c))}{_changed(e)}" for k, (c, e) in enumerate(fired)]
    quiet = [f"never fired{_in(', '.join(name.replace(', ', ' / ') for name in idle))}"] if idle else []
    return ", ".join([*said, *quiet])


def _in(setting: str) -> str:
    return f" in {setting}" if setting else ""


def _fired(condition: Condition, first: bool) -> str:
    if condition.clipped is None:
        return "acted (how often was not recorded)"
    return f"{'fired ' if first else ''}on {as_text.percent(condition.clipped)}{' of steps' if first else ''}"


def _changed(effect: Effect | None) -> str:
    """What it did to the decay rate, never that it did nothing: how large a change the interval leaves."""
    if effect is None:
        return ""
    found = effect.rate
    if found is None:
        return " (no decay rate on both sides)"
    if found.why or effect.rate_p != effect.rate_p:
        change = as_text.signed(replace(found, why=""))
        return f" (change of the decay rate {change}; no interval: {found.why or 'no test'})"
    if effect.rate_p < SHOWN:
        return f" (change of the decay rate {as_text.signed(found)})"
    return f" (decay rate the same within {_within(found):.2g})"


def _within(found: Interval) -> float:
    return max(abs(found.low), abs(found.high))


def _tallied(own: Sequence[tuple[Condition, Effect | None]]) -> str:
    """Of many settings: from how many steps to how many it fired, and in how many the decay rate changed."""
    shares = sorted((c.clipped for c, _ in own if c.clipped is not None), key=lambda found: found.mean)
    ends = list(dict.fromkeys(as_text.percent(found) for found in (shares[:1] + shares[-1:])))
    fired = f"fired on {' to '.join(ends)} of steps" if ends else "acted"
    rates = [(e.rate, e.rate_p) for _, e in own if e is not None and e.rate is not None and not e.rate.why]
    changed = sorted((found for found, p in rates if p < SHOWN), key=lambda found: found.mean)
    same = [_within(found) for found, p in rates if not p < SHOWN]
    said = [f"{fired} in {len(own)} settings"]
    if changed:
        spread = list(dict.fromkeys(as_text.signed(found).partition(" [")[0] for found in (changed[0], changed[-1])))
        said.append(f"the decay rate changed in {len(changed)} of them ({' to '.join(spread)})")
    if same:
        said.append(f"in {len(same)} no change was shown (the same within {min(same):.2g} to {max(same):.2g})")
    return ", ".join(said)
