"""The table in other forms: CSV, JSON, LaTeX and Markdown, each safe for any name; and its rows in another order."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Sequence
from typing import Any

from rnn_research.checks import nearest
from rnn_research.compare import Comparison, NothingToCompare, as_json
from rnn_research.compare.factors import short
from rnn_research.curves import WORDS
from rnn_research.records.printable import printable_values
from rnn_research.report import columns, tables
from rnn_research.report.column import Column
from rnn_research.report.latex import tabular

FORMATS = ("table", "csv", "json", "latex", "markdown")
LISTED = 24
VERDICTS = ("verdict", "start_verdict")
PAPER = ("rate", "far ratio", "horizon")
"""Of what is told of the gradient, what a paper's table has beside the verdict."""
MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_[]|~#!$"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def formatted(comparison: Comparison, form: str) -> str:
    """The table of `comparison` in one of the `FORMATS` but the first, which is `report.text`.

    csv: a row a condition, every column and digit. json: the comparison itself (`compare.as_json`). latex: a booktabs
    tabular. markdown: a pipe table.
    """
    if form == "csv":
        return tables.conditions_csv(comparison)
    if form == "json":
        return _json(comparison)
    head, rows, numbers = _grid(comparison)
    return tabular(head, rows, numbers) if form == "latex" else _markdown(head, rows, numbers)


def ordered(comparison: Comparison, by: str) -> Comparison:
    """The comparison with its conditions sorted by a column, descending where `by` begins with -; conditions without a
    value come last. Colours and figures keep the order of the sweep: they are made from the comparison as it was.

    Args:
        by: a column's title in the terminal or the CSV, or a factor; case and punctuation do not count.

    Raises:
        NothingToCompare: there is no such column; the nearest is named.
    """
    descending, name = by.startswith("-"), by.removeprefix("-")
    rows = tables.condition_rows(comparison)
    known = _sortable(comparison, rows)
    key = known.get(_flat(name))
    if key is None:
        titles = list(dict.fromkeys([*short(comparison.varying).values(), *known.values()]))
        listed = ", ".join(titles[:LISTED]) + (", …" if len(titles) > LISTED else "")
        raise NothingToCompare(f"sort: given {name}, expected one of {listed}{nearest(_flat(name), known)}")
    found = [row.get(key) for row in rows]
    # a verdict from the least gradient to the most, and then the words that are on no ladder
    values = _values([WORDS.index(word) if word in WORDS else None for word in found] if key in VERDICTS else found)
    there = [index for index, value in enumerate(values) if value is not None]
    there.sort(key=lambda index: values[index], reverse=descending)  # of equal ones the first stays first
    order = [*there, *(i for i, value in enumerate(values) if value is None)]
    return dataclasses.replace(comparison, conditions=tuple(comparison.conditions[i] for i in order))


def _sortable(comparison: Comparison, rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The key of a row by each name that it may be given."""
    metric = comparison.metric or "metric"
    keys = dict.fromkeys(key for row in rows for key in row)
    titles = {"seeds": "runs", "metric": metric, "baseline": f"{metric}_baseline", "law": "law"}
    titles |= {"accuracy": metric} if metric.endswith("_accuracy") else {}
    titles |= {columns.start_title(comparison): "start_verdict", columns.step_title(comparison): "verdict"}
    titles |= {"curve": "far_ratio", "fall_keep_rise": "samples_fall"}
    named = {_flat(title): key for title, key in titles.items() if key in keys}
    named |= {_flat(key): key for key in keys}
    return named | {_flat(name): factor for factor, name in short(comparison.varying).items()}


def _flat(name: str) -> str:
    return re.sub(r"\W+", "_", name.lower().removesuffix(" [95%]")).strip("_")


def _values(found: Sequence[Any]) -> list[Any]:
    """What rows are sorted by: numbers where all are (of several the first), else text; None for nothing and NaN."""
    there = [None if value in (None, "") or value != value else value for value in found]
    try:
        numbers = [None if value is None else float(str(value).split(" ")[0]) for value in there]
        return [None if number is None or math.isnan(number) else number for number in numbers]
    except ValueError:
        return [None if value is None else str(value) for value in there]


def _json(comparison: Comparison) -> str:
    return f"{json.dumps(as_json(comparison), indent=1, allow_nan=False)}\n"


def _grid(comparison: Comparison) -> tuple[list[str], list[list[str]], list[bool]]:
    """Titles, cells, and which columns are numbers."""
    verdict = columns.step_title(comparison)
    gradient = [
        column
        for column in columns.gradient_columns(comparison)
        if _flat(column.title) in {*map(_flat, (*PAPER, verdict))}
    ]
    shown: list[Column] = [
        *columns.factor_columns(comparison),
        columns.seeds_column(),
        *gradient,
        *columns.task_columns(comparison),
    ]
    rows = [[printable_values(column.cell(condition)) for column in shown] for condition in comparison.conditions]
    return [printable_values(column.title) for column in shown], rows, [column.kind == "number" for column in shown]


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[bool]) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.translate(MARKDOWN) for cell in cells)} |"

    rule = "".join("|---:" if number else "|:---" for number in numbers) + "|"
    return "\n".join([line(head), rule, *map(line, rows)]) + "\n"
