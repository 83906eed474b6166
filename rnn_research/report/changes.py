"""What a strategy changed, in words, as HTML: each condition less its baseline. All text from records is escaped."""

from __future__ import annotations

from html import escape

from rnn_research.compare import Comparison, Effect
from rnn_research.compare.factors import is_of_clipping
from rnn_research.report import as_text, columns
from rnn_research.report.prose import setting_of, typeset
from rnn_research.statistics.intervals import Interval

MOST_EFFECTS = 6
"""More are a table, and they have one."""
SHOWN = 0.05
"""Below this p, adjusted for all that is tested, a difference is said."""
ABOUT = (
    "Each condition less its baseline, all else equal, paired by seed; 95% interval by Student's t, each by itself. p "
    "is of the paired t-test, adjusted by Holm for all tests of this table. Detectable is the smallest true difference "
    "that so many pairs would show in 80 of 100 studies, at the spread that was measured: smaller ones are not ruled "
    "out."
)


def sentences(comparison: Comparison) -> list[str]:
    """A sentence a strategy and setting, where these are few."""
    few = comparison.effects if len(comparison.effects) <= MOST_EFFECTS else ()
    return [_sentence(comparison, effect) for effect in few]


def rows(comparison: Comparison) -> list[list[str]]:
    """The table: condition, and of rate and metric the difference, p and what could be detected; notes."""
    return [
        [
            escape(comparison.label(effect.clipped)),
            typeset(as_text.signed(effect.rate)),
            as_text.p_value(effect.rate_p),
            typeset(as_text.number(effect.rate_detectable)),
            typeset(as_text.signed(effect.metric)),
            as_text.p_value(effect.metric_p),
            typeset(as_text.number(effect.metric_detectable)),
            str(max((found.n for found in (effect.rate, effect.metric) if found), default=0)),
            escape("; ".join(effect.notes)),
        ]
        for effect in comparison.effects
    ]


def _sentence(comparison: Comparison, effect: Effect) -> str:
    """`On lstm, global_norm clipped 26% of steps: decay rate +0.01 [..] (no difference shown; ...); ...`"""
    differing = {key: value for key, value in effect.clipped.options.items() if effect.plain.options.get(key) != value}
    option = ", ".join(value for key, value in differing.items() if is_of_clipping(key)) or ", ".join(
        differing.values()
    )
    setting = setting_of(comparison, effect.plain) if any(map(is_of_clipping, differing)) else ""
    views = (
        ("decay rate", effect.rate, effect.rate_p, effect.rate_detectable),
        (columns.metric_title(comparison), effect.metric, effect.metric_p, effect.metric_detectable),
    )
    said = [
        f"{name} {as_text.signed(found)} ({conclusion(found, p, detectable)})"
        for name, found, p, detectable in views
        if found is not None
    ]
    clipped = effect.clipped.clipped
    fired = "" if clipped is None else f" clipped {as_text.percent(clipped)} of steps"
    opening = f"{f'On {setting}, ' if setting else ''}{option}{fired}"
    told = "; ".join([*said, *effect.notes])
    return typeset(f"{opening}: {told}." if told else f"{opening}.")


def conclusion(found: Interval, p: float, detectable: float | None) -> str:
    """What a difference shows: never that there is none, but which one could have been seen."""
    if found.why or p != p:
        return f"no interval: {found.why or 'no test'}"
    if p < SHOWN:
        return f"{'higher' if found.mean > 0 else 'lower'}, p = {p:.2g}"
    seen = "" if detectable is None else f"; one of {detectable:.2g} would be seen in 4 of 5 studies"
    return f"no difference shown{seen}"
