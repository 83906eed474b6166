"""The comparison as plain text for a terminal: never wider than 100 columns, whatever is compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rnn_research.compare import Comparison, caveats, explained_rates
from rnn_research.compare.factors import short
from rnn_research.records.printable import middle, printable_values
from rnn_research.report import across, as_text, changes, columns, explaining, metric_columns, tables
from rnn_research.report.column import Column
from rnn_research.report.fitting import GAP, KEPT, READABLE, WORDS, TextColumn, fitted, lines, wrapped
from rnn_research.report.names import names
from rnn_research.report.sparkline import Scale

WIDTH = 100
WHOLE = "the options that tell a condition apart"
FACTORS = 56
"""So wide may the factors be at their shortest; wider ones are one column, the condition's name with its number."""
NAME = 28
"""A condition's whole name is cut to so many signs before a column is left out."""
MOST_EFFECTS = 40
"""So many are printed."""


def text(comparison: Comparison) -> str:
    """Aligned tables on the gradient, on its way and on the task, above them what all runs share, and below what to
    know before believing them."""
    names = condition_columns(comparison)
    seeds = [*names, columns.seeds_column()]
    scale = Scale([condition.chosen for condition in comparison.conditions])
    blocks = [
        _wrapped(f"{columns.title(comparison)}. {tables.constant(comparison)}"),
        f"GRADIENT: how much of the adjoint of {columns.state(comparison)} arrives, relative to distance 1",
        _table(comparison, [*seeds, *columns.verdict_columns(comparison)]),
        f"ON THE WAY: the norm against distance, in cell applications to {columns.end(comparison)}\n"
        f"{_of_the_curve(scale)}",
        _table(comparison, [*names, _curve_column(scale), *columns.law_columns(comparison)]),
        *_beside(comparison, names),
        "TASK AND CLIPPING",
        _table(comparison, [*seeds, *columns.task_columns(comparison)]),
    ]
    for feature in comparison.against:
        answers = columns.answer_columns(comparison, feature)
        blocks += [
            _wrapped(f"{comparison.measure.upper()} AGAINST {feature}: mean over seeds [95%]"),
            _table(comparison, [*names, *answers]),
        ]
    if comparison.effects:
        against = ", ".join(f"{factor}={chosen}" for factor, chosen in comparison.baseline.items())
        said = f"WHAT CHANGED against {against}: the difference, paired by seed [95%]; p by Holm for all that is here; "
        blocks += [_wrapped(f"{said}detects: what so many pairs would show in 4 of 5 studies"), _effects(comparison)]
    if tasks := across.columns_of(comparison):
        blocks += [_wrapped(f"ACROSS TASKS, {across.ABOUT}"), _fit(tasks)]
    blocks += _explained(comparison)
    blocks += honestly(comparison)
    return "\n\n".join(block for block in blocks if block) + "\n"


def condition_columns(comparison: Comparison) -> list[Column]:
    """The factors that tell the conditions apart; where they are too many or too wide, one column of whole names, with
    a number before each."""
    factors = columns.factor_columns(comparison)
    shortest = [min(_column(comparison, column).width, READABLE) + len(GAP) for column in factors]
    if sum(shortest) <= FACTORS:
        return factors
    numbers = {id(condition): str(index) for index, condition in enumerate(comparison.conditions, 1)}
    return [
        Column("#", "number of the condition", lambda c: numbers[id(c)], keep=KEPT),
        Column("condition", WHOLE, comparison.label, "option", KEPT),
    ]


def _explained(comparison: Comparison) -> list[str]:
    """How much of the decay rate each factor explains."""
    found = explained_rates(comparison)
    if found is None:
        return []
    if found.why:
        return [_wrapped(f"WHAT EXPLAINS THE DECAY RATE: not to be told ({found.why})")]
    told = {**short(comparison.varying), **names(comparison)}
    said = [
        f"{explaining.named(found, term, told)} {100 * term.share:.0f}%"
        + (f" (p {as_text.p_value(term.p)})" if term.p == term.p else "")
        for term in found.terms
        if term.df
    ]
    seeds = f"; seeds {100 * found.seeds:.0f}%" if found.blocked else ""
    return [_wrapped(f"WHAT EXPLAINS THE DECAY RATE {explaining.of(found)}: {', '.join(said)}{seeds}")]


