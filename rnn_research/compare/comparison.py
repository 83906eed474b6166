"""Records to comparison: conditions over seeds, and everything a reader needs to judge them."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rnn_research import checks
from rnn_research.compare.breakdown import Bins
from rnn_research.compare.breakdown import bins as bins_of
from rnn_research.compare.conditions import Condition, condition
from rnn_research.compare.effects import Effect, effects
from rnn_research.compare.factors import Factors, Settings, option, short
from rnn_research.compare.reading import ComparedRun, StepChoice, TableView, read_runs, split_metric
from rnn_research.compare.select import ExcludedRun, SelectedRun, Selection, select
from rnn_research.compare.success import rule
from rnn_research.curves import FRACTION, JOINT
from rnn_research.records.identity import is_factor
from rnn_research.records.printable import printable_values


class NothingToCompare(ValueError):
    """What was asked for can't be had: the message says what was given, what was expected, and the repair."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """The conditions, in the order of the sweep, and how they came to be."""

    folder: Path
    """Runs are named relative to this: what the given folders have in common."""
    metric: str | None
    """`<split>_<name>`, None where no record has one."""
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

    @property
    def measure(self) -> str:
        """What is averaged over answers: `accuracy` or `loss`; empty where there are none, or runs disagree."""
        found = {run.measure for run in self.runs if run.measure}
        return found.pop() if len(found) == 1 else ""

    @property
    def rules(self) -> tuple[str, ...]:
        """When tasks count as solved, in words."""
        return tuple(dict.fromkeys(said for run in self.runs if (said := rule(run.record))))

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

    @property
    def runs(self) -> tuple[ComparedRun, ...]:
        return tuple(run for condition in self.conditions for run in condition.runs)

    def name(self, folder: Path) -> str:
        """A run's folder, as short as it says which."""
        return printable_values(os.path.relpath(folder, self.folder) if folder != self.folder else folder.name)


def compare(
    folders: Sequence[Path | str],
    *,
    state: str | None = None,
    step: StepChoice = "last",
    metric: str | None = None,
    by: Sequence[str] = (),
    fraction: float = FRACTION,
    against: Sequence[str] = (),
    processes: int = 1,
) -> Comparison:
    """Compare the runs at or below `folders`. What is read of a run is kept beside its record for the next time.

    Args:
        state: whose adjoint; default `joint`, all states of a cell together.
        step: of the optimiser, at which to look; `last` is the last recorded one with finite norms.
        metric: `accuracy`, or with its split `val_accuracy`; default one of the test split that has a
            baseline, accuracy first, else what the records have.
        by: the factors that make conditions; default all that vary. Others are pooled.
        fraction: of the norm at distance 1, below which the horizon lies.
        against: features of the samples, such as `length`, that the answers are to be told by.
        processes: that read many runs; with more than one they are forked.

    Raises:
        NothingToCompare: no such folder, no comparable run, or a value that fits none of them.
    """
    folders = [Path(folder) for folder in folders]
    try:
        fraction = checks.number("fraction", fraction, above=0.0, most=1.0)
    except ValueError as error:
        raise NothingToCompare(str(error)) from None
    _check_folders(folders)
    selection = select(folders)
    _check_found(folders, selection)
    name = _metric(selection.found, metric)
    varying = _varying(selection, by)
    seeds = Counter(_options(item.settings, varying) for item in selection.found)
    alone = [seeds[_options(item.settings, varying)] == 1 for item in selection.found]
    read = read_runs(selection.found, TableView(state, step, name, fraction), alone, processes)
    _check_read(read, state, step)
    bins = _bins(read, against)
    conditions = tuple(condition(options, members, name, bins) for options, members in _group(read, varying))
    pooled = tuple(factor for factor in selection.factors.varying if factor not in varying)
    return Comparison(
        folder=Path(os.path.commonpath([folder.resolve() for folder in folders])),
        metric=name,
        state=state or _state(read),
        step=step,
        fraction=fraction,
        varying=varying,
        pooled=pooled,
        constant=selection.factors.constant,
        conditions=conditions,
        effects=effects(conditions, pooled, name),
        excluded=selection.excluded,
        notes=selection.notes,
        bins=bins,
        against=tuple(dict.fromkeys(against)),
    )


def _bins(read: Sequence[ComparedRun], against: Sequence[str]) -> dict[str, Bins]:
    """Of the features with several values; none where some runs' answers are measured otherwise than others'."""
    found = bins_of([run.answers for run in read]) if len({run.measure for run in read if run.measure}) == 1 else {}
    for name in against:
        if name not in found:
            raise NothingToCompare(_choice("against", name, list(found)))
    return found


