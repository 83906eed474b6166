"""Records to comparison: conditions over seeds, and everything a reader needs to judge them."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rnn_research.compare.asked import (
    baseline_of,
    check_baseline,
    check_folders,
    check_found,
    check_read,
    checked_fraction,
    checked_part,
    chosen_factors,
    filtered,
)
from rnn_research.compare.breakdown import Bins
from rnn_research.compare.breakdown import bins as bins_of
from rnn_research.compare.conditions import Condition, condition
from rnn_research.compare.effects import REFERENCE, Effect, effects
from rnn_research.compare.factors import Settings, option
from rnn_research.compare.metrics import ChosenMetrics, choose_metrics, task_of
from rnn_research.compare.reading import ComparedRun, StepChoice, TableView, read_runs
from rnn_research.compare.refused import NothingToCompare, choice
from rnn_research.compare.select import Begun, ExcludedRun, SelectedRun, Selection, beginnings, select
from rnn_research.compare.success import rule
from rnn_research.curves import FRACTION, JOINT
from rnn_research.records.printable import printable_values


@dataclass(frozen=True, eq=False)
class Comparison:
    """The conditions, in the order of the sweep, and how they came to be."""

    folder: Path
    """Runs are named relative to this: what the given folders have in common."""
    metric: str | None
    """`<split>_<name>`, by which all runs are compared; None where no record has one, or tasks have different ones."""
    metrics: Mapping[str, str | None]
    """Of each task the metric that its runs are compared by."""
    state: str
    step: StepChoice
    fraction: float
    varying: tuple[str, ...]
    pooled: tuple[str, ...]
    """Factors that vary too, but were left out of `by`: their runs count as seeds."""
    constant: dict[str, str]
    conditions: tuple[Condition, ...]
    effects: tuple[Effect, ...]
    excluded: tuple[ExcludedRun, ...]
    notes: tuple[str, ...]
    bins: dict[str, Bins]
    """Of each feature that answers are looked at by: all that have several values."""
    against: tuple[str, ...]
    """Those that were asked for."""
    baseline: Mapping[str, str] = field(default_factory=lambda: REFERENCE)
    """What conditions are compared with: option by factor."""
    where: tuple[str, ...] = ()
    part: str | None = None
    """Which network the curves are of, where it is not all."""
    whole: tuple[SelectedRun, ...] = ()
    """Every comparable run that was found, also those that `where` leaves out."""

    @property
    def measure(self) -> str:
        """What is averaged over answers: `accuracy` or `loss`; empty where there are none, or runs disagree."""
        found = {run.measure for run in self.runs if run.measure}
        return found.pop() if len(found) == 1 else ""

    @property
    def rules(self) -> tuple[str, ...]:
        """When tasks count as solved, in words."""
        return tuple(dict.fromkeys(said for run in self.runs if (said := rule(run.record))))

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The metrics that tasks are compared by, each once."""
        return tuple(dict.fromkeys(name for name in self.metrics.values() if name is not None))

    @cached_property
    def distinguishing_factors(self) -> tuple[str, ...]:
        """The first varying factors that tell all conditions apart; the others go with them, such as the
        structure that a model needs."""
        return tuple(_distinguishing(self.conditions, self.varying))

    @property
    def parts(self) -> tuple[str, ...]:
        """The states of which the adjoint is: `hidden`, and in an LSTM `cell`."""
        seen = (run.chosen for run in self.runs if run.chosen)
        return tuple(dict.fromkeys(part for found in seen for part in found.curve.parts))

    @property
    def terminal(self) -> bool:
        """Whether some curve is of the loss at the last step or the root alone."""
        return any(run.chosen.curve.terminal for run in self.runs if run.chosen)

    def label(self, condition: Condition) -> str:
        return ", ".join(condition.options[factor] for factor in self.distinguishing_factors) or "all runs"

    @cached_property
    def runs(self) -> tuple[ComparedRun, ...]:
        return tuple(run for condition in self.conditions for run in condition.runs)

    def name(self, folder: Path) -> str:
        """A run's folder, as short as it says which."""
        return printable_values(os.path.relpath(folder, self.folder) if folder != self.folder else folder.name)


