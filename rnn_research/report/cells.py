"""The comparison's numbers as text: the same in the terminal and on the page. Computes none."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from rnn_research.compare import Comparison, Condition, Run, Success
from rnn_research.compare.factors import short
from rnn_research.curves import Interval, Reading, spoken

NOTHING = "–"
UNDER = 1e-30
"""Where float32 underflows, below 1e-38, the ratio to any ordinary norm is below this."""


@dataclass(frozen=True)
class Column:
    """A column of the table: its title, what it means, and its cell for a condition."""

    title: str
    meaning: str
    cell: Callable[[Condition], str]
    kind: Literal["number", "option", "verdict"] = "number"


def factor_columns(comparison: Comparison) -> list[Column]:
    names = short(comparison.telling)

    def cell(factor: str) -> Callable[[Condition], str]:
        return lambda condition: condition.options[factor]

    return [Column(names[factor], factor, cell(factor), "option") for factor in comparison.telling]


def gradient_columns(comparison: Comparison) -> list[Column]:
    """What the gradient does on the way back."""
    fraction = f"{comparison.fraction:g}"
    start = Column(
        start_title(comparison), "verdict at the first recorded step", lambda c: _of(c.start, words), "verdict"
    )
    chosen = Column(
        step_title(comparison), "verdict at the step of the numbers", lambda c: _of(c.chosen, words), "verdict"
    )
    return [
        Column("rate [95%]", "nats per cell application", lambda c: _of(c.chosen, rate)),
        Column("half-life", "cell applications that halve the norm", lambda c: _of(c.chosen, half_life)),
        Column(
            "horizon",
            f"first distance below {fraction} of the norm at the start",
            lambda c: _of(c.chosen, horizon),
        ),
        Column(
            "far ratio",
            "norm at the largest distance over that at the smallest",
            lambda c: _of(c.chosen, far),
        ),
        *([start] if start.title != chosen.title else []),
        chosen,
    ]


def task_columns(comparison: Comparison) -> list[Column]:
    """How the task went, and what clipping did."""
    metric = metric_title(comparison)
    return [
        Column(f"{metric} [95%]", "mean over the seeds that did not diverge", lambda c: metric_cell(comparison, c)),
        Column("baseline", f"{metric} of a predictor without memory", lambda c: number(c.baseline)),
        *(success_columns(comparison) if comparison.rules else []),
        Column("clipped", "share of steps with a finite norm in which clipping fired", lambda c: percent(c.clipped)),
        Column("diverged", "runs that diverged", diverged),
        Column("parameters", "trained numbers", parameters),
    ]


def success_columns(comparison: Comparison) -> list[Column]:
    """How many runs solved the task, and after how many steps."""
    return [
        Column("solved", f"runs that reached {rules(comparison)}", lambda c: solved(c.success)),
        Column("steps to success", "median and range over the runs that solved it", lambda c: steps(c.success)),
    ]


def rules(comparison: Comparison) -> str:
    """When the tasks count as solved."""
    return " or ".join(comparison.rules)


def solved(found: Success | None) -> str:
    """`3 of 5`."""
    return NOTHING if found is None else f"{found.solved} of {found.runs}"


def steps(found: Success | None) -> str:
    """`1,250 (900 to 2,000), 2 censored`."""
    if found is None:
        return NOTHING
    said = NOTHING if found.median is None else f"{found.median:,.0f}"
    if len(found.steps) > 1:
        said += f" ({found.steps[0]:,} to {found.steps[-1]:,})"
    return f"{said}, {len(found.censored)} censored" if found.censored else said


def answer_columns(comparison: Comparison, feature: str) -> list[Column]:
    """The answers by one feature, a column a bin."""
    among = comparison.bins[feature]

    def cell(index: int) -> Callable[[Condition], str]:
        return lambda condition: answer(comparison, condition, feature, index)

    return [
        Column(f"{feature} {label}", f"mean {comparison.measure} [95%] over seeds", cell(index))
        for index, label in enumerate(among.labels)
    ]


def answer(comparison: Comparison, condition: Condition, feature: str, index: int) -> str:
    """The mean with its interval in one bin."""
    found = condition.answers.get(feature)
    mean = None if found is None else found.mean[index]
    return interval(mean if mean is None or comparison.measure != "accuracy" else within(mean))


def within(found: Interval) -> Interval:
    """The interval of an accuracy, whose ends are where accuracies are; one seed's NaN stays NaN."""
    return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))


def seeds_column() -> Column:
    return Column("seeds", "runs in this condition", lambda condition: str(len(condition.runs)))


def metric_title(comparison: Comparison) -> str:
    return (comparison.metric or "metric").replace("_", " ")


