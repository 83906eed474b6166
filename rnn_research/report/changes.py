"""What a strategy changed, in words, as HTML: each condition less its baseline. All text from records is escaped."""

from __future__ import annotations

from html import escape

from rnn_research.compare import Comparison, Effect
from rnn_research.compare.factors import is_of_clipping
from rnn_research.report import as_text, metric_columns
from rnn_research.report.prose import setting_of, typeset
from rnn_research.statistics.intervals import LOG_STUDENT, Interval

MOST_EFFECTS = 6
"""More are a table, and they have one."""
SHOWN = 0.05
"""Below this p, adjusted for all that is tested, a difference is said."""
ABOUT = (
    "Each condition less its baseline, all else equal, paired by seed; 95% interval by Student's t, each by itself. p "
    "is of the paired t-test, adjusted by Holm for all tests of this table. What is beyond the ends is ruled out "
    "at 95%, each by itself. Detectable is the smallest true difference that so many pairs would show in 80 of 100 "
    "studies, at the spread that was measured. × marks a ratio: perplexities, squared errors and norms are compared on "
    "the scale of logs. From 6 seeds on a note has p of the signed-rank test, adjusted by Holm among such tests."
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
            typeset(metric_columns.effect_cell(comparison, effect)),
            as_text.p_value(effect.metric_p),
            typeset(as_text.number(effect.metric_detectable)),
            str(max((found.n for found in (effect.rate, effect.metric) if found), default=0)),
            escape("; ".join(notes(effect))),
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
        ("decay rate", effect.rate, effect.rate_p),
        (metric_columns.title_of_metric(effect.clipped), effect.metric, effect.metric_p),
    )
    said = [f"{name} {as_text.signed(found)} ({conclusion(found, p)})" for name, found, p in views if found is not None]
    clipped = effect.clipped.clipped
    fired = "" if clipped is None else f" clipped {as_text.percent(clipped)} of steps"
    opening = f"{f'On {setting}, ' if setting else ''}{option}{fired}"
    told = "; ".join([*said, *notes(effect)])
    return typeset(f"{opening}: {told}." if told else f"{opening}.")


def notes(effect: Effect) -> list[str]:
    """What a reader must know of an effect, and from 6 seeds on p of the signed-rank tests."""
    ranks = (("rate", effect.rate_rank_p), ("metric", effect.metric_rank_p))
    said = ", ".join(f"{name} {as_text.p_value(p)}" for name, p in ranks if p == p)
    return [*effect.notes, *([f"signed rank p: {said}"] if said else [])]


def conclusion(found: Interval, p: float) -> str:
    """What a difference shows: never that there is none, but which ones its interval rules out."""
    if found.why or p != p:
        return f"no interval: {found.why or 'no test'}"
    none = 1.0 if found.method == LOG_STUDENT else 0.0
    if p < SHOWN:
        return f"{'higher' if found.mean > none else 'lower'}, p = {p:.2g}"
    if not found.low <= none <= found.high:
        return f"no difference shown among all that is tested, p = {p:.2g}"
    return f"no difference shown; rules out more than {_end(found.high, found)} and less than {_end(found.low, found)}"


def _end(end: float, found: Interval) -> str:
    """`+1,795`, `-0.02`; of a ratio `×1.4`."""
    size = f"{end:,.0f}" if 1000 <= abs(end) < 1e7 else f"{end:.3g}"
    return f"×{size}" if found.method == LOG_STUDENT else f"{'+' if end > 0 else ''}{size}"