def _check_folders(folders: Sequence[Path]) -> None:
    for folder in folders:
        if folder.is_file():
            raise NothingToCompare(f"folder: given the file {folder}, expected a folder; give {folder.parent}")
        if not folder.is_dir():
            raise NothingToCompare(f"folder: given {folder}, which does not exist; give the folder of a run or a sweep")


def _check_found(folders: Sequence[Path], selection: Selection) -> None:
    if selection.found:
        return
    given = ", ".join(map(str, folders))
    if not selection.excluded:
        raise NothingToCompare(f"folder: no run.json at or below {given}; train first: rnn-train")
    why = "; ".join(f"{item.folder}: {item.reason}" for item in selection.excluded)
    raise NothingToCompare(
        f"folder: none of the {len(selection.excluded)} runs at or below {given} can be compared: {why}"
    )


def _metric(found: Iterable[SelectedRun], asked: str | None) -> str | None:
    """`<split>_<name>` for what was asked; by default of the test split what has a baseline, accuracy first.

    What only has a baseline is known too: where all runs diverged, none was tested.
    """
    found = list(found)
    baselines = {key for item in found for key in item.record.baselines}
    known = dict.fromkeys(key for item in found for key in (*item.record.final, *item.record.baselines))
    ranked = sorted(
        known,
        key=lambda key: (
            not key.startswith("test_"),
            key not in baselines,
            not key.endswith("accuracy"),
            key.endswith("loss"),
        ),
    )
    if asked is None:
        return ranked[0] if ranked else None
    matching = [key for key in ranked if key == asked or split_metric(key)[1] == asked]
    if not matching:
        raise NothingToCompare(
            _choice("metric", asked, [*ranked, *dict.fromkeys(split_metric(key)[1] for key in ranked)])
        )
    return matching[0]


def _varying(selection: Selection, by: Sequence[str]) -> tuple[str, ...]:
    factors: Factors = selection.factors
    known = dict.fromkeys((*factors.varying, *factors.constant))
    for item in selection.found:
        known |= dict.fromkeys(key for key in item.settings if is_factor(key))
    names = {tail: factor for factor, tail in short(tuple(known)).items()} | {factor: factor for factor in known}
    for factor in by:
        if factor not in names:
            raise NothingToCompare(_choice("by", factor, [*factors.varying, *factors.constant], names))
    return tuple(dict.fromkeys(names[factor] for factor in by)) or factors.varying


def _options(settings: Settings, varying: Sequence[str]) -> tuple[str, ...]:
    return tuple(option(settings, factor) for factor in varying)


def _group(read: Sequence[ComparedRun], varying: Sequence[str]) -> list[tuple[dict[str, str], list[ComparedRun]]]:
    groups: dict[tuple[str, ...], list[ComparedRun]] = defaultdict(list)
    for run in read:
        groups[_options(run.settings, varying)].append(run)
    ranks = [_ranks(read, factor) for factor in varying]
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


def _ranks(read: Sequence[ComparedRun], factor: str) -> dict[str, int]:
    """The order of a factor's options: none, numbers ascending, others as they were first started in the sweep."""
    started = sorted(read, key=lambda run: run.record.start)
    options = list(dict.fromkeys(option(run.settings, factor) for run in started))
    with suppress(ValueError):
        options = sorted(options, key=float)
    return {name: rank for rank, name in enumerate(sorted(options, key=lambda name: name != "none"))}


def _check_read(read: Sequence[ComparedRun], state: str | None, step: StepChoice) -> None:
    """Refuse a state or step that no run has; where only some lack it, their `missing` says so."""
    states = dict.fromkeys(name for run in read for name in (JOINT, *run.states))
    if state is not None and state not in states:
        raise NothingToCompare(_choice("state", state, list(states)))
    steps = sorted({number for run in read for number in run.steps})
    if isinstance(step, int) and step not in steps:
        raise NothingToCompare(_choice("step", str(step), ["first", "last", *map(str, steps)]))


def _state(read: Sequence[ComparedRun]) -> str:
    return next((run.chosen.curve.state for run in read if run.chosen), JOINT)


def _choice(name: str, given: str, expected: Sequence[str], near: Iterable[str] = ()) -> str:
    listed = ", ".join(expected[:20]) + (", …" if len(expected) > 20 else "")
    suggestion = checks.nearest(given, near or expected)
    return (
        f"{name}: given {given}, expected one of {listed}{suggestion}"
        if expected
        else f"{name}: given {given}, but no run has any"
    )