def loss(comparison: Comparison) -> str:
    """Whose gradient the curves are of."""
    where = " at its last step or root alone" if comparison.terminal else ""
    return f"each sample's own loss{where}"


def start_title(comparison: Comparison) -> str:
    """`step 0` where that is the first recorded one everywhere."""
    steps = {run.start.curve.step for run in comparison.runs if run.start}
    return f"step {steps.pop()}" if len(steps) == 1 else "first step"


def step_title(comparison: Comparison) -> str:
    """`step 200` where that is the one everywhere; else `last step`, as where some runs diverged."""
    steps = {run.chosen.curve.step for run in comparison.runs if run.chosen}
    return f"step {steps.pop()}" if len(steps) == 1 else f"{comparison.step} step"


def at(title: str) -> str:
    """`at step 200`, `at the last step`."""
    return f"at {title}" if title.startswith("step") else f"at the {title}"


def rate(reading: Reading) -> str:
    decay = reading.decay
    if decay.bounded:
        return f"{'≤' if decay.rate < 0 else '≥'} {decay.rate:.3g}"
    return NOTHING if decay.rate != decay.rate else spoken(decay.rate, decay.low, decay.high)


def half_life(reading: Reading) -> str:
    """Of a norm that doubles instead, what doubles it; nothing where the rate may be zero."""
    decay = reading.decay
    if decay.rate != decay.rate or not decay.moves:
        return NOTHING
    return f"{decay.half_life:.2g}" if decay.rate < 0 else f"×2 in {-decay.half_life:.2g}"


def horizon(reading: Reading) -> str:
    found = reading.decay.horizon
    if not len(reading.curve.x):
        return NOTHING
    return f"> {reading.curve.x[-1]}" if found is None else str(found)


def far(reading: Reading) -> str:
    """A typical norm of zero is one that float32 doesn't hold."""
    ratio = reading.decay.far_ratio
    if not len(reading.curve.x) or ratio != ratio:
        return NOTHING
    return f"{ratio:.2g}" if ratio else f"<{UNDER:g}"


def words(reading: Reading) -> str:
    """The verdict; where the seeds disagree, all of theirs."""
    counts = Counter(reading.words).most_common()
    return counts[0][0] if len(counts) == 1 else ", ".join(f"{count} {word}" for word, count in counts)


def metric_cell(comparison: Comparison, condition: Condition) -> str:
    """The mean with its interval; an accuracy's ends where accuracies do, at 0 and 1."""
    found = condition.metric
    if found is None:
        return NOTHING
    if (comparison.metric or "").endswith("accuracy"):
        found = within(found)
    some = f" (of {found.n})" if found.n < len(condition.runs) else ""
    return interval(found) + some


def interval(found: Interval | None) -> str:
    return NOTHING if found is None else spoken(found.mean, found.low, found.high)


def signed(found: Interval | None) -> str:
    return NOTHING if found is None else f"{'+' if found.mean > 0 else ''}{interval(found)}"


def number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3g}"


def percent(share: Interval | None) -> str:
    """In whole per cent, except where that would say never or always and it isn't so."""
    if share is None:
        return NOTHING
    value = 100 * share.mean
    if 0 < value < 1:
        return "<0.1%" if value < 0.1 else f"{value:.1g}%"
    return ">99%" if 99 < value < 100 else f"{value:.0f}%"


def diverged(condition: Condition) -> str:
    """`2/3 at step 17, 40`, or `0/3`."""
    count = f"{len(condition.diverged)}/{len(condition.runs)}"
    steps = ", ".join(
        str(run.record.diverged_step) for run in condition.diverged if run.record.diverged_step is not None
    )
    return f"{count} at step {steps}" if steps else count


def parameters(condition: Condition) -> str:
    counts = condition.parameters
    return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"


def title(comparison: Comparison) -> str:
    """`18 runs in 6 conditions`."""
    runs, conditions = len(comparison.runs), len(comparison.conditions)
    return f"{_count(runs, 'run')} in {_count(conditions, 'condition')}"


def command(run: Run) -> str:
    """The command line that repeats a run, put together from its record."""
    options = {key: _override(value) for key, value in run.record.factors.items() if key != "seed"}
    arguments = [f"{key}={value}" for key, value in (options | {"seed": str(run.record.seed)}).items()]
    return shlex.join(["rnn-train", *arguments])


def _override(option: str) -> str:
    """A group with several options is recorded as a+b, and asked for as [a,b]."""
    several = re.fullmatch(r"[a-z_]\w*(\+[a-z_]\w*)+", option)
    return f"[{option.replace('+', ',')}]" if several else option


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _of(reading: Reading | None, cell: Callable[[Reading], str]) -> str:
    return NOTHING if reading is None else cell(reading)
