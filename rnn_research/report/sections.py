"""The parts of the page below its first screen, as HTML. All text from records is escaped."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from html import escape

from rnn_research.compare import Comparison, Condition, caveats, explained_rates
from rnn_research.compare.factors import short
from rnn_research.report import as_text, changes, columns, explaining, metric_columns, prose
from rnn_research.report.column import Column
from rnn_research.report.names import names
from rnn_research.report.prose import typeset

NUMBER = ' class="n"'
DENSE = 8
"""Rows of more conditions lie closer, so that the first screen shows more of them."""
MANY = 12
"""So many conditions have a card each on the page; those of more are folded."""


def table(comparison: Comparison, shown: Sequence[Column], caption: str, keys: Sequence[str] = ()) -> str:
    """A row a condition: its options, its seeds, and `shown`; `keys` are pictures of its line."""
    options = columns.factor_columns(comparison)
    shown = [*options, columns.seeds_column(), *shown]
    head = "".join(
        f'<th scope="col"{_number(column)} title="{escape(column.meaning)}">{escape(_in_words(column))}</th>'
        for column in shown
    )
    if not options:
        head = f'<th scope="col">condition</th>{head}'

    def row(place: int, condition: Condition) -> str:
        key = keys[place] if keys else ""
        cells = [_cell(column, condition) for column in shown]
        if not options:
            cells.insert(0, "all runs")
        first = f'<th scope="row">{key}{cells[0]}</th>'
        numbers = ["", *map(_number, shown)] if not options else list(map(_number, shown))
        raw = ["", *(c.cell(condition) for c in shown)] if not options else [c.cell(condition) for c in shown]
        others = (
            f"<td{number}{_raw(text, number)}>{cell}</td>"
            for number, cell, text in zip(numbers[1:], cells[1:], raw[1:], strict=True)
        )
        return f'<tr data-c="{place}">{first}{"".join(others)}</tr>\n'

    kind = "of-conditions dense" if len(comparison.conditions) > DENSE else "of-conditions"
    return scrolled(head, (row(*item) for item in enumerate(comparison.conditions)), caption, kind)


def _in_words(column: Column) -> str:
    """The title; a factor's as words, so that a narrow column breaks it between them."""
    return column.title.replace("_", " ") if column.kind == "option" else column.title


def _raw(text: str, number: str) -> str:
    """What a number is sorted by: the text before it was set."""
    return f' data-v="{escape(text)}"' if number else ""


def beside(comparison: Comparison) -> str:
    """The parts of the state and the layers, where there are several."""
    beside = columns.beside_columns(comparison)
    if not beside:
        return ""
    about = "The parts of the state, and of several layers each, for themselves: far ratio and verdict."
    return f"<p>{about}</p>{table(comparison, beside, 'The parts of the state, and the layers')}"


def _cell(column: Column, condition: Condition) -> str:
    """The cell as HTML: what stands in brackets behind a verdict or a mean is smaller."""
    text = column.cell(condition)
    if column.kind == "verdict":
        word, bracket, doubt = text.partition(" (")
        return prose.verdict_word(word) + (f' <span class="iv">({escape(doubt)}</span>' if bracket else "")
    if column.kind in ("option", "words"):
        return escape(text)
    mean, bracket, rest = text.partition(" [")
    ends, between, note = rest.partition(" (")
    note = f"({note}" if between else ""
    said = typeset(mean) + (f' <span class="iv">[{typeset(ends)}</span>' if bracket else "")
    return said + (f' <span class="iv note">{typeset(note)}</span>' if note else "")


def _number(column: Column) -> str:
    return NUMBER if column.kind == "number" else ""


def scrolled(head: str, rows: Iterable[str], caption: str, kind: str = "") -> str:
    """A table that can be scrolled, by the keyboard too."""
    named = f' class="{kind}"' if kind else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table{named}>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>\n<tbody>{''.join(rows)}</tbody>"
        "</table></div>"
    )


def plain_table(head: Sequence[str], rows: Iterable[str], caption: str) -> str:
    """A table that is not of conditions; a heading with a leading # is of numbers."""
    cells = (
        f'<th scope="col"{NUMBER if name.startswith("#") else ""}>{escape(name.lstrip("#"))}</th>' for name in head
    )
    return scrolled("".join(cells), (f"<tr>{row}</tr>\n" for row in rows), caption)


def folded(summary: str, content: str, opened: bool = False) -> str:
    """What is long, behind its name."""
    return f"<details{' open' if opened else ''}><summary>{escape(summary)}</summary>{content}</details>"


def cards(comparison: Comparison, keys: Sequence[str]) -> str:
    """A sentence a condition; folded where there are many."""
    items = "".join(
        f'<li data-c="{place}">{keys[place] if keys else ""}{prose.sentence(comparison, condition)}</li>'
        for place, condition in enumerate(comparison.conditions)
    )
    many = len(comparison.conditions) > MANY
    found = f'<ul class="conditions">{items}</ul>'
    return folded(f"In words, all {len(comparison.conditions)}", found) if many else found


def figure(name: str, title: str, caption: str, drawing: str) -> str:
    """A figure with what it shows in words."""
    return (
        f'<figure data-figure="{name}"><h3>{escape(title)}</h3><div class="scroll" tabindex="0" role="region" '
        f'aria-label="{escape(title)}">{drawing}</div><figcaption>{escape(caption)}</figcaption></figure>'
    )