def honestly(comparison: Comparison) -> list[str]:
    """What to know before believing the tables, one paragraph each after a title; nothing where there is nothing."""
    said = [_wrapped(f"* {caveat.text}.", "  ") for caveat in caveats(comparison)]
    return ["READ WITH CARE\n" + "\n".join(said)] if said else []


def _table(comparison: Comparison, shown: Sequence[Column]) -> str:
    return _fit([_column(comparison, column) for column in shown])


def _column(comparison: Comparison, column: Column) -> TextColumn:
    cells = tuple(map(column.cell, comparison.conditions))
    brief = tuple(tuple(map(cell, comparison.conditions)) for cell in column.brief)
    apart, words = column.meaning != WHOLE, column.kind in ("verdict", "words")
    return TextColumn(
        column.title,
        cells,
        column.kind == "number",
        column.keep,
        apart and not words,
        brief,
        column.brief_title,
        WORDS if words else READABLE,
    )


def _fit(shown: Iterable[TextColumn]) -> str:
    kept, dropped = fitted(list(shown), WIDTH)
    table = lines(kept)
    if not dropped:
        return table
    titles = ", ".join(middle(title, READABLE * 2) for title in sorted(dropped, key=dropped.index, reverse=True)[:12])
    more = f" and {len(dropped) - 12} more" if len(dropped) > 12 else ""
    note = printable_values(f"(no room for {titles}{more}: --format csv has all)")
    return f"{table}\n{_wrapped(note)}"


def _curve_column(scale: Scale) -> Column:
    return Column("curve", "the norm against distance", lambda c: scale.drawn(c.chosen), "option", 80)


def _of_the_curve(scale: Scale) -> str:
    return f"curve: from distance 1 to the farthest, on one log scale; {scale.said()}"


def _beside(comparison: Comparison, names: Sequence[Column]) -> list[str]:
    """The parts of the state and the layers, where there are several."""
    beside = columns.beside_columns(comparison)
    if not beside:
        return []
    title = "EACH FOR ITSELF: far ratio and verdict of the parts of the state, and of layers"
    return [title, _table(comparison, [*names, *beside])]


def _effects(comparison: Comparison) -> str:
    effects = comparison.effects[:MOST_EFFECTS]
    readings = [[c.chosen for c in found] for found in zip(*((e.plain, e.clipped) for e in effects), strict=True)]
    words = [[reading.verdict.said if reading else as_text.NOTHING for reading in found] for found in readings]
    metric = metric_columns.metric_title(comparison)
    shown = [
        TextColumn("condition", tuple(comparison.label(e.clipped) for e in effects), keep=KEPT, readable=NAME),
        TextColumn("rate", tuple(as_text.signed(effect.rate) for effect in effects), True, 90),
        TextColumn("p", tuple(as_text.p_value(effect.rate_p) for effect in effects), True, 80),
        TextColumn("detects", tuple(as_text.number(effect.rate_detectable) for effect in effects), True, 70),
        TextColumn(metric, tuple(metric_columns.effect_cell(comparison, effect) for effect in effects), True, 95),
        TextColumn("p ", tuple(as_text.p_value(effect.metric_p) for effect in effects), True, 79),
        TextColumn("detects ", tuple(as_text.number(effect.metric_detectable) for effect in effects), True, 69),
        TextColumn("verdict before", tuple(words[0]), keep=50, apart=False, readable=WORDS),
        TextColumn("after", tuple(words[1]), keep=51, apart=False, readable=WORDS),
    ]
    notes = (
        _wrapped(f"{comparison.label(e.clipped)}: {'; '.join(said)}.", "  ")
        for e in effects
        if (said := changes.notes(e))
    )
    left = len(comparison.effects) - len(effects)
    more = [f"(and {left} more: the page and --format json have all)"] if left else []
    return "\n".join([_fit(shown), *more, *notes])


def _wrapped(paragraph: str, indent: str = "") -> str:
    return wrapped(paragraph, WIDTH, indent)
