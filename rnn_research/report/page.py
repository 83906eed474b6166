"""The comparison as one HTML page that needs nothing else: no network, no files beside it.

Two layers. The base needs no script: on the first screen the question, the verdict, the figure of the curves and the
table; below, everything else. Over it lies `interactive`, where it is given. All text from records is escaped; figures
are SVG inside the page; a strict policy of the page's own forbids whatever isn't ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from rnn_research.compare import Comparison, Condition
from rnn_research.report import across, as_text, clipping_said, columns, metric_columns, prose, sections, tables
from rnn_research.report.column import Column

FIRST = "vanishing"
OF_THE_GRADIENT = ("phases", "beginning", "nodes", "map", "norm_map", "rates", "saturation")
STYLE = Path(__file__).with_name("page.css")


@dataclass(frozen=True)
class Pictures:
    """What is drawn for the page: `figures` are (title, caption, inline SVG) by name; `keys` the line of each condition
    as a small SVG; `layer` the HTML of the interactive layer, and `allowed` what the policy must say of its script."""

    figures: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    keys: Sequence[str] = ()
    layer: str = ""
    allowed: str = "'none'"


def page(comparison: Comparison, pictures: Pictures | None = None) -> str:
    """The page; without pictures its words and tables."""
    pictures = pictures or Pictures()
    figures, keys = pictures.figures, pictures.keys

    def drawn(names: Sequence[str]) -> str:
        found = "".join(sections.figure(name, *figures[name]) for name in names if name in figures)
        return f'<div class="figures">{found}</div>' if found else ""

    gradient = columns.gradient_columns(comparison)
    parts = [
        _first_screen(comparison, pictures),
        sections.beware(comparison),
        "<h2>The gradient</h2>",
        sections.table(comparison, gradient, "How much of the gradient arrives, and what it does on the way", keys),
        sections.explained(comparison),
        sections.beside(comparison),
        drawn(OF_THE_GRADIENT),
        "<h2>The task and clipping</h2>",
        sections.table(comparison, columns.task_columns(comparison), "How the task went, and what clipping did", keys),
        sections.answers(comparison),
        sections.effects(comparison),
        across.section(comparison),
        drawn([name for name in figures if name not in (FIRST, *OF_THE_GRADIENT)]),
        "<h2>Condition by condition</h2>",
        sections.cards(comparison, keys),
        sections.left_out(comparison),
        sections.glossary(comparison),
        sections.runs(comparison),
        sections.environment(comparison),
    ]
    body = "\n".join(part for part in parts if part)
    return f"{_head(comparison, pictures.allowed)}<main>\n{body}\n</main>\n{pictures.layer}</body>\n</html>\n"


def _head(comparison: Comparison, allowed: str) -> str:
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(prose.question(comparison))}</title>\n"
        f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n"
    )


def _first_screen(comparison: Comparison, pictures: Pictures) -> str:
    """Question, verdict, the curves, the table: what answers the study's question without scrolling."""
    found = sections.table(comparison, _telling(comparison), "The conditions", pictures.keys)
    drawn = pictures.figures.get(FIRST)
    curves = sections.figure(FIRST, *drawn) if drawn else ""
    return (
        f'<header><h1>{escape(prose.question(comparison))}</h1><p class="quiet">{escape(prose.study(comparison))}</p>'
        f'</header>{prose.verdict(comparison, clipping_said.headline(comparison))}<div id="tools"></div>'
        f'<section class="first" aria-label="Curves and conditions">{curves}<div id="main">{found}</div></section>'
        f'<p class="quiet same">{escape(tables.constant(comparison))}</p>'
    )


def _telling(comparison: Comparison) -> list[Column]:
    """The columns of the first screen: how much arrives, the word for it, and the task; where nothing was trained, how
    far the gradient reaches."""
    told = columns.verdict_columns(comparison)
    word = Column("verdict", told[-1].meaning, _word, "verdict")
    if all(run.record.steps <= 1 for run in comparison.runs):  # nothing was trained: the question is of the start
        law = {column.title: column for column in columns.law_columns(comparison)}
        return [told[0], word, law["half-life"], law["horizon"]]
    metric, others = metric_columns.metric_columns(comparison), columns.task_columns(comparison)
    task = [*metric, *(column for column in others if column.title == "solved")]
    return [told[0], word, *(column for column in task if _says_something(column, comparison))]


def _word(condition: Condition) -> str:
    """The verdict alone: over which length is in the sentence above."""
    found = condition.chosen
    return as_text.NOTHING if found is None else f"{found.verdict.said}{found.verdict.doubt}"


def _says_something(column: Column, comparison: Comparison) -> bool:
    return any(column.cell(condition) not in ("", as_text.NOTHING) for condition in comparison.conditions)
