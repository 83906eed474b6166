"""What holds over 5 or more tasks at once, as a table. Computes none."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from rnn_research.compare import AcrossTasks, Comparison, across_tasks
from rnn_research.report import as_text
from rnn_research.report.fitting import KEPT, TextColumn
from rnn_research.report.metric_columns import in_words
from rnn_research.report.prose import typeset
from rnn_research.report.sections import plain_table
from rnn_research.statistics.intervals import Interval

ABOVE = (0.5, 0.9)
ABOUT = (
    "over 5 or more tasks, runs drawn again within each task (stratified bootstrap [95%]): interquartile mean; better: "
    "the chance that a run is better than one of the baseline's in the same task; the share of runs above a bound"
)


def head(shown: tuple[AcrossTasks, ...]) -> list[str]:
    """The titles of the columns that some setting fills."""
    bounds = [f"above {bound:g}" for bound in ABOVE] if any(one.profile is not None for one in shown) else []
    means = ["interquartile mean [95%]"] if any(one.mean is not None for one in shown) else []
    better = ["better [95%]"] if any(one.improvement is not None for one in shown) else []
    return ["tasks", "seeds", *means, *better, *bounds]


def row(one: AcrossTasks, titles: list[str]) -> list[str]:
    """Its cells under these titles."""
    cells = {
        "tasks": str(len(one.tasks)),
        "seeds": str(one.seeds),
        "interquartile mean [95%]": _reasoned(one.mean),
        "better [95%]": _reasoned(one.improvement),
        **{f"above {bound:g}": _above(one, bound) for bound in ABOVE},
    }
    return [cells[title] for title in titles]


def columns_of(comparison: Comparison) -> list[TextColumn]:
    """The table for a terminal; empty where there are not 5 tasks."""
    shown = across_tasks(comparison)
    if not shown:
        return []
    titles = head(shown)
    rows = [row(one, titles) for one in shown]
    names = tuple(_names(shown))
    return [
        TextColumn("setting", names, keep=KEPT),
        *(TextColumn(title, tuple(own[k] for own in rows), True, 90 - k) for k, title in enumerate(titles)),
    ]


def section(comparison: Comparison) -> str:
    """The table for the page, as HTML; empty where there are not 5 tasks."""
    shown = across_tasks(comparison)
    if not shown:
        return ""
    titles = head(shown)
    cells = (
        f'<th scope="row">{escape(name)}</th>'
        + "".join(f'<td class="n">{typeset(cell)}</td>' for cell in row(one, titles))
        for name, one in zip(_names(shown), shown, strict=True)
    )
    table = plain_table(("setting", *(f"#{title}" for title in titles)), cells, "Across tasks")
    return f'<h3>Across tasks</h3>{table}<p class="quiet">{escape(ABOUT.capitalize())}.</p>'


def _names(shown: Sequence[AcrossTasks]) -> list[str]:
    """Of each its options; where there are several metrics with the one that its tasks are compared by."""
    several = len({one.metric for one in shown}) > 1
    options = [", ".join(one.options.values()) or "all runs" for one in shown]
    return [f"{name}, by {in_words(one.metric)}" * several or name for name, one in zip(options, shown, strict=True)]


def _reasoned(found: Interval | None) -> str:
    if found is None:
        return as_text.NOTHING
    return as_text.interval(found) if found.mean == found.mean and not found.why else f"– ({found.why})"


def _above(one: AcrossTasks, bound: float) -> str:
    if one.profile is None or one.profile.why:
        return as_text.NOTHING
    (place,) = (k for k, at in enumerate(one.profile.bound) if abs(at - bound) < 1e-9)
    share, low, high = (float(values[place]) for values in (one.profile.share, one.profile.low, one.profile.high))
    return f"{share:.2f}" if low != low else f"{share:.2f} [{low:.2f}, {high:.2f}]"
