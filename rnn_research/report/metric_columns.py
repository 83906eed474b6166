"""What the conditions are compared by, and how well the task went, as text: the same in the terminal and on the page.
Computes no number."""

from __future__ import annotations

from rnn_research.compare import Comparison, Condition, Effect
from rnn_research.compare.scales import MetricScale
from rnn_research.report import as_text
from rnn_research.report.as_text import NOTHING
from rnn_research.report.column import Column

SEVERAL = 2


def metric_columns(comparison: Comparison) -> list[Column]:
    """How well the task went; where tasks are compared by different metrics, beside the name of each one's."""
    several = len(comparison.metric_names) >= SEVERAL
    name = Column("metric", "what the task is compared by: tasks have none in common", title_of_metric, "words", 96)
    value = Column(
        f"{'value' if several else metric_title(comparison)} [95%]",
        f"{_mean_of(comparison)} over the seeds that did not diverge",
        metric_cell,
        keep=97 if several else 95,
    )
    return [name, value] if several else [value]


def metric_title(comparison: Comparison) -> str:
    """`test accuracy`; `metric` where tasks have different ones, or there is none."""
    return in_words(comparison.metric)


def title_of_metric(condition: Condition) -> str:
    """The metric that a condition is compared by, in words."""
    return NOTHING if condition.metric_name is None else in_words(condition.metric_name)


def in_words(metric: str | None) -> str:
    """A metric's name in words."""
    return (metric or "metric").replace("_", " ")


def effect_cell(comparison: Comparison, effect: Effect) -> str:
    """The difference of the metric; with the metric's name where not all conditions have the same."""
    said = as_text.signed(effect.metric)
    if said == NOTHING or len(comparison.metric_names) < SEVERAL:
        return said
    return f"{said} {title_of_metric(effect.clipped)}"


def metric_cell(condition: Condition) -> str:
    """The mean with its interval, and of how many seeds where not of all; or why there is no interval."""
    found = condition.metric
    if found is None:
        return NOTHING
    some = f" (of {found.n})" if found.n < condition.seeds else ""
    return as_text.reasoned(found) + some


def _mean_of(comparison: Comparison) -> str:
    """`mean`, or `geometric mean` of what is compared on the scale of logs."""
    return "geometric mean" if any(c.scale is MetricScale.LOG for c in comparison.conditions) else "mean"