@np.errstate(all="ignore")  # what overflows is infinite, and what is nothing NaN: both are said as such
def compare(
    folders: Sequence[Path | str],
    *,
    state: str | None = None,
    step: StepChoice = "last",
    metric: str | None = None,
    by: Sequence[str] = (),
    fraction: float = FRACTION,
    part: str | None = None,
    against: Sequence[str] = (),
    where: Sequence[str] = (),
    pair: Sequence[str] = (),
    baseline: Sequence[str] = (),
    processes: int = 1,
) -> Comparison:
    """Compare the runs at or below `folders`. What is read of a run is kept beside its record for the next time.

    Args:
        state: whose adjoint; default `joint`, all states of a cell together.
        step: of the optimiser, at which to look; `last` is the last recorded one with finite norms.
        metric: `accuracy`, or with its split `val_accuracy`; default one of the test split, or each task's own.
        by: the factors that make conditions; default all that vary. Others are pooled.
        fraction: of the norm at distance 1, below which the horizon lies.
        part: `encoder` or `decoder` alone, of runs that have both: see `curves.of_part`.
        against: features of the samples, such as `length`, that the answers are to be told by.
        where: only runs that fulfil these, such as `model=lstm`, `hidden_size>=64`, `clipping!=none`.
        pair: factors whose options, beside the seed, make a pair; default the pooled ones.
        baseline: what the other conditions are compared with, such as `model=rnn`; default `clipping=none`.
        processes: that read many runs; with more than one they are forked.

    Raises:
        NothingToCompare: no such folder, no comparable run, or a value that fits none of them.
    """
    selection = filtered(whole := _selected(folders := [Path(folder) for folder in folders]), where)
    reference, pairing = baseline_of(baseline, selection), chosen_factors("pair", pair, selection) or None
    metrics = choose_metrics(selection.found, metric)
    view = TableView(state, step, None, checked_fraction(fraction), checked_part(part))
    varying = chosen_factors("by", by, selection) or selection.factors.varying
    read = _read(selection.found, view, metrics, varying, processes)
    bins, grouped = _bins(read, against), _group(read, varying, beginnings(whole.found, whole.excluded))
    conditions = tuple(condition(*group, bins) for group in grouped)
    pooled = tuple(factor for factor in selection.factors.varying if factor not in varying)
    differences = check_baseline(baseline, effects(conditions, pooled, reference, pairing))
    return Comparison(
        folder=Path(os.path.commonpath([folder.resolve() for folder in folders])),
        metric=metrics.shared,
        metrics=metrics.of_task,
        varying=varying,
        pooled=pooled,
        conditions=conditions,
        effects=differences,
        bins=bins,
        against=tuple(dict.fromkeys(against)),
        baseline=reference or REFERENCE,
        where=tuple(where),
        whole=whole.found,
        **_looked_at(view, read),
        **_selected_from(selection),
    )


def _looked_at(view: TableView, read: Sequence[ComparedRun]) -> dict[str, Any]:
    state = view.state or _state(read)
    return {"state": state, "step": view.step, "fraction": view.fraction, "part": view.part}


def _selected_from(selection: Selection) -> dict[str, Any]:
    return {"constant": selection.factors.constant, "excluded": selection.excluded, "notes": selection.notes}


def _selected(folders: Sequence[Path]) -> Selection:
    check_folders(folders)
    selection = select(folders)
    check_found(folders, selection)
    return selection


def _read(
    found: Sequence[SelectedRun], view: TableView, metrics: ChosenMetrics, varying: Sequence[str], processes: int
) -> list[ComparedRun]:
    """What every run's tables say, each looked at with the metric of its task; some run has the state and step."""
    seeds = Counter(_options(item.settings, varying) for item in found)
    views = {task: replace(view, metric=metric) for task, metric in metrics.of_task.items()}
    alone = [seeds[_options(item.settings, varying)] == 1 for item in found]
    read = read_runs(found, [views[task_of(item.record)] for item in found], alone, processes)
    check_read(read, view)
    return read


def _bins(read: Sequence[ComparedRun], against: Sequence[str]) -> dict[str, Bins]:
    """Of the features with several values; none where some runs' answers are measured otherwise than others'."""
    found = bins_of([run.answers for run in read]) if len({run.measure for run in read if run.measure}) == 1 else {}
    for name in against:
        if name not in found:
            raise NothingToCompare(choice("against", name, list(found)))
    return found


def _options(settings: Settings, varying: Sequence[str]) -> tuple[str, ...]:
    return tuple(option(settings, factor) for factor in varying)


def _group(
    read: Sequence[ComparedRun], varying: Sequence[str], began: Sequence[Begun]
) -> list[tuple[dict[str, str], list[ComparedRun]]]:
    groups: dict[tuple[str, ...], list[ComparedRun]] = defaultdict(list)
    for run in read:
        groups[_options(run.settings, varying)].append(run)
    ranks = [_ranks(began, factor) for factor in varying]
    conditions = sorted(groups, key=lambda options: [rank[o] for rank, o in zip(ranks, options, strict=True)])
    return [
        (dict(zip(varying, options, strict=True)), sorted(groups[options], key=lambda run: run.record.seed))
        for options in conditions
    ]


def _distinguishing(conditions: Sequence[Condition], varying: Sequence[str]) -> list[str]:
    chosen: list[str] = []
    for factor in varying:
        more = [*chosen, factor]
        apart = ({tuple(c.options[name] for name in names) for c in conditions} for names in (chosen, more))
        if len(next(apart)) < len(next(apart)):
            chosen = more
    return chosen


def _ranks(began: Sequence[Begun], factor: str) -> dict[str, int]:
    """The order of a factor's options: none, numbers ascending, others as they first started in the sweep: of all runs
    that there are, so that it stays when some are not asked for, or fail."""
    options = list(dict.fromkeys(option(one.settings, factor) for one in began))

    def key(name: str) -> tuple[bool, bool, float]:
        with suppress(ValueError):
            return name != "none", False, float(name)
        return name != "none", True, options.index(name)

    return {name: rank for rank, name in enumerate(sorted(options, key=key))}


def _state(read: Sequence[ComparedRun]) -> str:
    return next((run.chosen.curve.state for run in read if run.chosen), JOINT)
