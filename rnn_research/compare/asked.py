"""What was asked of a comparison, checked against what there is: folders, metric, factors, state and step."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rnn_research import checks
from rnn_research.compare.effects import Effect
from rnn_research.compare.factors import factors_of, short
from rnn_research.compare.filters import Filter, filters
from rnn_research.compare.reading import ComparedRun, TableView
from rnn_research.compare.refused import NothingToCompare, choice
from rnn_research.compare.select import Selection
from rnn_research.curves import JOINT, NETWORKS
from rnn_research.records.identity import is_factor


def checked_fraction(fraction: float) -> float:
    """The fraction that defines the horizon, if it is one."""
    try:
        return checks.number("fraction", fraction, above=0.0, most=1.0)
    except ValueError as error:
        raise NothingToCompare(str(error)) from None


def checked_part(part: str | None) -> str | None:
    """The network that the curves are to be of, if it is one of those that a run may have; None: all."""
    if part is not None and part not in NETWORKS:
        raise NothingToCompare(choice("part", part, list(NETWORKS)))
    return part


def check_folders(folders: Sequence[Path]) -> None:
    """Refuse what is no folder that there is; a name that no disk can hold is none."""
    for folder in folders:
        if os.path.isfile(folder):  # of a name that is too long, pathlib's own raise
            repair = "unpack it first" if folder.suffix == ".zip" else f"give {folder.parent}"
            raise NothingToCompare(f"folder: given the file {folder}, expected a folder; {repair}")
        if not os.path.isdir(folder):
            raise NothingToCompare(f"folder: given {folder}, which does not exist; give the folder of a run or a sweep")


def check_found(folders: Sequence[Path], selection: Selection) -> None:
    if selection.found:
        return
    given = ", ".join(map(str, folders))
    if not selection.excluded:
        raise NothingToCompare(f"folder: no run.json at or below {given}; train first: rnn-train")
    why = "; ".join(f"{item.folder}: {item.reason}" for item in selection.excluded)
    raise NothingToCompare(
        f"folder: none of the {len(selection.excluded)} runs at or below {given} can be compared: {why}"
    )


def factor_names(selection: Selection) -> dict[str, str]:
    """The factors of the runs by their whole names and by short ones."""
    factors = selection.factors
    known = dict.fromkeys((*factors.varying, *factors.constant))
    for item in selection.found:
        known |= dict.fromkeys(key for key in item.settings if is_factor(key))
    return {tail: factor for factor, tail in short(tuple(known)).items()} | {factor: factor for factor in known}


def chosen_factors(name: str, given: Sequence[str], selection: Selection) -> tuple[str, ...]:
    """The factors that an argument of this name gives."""
    names = factor_names(selection)
    for factor in given:
        if factor not in names:
            raise NothingToCompare(_no_factor(name, factor, selection, names))
    return tuple(dict.fromkeys(names[factor] for factor in given))


def filtered(selection: Selection, where: Sequence[str]) -> Selection:
    """The runs that fulfil every condition, with what varies among them."""
    if not where:
        return selection
    asked = _filters("where", where, selection)
    found = tuple(item for item in selection.found if all(one(item.settings) for one in asked))
    if not found:
        names = ", ".join(
            f"{one.factor}: {', '.join(sorted({item.settings.get(one.factor, '-') for item in selection.found})[:10])}"
            for one in asked
        )
        raise NothingToCompare(f"where: given {' '.join(where)}, which no run fulfils; the runs have {names}")
    factors = factors_of([item.record for item in found], [item.settings for item in found])
    return replace(selection, found=found, factors=factors)


def baseline_of(given: Sequence[str], selection: Selection) -> dict[str, str] | None:
    """The option by factor that conditions are compared with; None where none is asked for."""
    if not given:
        return None
    asked = _filters("baseline", given, selection)
    for name, count in Counter(one.factor for one in asked).items():
        if count > 1:
            raise NothingToCompare(f"baseline: given {name} {count} times ({' '.join(given)}); give one option of it")
    for one, text in zip(asked, given, strict=True):
        there = sorted({item.settings.get(one.factor, "-") for item in selection.found})
        if one.sign != "=" or one.value not in there:
            raise NothingToCompare(choice("baseline", text, [f"{one.factor}={value}" for value in there]))
    return {one.factor: one.value for one in asked}


def check_baseline(given: Sequence[str], effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
    """The effects; a baseline that no condition differs from in it alone is refused."""
    if given and not effects:
        raise NothingToCompare(
            f"baseline: given {' '.join(given)}, but no condition differs from one with it in that alone; give the "
            "option of a factor that varies"
        )
    return effects


def _filters(name: str, given: Sequence[str], selection: Selection) -> list[Filter]:
    names = factor_names(selection)
    try:
        return filters(given, names)
    except KeyError as error:
        raise NothingToCompare(_no_factor(name, str(error.args[0]), selection, names)) from None
    except ValueError as error:
        raise NothingToCompare(f"{name}: {error}") from None


def _no_factor(name: str, given: str, selection: Selection, names: Mapping[str, str]) -> str:
    return choice(name, given, [*selection.factors.varying, *selection.factors.constant], names)


def check_read(read: Sequence[ComparedRun], view: TableView) -> None:
    """Refuse a part, state or step that no run has; where only some lack it, their `missing` says so."""
    state, step, part = view.state, view.step, view.part
    if part is not None and not any(run.steps for run in read):
        raise NothingToCompare(f"part: given {part}, but no run has an adjoint table of an encoder and a decoder")
    states = dict.fromkeys(name for run in read for name in (JOINT, *run.states))
    if state is not None and state not in states:
        raise NothingToCompare(choice("state", state, list(states)))
    steps = sorted({number for run in read for number in run.steps})
    if isinstance(step, int) and step not in steps:
        raise NothingToCompare(choice("step", str(step), ["first", "last", *map(str, steps)]))
