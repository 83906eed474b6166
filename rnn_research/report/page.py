"""The comparison as one HTML page that needs nothing else: no network, no scripts, no files beside it.

All text from records is escaped; figures are SVG inside the page.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from rnn_research.compare import Comparison, Condition
from rnn_research.report import as_text, columns, prose, tables
from rnn_research.report.columns import Column
from rnn_research.report.prose import typeset

OF_THE_GRADIENT = ("vanishing", "rates")
STYLE = Path(__file__).with_name("page.css")


def page(comparison: Comparison, figures: Mapping[str, tuple[str, str, str]]) -> str:
    """The page; `figures` are (title, caption, inline SVG) by name."""
    title = "Does the gradient vanish?"

    def item(condition: Condition) -> str:
        return f"<li>{prose.sentence(comparison, condition)}</li>"

    parts = [
        f"<h1>{title}</h1>",
        f'<p class="quiet">{escape(columns.title(comparison))}. {escape(tables.constant(comparison))}</p>',
        prose.answers(comparison),
        "<h2>Condition by condition</h2>",
        f'<ul class="conditions">{"".join(map(item, comparison.conditions))}</ul>',
        "<h2>The gradient</h2>",
        _table(comparison, columns.gradient_columns(comparison)),
        _beside(comparison),
        *(_figure(*figure) for name, figure in figures.items() if name in OF_THE_GRADIENT),
        "<h2>The task and clipping</h2>",
        _table(comparison, columns.task_columns(comparison)),
        _answers(comparison),
        _effects(comparison),
        *(_figure(*figure) for name, figure in figures.items() if name not in OF_THE_GRADIENT),
        _left_out(comparison),
        _glossary(comparison),
        _runs(comparison),
        _environment(comparison),
    ]
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        ""
        f"<title>{title}</title>\n<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n<main>\n"
    )
    return head + "\n".join(part for part in parts if part) + "\n</main>\n</body>\n</html>\n"


def _table(comparison: Comparison, shown: Sequence[Column]) -> str:
    shown = [*columns.factor_columns(comparison), columns.seeds_column(), *shown]
    head = "".join(
        f'<th{_number(column)} title="{escape(column.meaning)}">{escape(column.title)}</th>' for column in shown
    )
    rows = (
        "".join(f"<td{_number(column)}>{_cell(column, condition)}</td>" for column in shown)
        for condition in comparison.conditions
    )
    return _scrolled(head, rows)


def _beside(comparison: Comparison) -> str:
    """The parts of the state and the layers, where there are several."""
    beside = columns.beside_columns(comparison)
    if not beside:
        return ""
    about = "The parts of the state, and of several layers each, for themselves: far ratio and verdict."
    return f"<p>{about}</p>{_table(comparison, beside)}"


def _cell(column: Column, condition: Condition) -> str:
    text = column.cell(condition)
    if column.kind == "verdict":
        return prose.verdict_word(text)
    return typeset(text) if column.kind == "number" else escape(text)


def _number(column: Column) -> str:
    return ' class="n"' if column.kind == "number" else ""


def _scrolled(head: str, rows: Iterable[str]) -> str:
    body = "".join(f"<tr>{row}</tr>\n" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def _figure(title: str, caption: str, drawing: str) -> str:
    return (
        f'<figure><h3>{escape(title)}</h3><div class="scroll">{drawing}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _answers(comparison: Comparison) -> str:
    """A table a feature, closed: the figure shows them."""
    parts = []
    for feature in comparison.bins:
        table = _table(comparison, columns.answer_columns(comparison, feature))
        summary = f"{comparison.measure.capitalize()} of the answers against {feature}"
        opened = " open" if feature in comparison.against else ""
        parts.append(f"<details{opened}><summary>{escape(summary)}</summary>{table}</details>")
    return "".join(parts)


def _effects(comparison: Comparison) -> str:
    if not comparison.effects:
        return ""
    metric = escape(columns.metric_title(comparison))
    head = f'<th>condition</th><th class="n">decay rate</th><th class="n">{metric}</th><th class="n">seeds</th>'
    rows = (
        f"<td>{escape(comparison.label(effect.clipped))}</td>"
        f'<td class="n">{typeset(as_text.signed(effect.rate))}</td>'
        f'<td class="n">{typeset(as_text.signed(effect.metric))}</td>'
        f'<td class="n">{max((found.n for found in (effect.rate, effect.metric) if found), default=0)}</td>'
        for effect in comparison.effects
    )
    about = (
        "With clipping less without, all else equal, paired by seed; 95% interval by Student's t. "
        "An interval that contains 0 shows no difference; one in twenty excludes it by chance. Seeds that all differ "
        "by the same have no interval, and show nothing."
    )
    return f"<h3>What clipping changed</h3><p>{about}</p>{_scrolled(head, rows)}"


def _left_out(comparison: Comparison) -> str:
    lacks = [(comparison.name(run.folder), lack) for run in comparison.runs for lack in run.missing]
    left_out = [(comparison.name(item.folder), item.reason) for item in comparison.excluded]
    parts = []
    for title, items in (("Left out", left_out), ("Compared, but incomplete", lacks)):
        if items:
            rows = (f'<td>{escape(name)}</td><td class="wrap">{escape(why)}</td>' for name, why in items)
            parts.append(f"<h2>{title}</h2>{_scrolled('<th>run</th><th>why</th>', rows)}")
    return "".join(parts)


def _glossary(comparison: Comparison) -> str:
    entries = prose.glossary(comparison).items()
    items = "".join(f"<dt>{escape(term)}</dt><dd>{typeset(text)}</dd>" for term, text in entries)
    return f"<h2>How to read it</h2><dl>{items}</dl>"


def _runs(comparison: Comparison) -> str:
    head = '<th>run</th><th>status</th><th class="n">steps</th><th>command</th>'
    rows = (
        f"<td>{escape(comparison.name(run.folder))}</td><td>{escape(run.record.status)}</td>"
        f'<td class="n">{run.record.steps:,}</td><td><code>{escape(columns.command(run))}</code></td>'
        for run in comparison.runs
    )
    about = "Every run with the command that repeats it, put together from its record"
    return f"<h2>Runs</h2><details><summary>{about}</summary>{_scrolled(head, rows)}</details>"


def _environment(comparison: Comparison) -> str:
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
    table = _scrolled("<th>what</th><th>value</th>", rows)
    return f'<h2>Environment</h2>{table}<p class="quiet">{escape(dates)}</p>'


def _counted(values: Sequence[str], runs: int) -> str:
    counts = Counter(values).most_common()
    if len(counts) == 1 and len(values) == runs:
        return values[0]
    return ", ".join(f"{value} ({count} of {runs} runs)" for value, count in counts)
