"""The comparison's numbers as text: the same in the terminal and on the page. Computes none."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from rnn_research.compare import ComparedRun, Comparison, Condition
from rnn_research.curves import JOINT, Reading
from rnn_research.records.runs import RunRecord
from rnn_research.report import as_text, budget, metric_columns
from rnn_research.report.as_text import NOTHING
from rnn_research.report.column import Column
from rnn_research.report.fitting import KEPT
from rnn_research.report.names import names as factor_names

MIXED = "§"
"""Marks what is averaged over different training steps (`compare.caveats` says so in words)."""
BRIEF = (as_text.words_over, as_text.brief_words)
"""A verdict in fewer words."""


def factor_columns(comparison: Comparison) -> list[Column]:
    names = {factor: told.replace(" ", "_") for factor, told in factor_names(comparison).items()}

    def cell(factor: str) -> Callable[[Condition], str]:
        return lambda condition: condition.options[factor]

    return [Column(names[factor], factor, cell(factor), "option", KEPT) for factor in comparison.distinguishing_factors]


def gradient_columns(comparison: Comparison) -> list[Column]:
    """How much of the gradient arrives, and what it does on the way back."""
    return [*verdict_columns(comparison), *law_columns(comparison)]


def law_columns(comparison: Comparison) -> list[Column]:
    """What the gradient does on the way back, and in how many samples."""
    fraction = f"{comparison.fraction:g}"
    return [
        Column(
            "law",
            "what the norm does with distance",
            lambda c: _of(c.chosen, as_text.law),
            "words",
            keep=60,
        ),
        Column(
            "rate [95%]",
            "nats per cell application, where one exponential fits",
            lambda c: _of(c.chosen, as_text.rate) + _of_some(c),
            keep=90,
        ),
        Column(
            "half-life",
            "cell applications that halve the norm",
            lambda c: _of(c.chosen, as_text.half_life),
            keep=40,
        ),
        Column(
            "horizon",
            f"first distance that stays below {fraction} of the norm at 1",
            lambda c: _of(c.chosen, as_text.horizon),
            keep=70,
        ),
        Column(
            "fall/keep/rise",
            "per cent of samples below 1/2, between, above 2",
            lambda c: _of(c.chosen, as_text.samples),
            keep=30,
        ),
    ]


def verdict_columns(comparison: Comparison) -> list[Column]:
    """How much of the gradient arrives, and the word for it."""
    start = Column(
        start_title(comparison),
        "verdict at the first recorded step",
        lambda c: _of(c.start, as_text.words),
        "verdict",
        brief=tuple(lambda c, say=say: _of(c.start, say) for say in BRIEF),
    )
    chosen = Column(
        step_title(comparison),
        "verdict at the step of the numbers",
        lambda c: _of(c.chosen, as_text.words),
        "verdict",
        keep=99,
        brief=tuple(lambda c, say=say: _of(c.chosen, say) for say in BRIEF),
    )
    return [
        Column(
            "far ratio [95%]",
            "norm at the farthest distance over that at distance 1",
            lambda c: _of(c.chosen, as_text.far) + MIXED * (len(c.steps) > 1) + _of_some(c, over=True),
            keep=95,
        ),
        *([start] if start.title != chosen.title else []),
        chosen,
    ]


def beside_columns(comparison: Comparison) -> list[Column]:
    """The parts of the state, and the layers, each for itself; none where the state is one and the layer too."""

    def cell(name: str) -> Callable[[Condition], str]:
        return lambda condition: _of(condition.beside.get(name), as_text.beside)

    names = dict.fromkeys(name for condition in comparison.conditions for name in condition.beside)
    return [Column(name, f"far ratio and verdict of {name} alone", cell(name), "words") for name in names]


def task_columns(comparison: Comparison) -> list[Column]:
    """How the task went, and what clipping did."""
    return [
        *metric_columns.metric_columns(comparison),
        Column(
            "baseline",
            f"{metric_columns.metric_title(comparison)} of a predictor without memory",
            lambda c: as_text.number(c.baseline),
            keep=40,
        ),
        *(success_columns(comparison) if comparison.rules else []),
        Column(
            "clipped",
            "share of steps with a finite norm in which clipping fired",
            lambda c: as_text.percent(c.clipped),
            keep=70,
        ),
        Column("diverged", "runs that diverged", diverged, keep=65),
        Column("parameters", "trained numbers", parameters),
    ]


def success_columns(comparison: Comparison) -> list[Column]:
    """How many runs solved the task, and after how many steps."""
    return [
        Column("solved", f"runs that reached {rules(comparison)}", lambda c: budget.solved(c.success), keep=85),
        Column(
            "steps to success",
            "median [95%] of all runs (Kaplan and Meier): by so many steps half had solved it",
            lambda c: budget.steps(c.success),
            keep=80,
            brief_title="steps to it",
        ),
    ]


def rules(comparison: Comparison) -> str:
    """When the tasks count as solved."""
    return " or ".join(comparison.rules)


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
    return as_text.interval(mean)


def seeds_column() -> Column:
    return Column("seeds", "different seeds in this condition", lambda c: str(c.seeds), keep=KEPT)


def loss(comparison: Comparison) -> str:
    """Whose gradient the curves are of."""
    where = " at its last step or root alone" if comparison.terminal else ""
    return f"each sample's own loss{where}"


def state(comparison: Comparison) -> str:
    """`the joint state (hidden, cell)`, or `hidden` where that is all; `of the encoder` where it is of that alone."""
    where = f" of the {comparison.part}" if comparison.part else ""
    if comparison.state != JOINT or len(comparison.parts) < 2:
        name = comparison.state if comparison.state != JOINT else "".join(comparison.parts) or "the state"
        return f"{name}{where}"
    return f"the joint state ({', '.join(comparison.parts)}){where}"


def end(comparison: Comparison) -> str:
    """What distance counts to: `the loss`, or `the encoder's end` where the curves are of one part alone."""
    return f"the {comparison.part}'s end" if comparison.part else "the loss"


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


def command(run: ComparedRun) -> str:
    """The command line that repeats a run: what was typed for it, and its seed."""
    return repeating(run.record)


def repeating(record: RunRecord) -> str:
    """The same of a record alone."""
    typed = record.overrides
    seeded = any(text.startswith("seed=") for text in typed)
    return shlex.join(["rnn-train", *typed, *([] if seeded else [f"seed={record.seed}"])])


def of_some(condition: Condition) -> str:
    """` (of 2 of 5 seeds)` where so many seeds' curves could be read, and not those of all; else nothing."""
    read = condition.read
    return f" (of {read} of {condition.seeds} seeds)" if 0 < read < condition.seeds else ""


def _of_some(condition: Condition, over: bool = False) -> str:
    """The same for a cell: ` (of 2)`; with `over` also that of one seed the interval is over its samples."""
    read = condition.read
    samples = over and read == 1 and "[" in _of(condition.chosen, as_text.far)
    said = [*([f"of {read}"] if 0 < read < condition.seeds else []), *(["over samples"] if samples else [])]
    return f" ({', '.join(said)})" if said else ""


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _of(reading: Reading | None, cell: Callable[[Reading], str]) -> str:
    return NOTHING if reading is None else cell(reading)
