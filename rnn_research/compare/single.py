"""One run for itself: its record with what its tables say, and the best of several."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnn_research.checks import nearest
from rnn_research.compare.asked import check_folders, check_found
from rnn_research.compare.factors import settings_of
from rnn_research.compare.metrics import choose_metric
from rnn_research.compare.reading import ComparedRun, TableView, read_run, split_metric
from rnn_research.compare.refused import NothingToCompare
from rnn_research.compare.scales import HIGHER, LOWER
from rnn_research.compare.select import SelectedRun, printable_record, select
from rnn_research.curves import FRACTION, Reading, together
from rnn_research.records import runs
from rnn_research.records.runs import RunRecord

ALL = "all layers"


@dataclass(frozen=True)
class BestRun:
    """The run whose `metric` is best, of `among` that are done and have it; `ties` others have the same value."""

    folder: Path
    record: RunRecord
    metric: str
    higher: bool
    value: float
    among: int
    ties: int


def best(folders: Sequence[Path], metric: str | None = None, higher: bool | None = None) -> BestRun:
    """The best run at or below `folders` by what `metric` ended with. Reads records alone, no table.

    Args:
        metric: as in `compare`; by default, and where a name without a split is given, of the validation set if the
            records have it: what is chosen by the test set looks better there than it is.
        higher: whether more is better; by default the metric's name says so.

    Raises:
        NothingToCompare: no such folder, no run that is done, no such metric, or a name that says not what is better.
    """
    check_folders(folders)
    selection = select(folders)
    check_found(folders, selection)
    name = choose_metric(selection.found, metric)
    finals = [(item, item.record.final) for item in selection.found if item.record.status == "done"]
    known = dict.fromkeys(key for _, final in finals for key in final)
    if name is not None and metric != name and (other := f"val_{split_metric(name)[1]}") in known:
        name = other
    if name is None or name not in known:
        raise NothingToCompare(f"metric: no run that is done has {name or 'any'}; give another --metric, or train on")
    better = _higher(name) if higher is None else higher
    there = [(item, final[name]) for item, final in finals if name in final and not math.isnan(final[name])]
    if not there:
        raise NothingToCompare(f"metric: {name} is NaN in every run; give another --metric")
    value = (max if better else min)(value for _, value in there)
    first, *others = sorted((item for item, own in there if own == value), key=lambda item: item.record.start)
    return BestRun(first.folder, first.record, name, better, value, len(there), len(others))


@np.errstate(all="ignore")  # as in compare
def single(folder: Path, metric: str | None = None) -> ComparedRun:
    """The run in `folder` with what its tables say at the last recorded step, finished or not.

    Raises:
        NothingToCompare: there is no run in it, or its record can't be read.
    """
    if not os.path.isfile(folder / runs.RECORD):
        raise NothingToCompare(_no_run(folder))
    try:
        record = printable_record(runs.read(folder))
    except runs.DamagedRecord as error:
        raise NothingToCompare(str(error)) from None
    item = SelectedRun(folder, record, settings_of([record])[0])
    return read_run(item, TableView(None, "last", choose_metric([item], metric), FRACTION))


def readings(run: ComparedRun) -> dict[str, Reading]:
    """The gradient of a run at the step it was read at: of all layers together, then of each part of the state and of
    each layer, where there are several. Empty where it was not recorded."""
    seen = {ALL: run.chosen, **run.beside} if run.chosen is not None else {}
    found = {name: together([at.curve], [at.decay], [at.verdict]) for name, at in seen.items() if at is not None}
    return {name: reading for name, reading in found.items() if reading is not None}


def _higher(metric: str) -> bool:
    words = [word for word in reversed(metric.lower().split("_")) if word in (*HIGHER, *LOWER)]
    if not words:
        raise NothingToCompare(
            f"metric: given {metric}, whose name does not say whether more is better; add --higher or --lower"
        )
    return words[0] in HIGHER


def _no_run(folder: Path) -> str:
    if os.path.isdir(folder):
        below = list(runs.find([folder]))
        if below:
            said = f"expected the folder of one run; it holds {len(below)}"
            return f"run: given {folder}, {said}, such as {below[0]}"
        return f"run: given {folder}, which holds no run.json; give the folder of a run"
    if os.path.exists(folder):
        return f"run: given the file {folder}, expected a folder; give {folder.parent}"
    beside = [path.name for path in folder.parent.iterdir()] if os.path.isdir(folder.parent) else []
    return f"run: given {folder}, which does not exist{nearest(folder.name, beside)}; give the folder of a run"