def answers(comparison: Comparison) -> str:
    """A table a feature, closed: the figure shows them."""
    parts = []
    for feature in comparison.bins:
        summary = f"{comparison.measure.capitalize()} of the answers against {feature}"
        found = table(comparison, columns.answer_columns(comparison, feature), summary)
        parts.append(folded(summary, found, feature in comparison.against))
    return "".join(parts)


def effects(comparison: Comparison) -> str:
    """What a strategy changed, in words and as a table; nothing where there is nothing to compare with."""
    if not comparison.effects:
        return ""
    metric = metric_columns.metric_title(comparison)
    measured = ("p", "detectable")
    head = ("condition", "#decay rate", *(f"#{one}" for one in measured), f"#{metric}")
    head = (*head, *(f"#{one}" for one in measured), "#seeds", "note")
    rows = (
        f'<th scope="row">{first}</th>{"".join(f"<td{NUMBER}>{cell}</td>" for cell in cells)}'
        f'<td class="wrap">{note}</td>'
        for first, *cells, note in changes.rows(comparison)
    )
    said = "".join(f"<p>{sentence}</p>" for sentence in changes.sentences(comparison))
    table = plain_table(head, rows, "Less the baseline")
    return f'<h3>What it changed</h3>{said}{table}<p class="quiet">{changes.ABOUT}</p>'


def explained(comparison: Comparison) -> str:
    """How much of the decay rate each factor explains; nothing where there is no question."""
    found = explained_rates(comparison)
    if found is None:
        return ""
    title = "<h3>What explains the decay rate</h3>"
    if found.why:
        return f"{title}<p>Not to be told: {escape(found.why)}.</p>"
    told = {**short(comparison.varying), **names(comparison)}
    rows = [
        (
            explaining.named(found, term, told),
            f"{100 * term.share:.0f}%",
            as_text.p_value(term.p),
        )
        for term in found.terms
        if term.df
    ]
    rows += [("seeds", f"{100 * found.seeds:.0f}%", "")] if found.blocked else []
    cells = (
        f'<th scope="row">{escape(name)}</th><td{NUMBER}>{share}</td><td{NUMBER}>{p}</td>' for name, share, p in rows
    )
    caption = f"What explains the decay rate {explaining.of(found)}"
    return f"{title}{plain_table(('factor', '#share', '#p'), cells, caption)}"


def beware(comparison: Comparison) -> str:
    """What to know before believing it; nothing where there is nothing."""
    found = caveats(comparison)
    items = "".join(f"<li>{escape(caveat.text)}.</li>" for caveat in found)
    return f"<h2>Before you believe it</h2><ul>{items}</ul>" if items else ""


def left_out(comparison: Comparison) -> str:
    """The runs that are not compared, and those that lack something, with the reasons."""
    lacks = [(comparison.name(run.folder), lack) for run in comparison.runs for lack in run.missing]
    left_out = [(comparison.name(item.folder), item.reason) for item in comparison.excluded]
    parts = []
    for title, items in (("Left out", left_out), ("Compared, but incomplete", lacks)):
        if items:
            rows = (f'<td>{escape(name)}</td><td class="wrap">{escape(why)}</td>' for name, why in items)
            parts.append(f"<h2>{title}</h2>{plain_table(('run', 'why'), rows, title)}")
    return "".join(parts)


def glossary(comparison: Comparison) -> str:
    """The terms of the page."""
    entries = prose.glossary(comparison).items()
    items = "".join(f"<dt>{escape(term)}</dt><dd>{typeset(text)}</dd>" for term, text in entries)
    return f"<h2>How to read it</h2>{folded('The terms of this page', f'<dl>{items}</dl>')}"


def runs(comparison: Comparison) -> str:
    """Every run, with its command."""
    rows = (
        f"<td>{escape(comparison.name(run.folder))}</td>"
        f"<td>{escape(run.record.status)}</td>"
        f'<td class="n">{run.record.steps:,}</td><td><code>{escape(columns.command(run))}</code></td>'
        for run in comparison.runs
    )
    about = "Every run with the command that repeats it, put together from its record"
    found = plain_table(("run", "status", "#steps", "command"), rows, "Every run")
    return f'<h2 id="runs">Runs</h2>{folded(about, found)}'


def environment(comparison: Comparison) -> str:
    """What the runs ran with; where they differ, with the number of runs."""
    records = [run.record for run in comparison.runs]
    known: dict[str, list[str]] = defaultdict(list)
    for record in records:
        facts = {"commit": record.commit or "unknown"} | record.versions | record.machine
        for name, value in (facts | {"record version": record.version}).items():
            known[str(name)].append(str(value))
    rows = (
        f'<td>{escape(name)}</td><td class="wrap">{escape(_counted(values, len(records)))}</td>'
        for name, values in known.items()
    )
    dates = f"Started {min(r.start for r in records)} to {max(r.start for r in records)}."
    found = plain_table(("what", "value"), rows, "What the runs ran with")
    return f"<h2>Environment</h2>{folded('Machine and versions', f'{found}<p>{escape(dates)}</p>')}"


def _counted(values: Sequence[str], runs: int) -> str:
    counts = Counter(values).most_common()
    if len(counts) == 1 and len(values) == runs:
        return values[0]
    return ", ".join(f"{value} ({count} of {runs} runs)" for value, count in counts)
