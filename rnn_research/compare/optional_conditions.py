"""What the optional tables of a condition's runs say together: of strategies that did not act, and of classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from rnn_research.compare.reading import ComparedRun
from rnn_research.compare.run_summary import Series, StrategyBins
from rnn_research.statistics.intervals import Band

BandOf = Callable[[Sequence[ComparedRun], Callable[[ComparedRun], Series | None]], "Band | None"]


@dataclass(frozen=True, eq=False)
class ForeseenEffect:
    """What a strategy that did not act would have done to the gradients of a condition's runs, over training.

    At the middle of each bin of steps: the mean cosine of the angle between the gradient before and after, and the mean
    of log(norm after / norm before), natural logarithm; over the steps that it would not have skipped.
    """

    cosine: Band
    log_size: Band
    skipped: float
    """The share of steps that it would have skipped: the mean over runs."""


@dataclass(frozen=True, eq=False)
class Confusion:
    """Of the test samples of all runs of a condition with a true class (row), how many were given each class."""

    classes: tuple[str, ...]
    """Their names, or numbers."""
    count: Int[np.ndarray, "true predicted"]
    runs: int

    @property
    def share(self) -> Float[np.ndarray, "true predicted"]:
        """Of each true class: rows sum to 1, and are NaN where no sample has that class."""
        with np.errstate(invalid="ignore"):
            return self.count / self.count.sum(axis=1, keepdims=True)

    @property
    def samples(self) -> int:
        """Of all runs together."""
        return int(self.count.sum())


def foreseen_effects(members: Sequence[ComparedRun], band_of: BandOf) -> dict[str, ForeseenEffect]:
    """By strategy; `band_of` puts the series of several runs together over seeds."""
    found = {}
    for name in dict.fromkeys(name for run in members for name in run.foreseen):
        bins = {run.folder: run.foreseen[name] for run in members if name in run.foreseen}
        cosine, size = (_together(members, bins, part, band_of) for part in ("cosine", "log_size"))
        if cosine is not None and size is not None:
            skipped = float(np.mean([one.skipped for one in bins.values()]))
            cosine = replace(cosine, low=np.maximum(cosine.low, -1.0), high=np.minimum(cosine.high, 1.0))
            found[name] = ForeseenEffect(cosine, size, skipped)
    return found


def _together(
    members: Sequence[ComparedRun], bins: Mapping[Path, StrategyBins], part: str, band_of: BandOf
) -> Band | None:
    """The runs' bins, by folder, in bins as wide as the widest."""
    width = max(one.width for one in bins.values())
    return band_of(members, lambda run: _series(bins.get(run.folder), width, part))


def _series(bins: StrategyBins | None, width: int, part: str) -> Series | None:
    """A run's mean in bins of `width`, a multiple of its own, where it took a step."""
    if bins is None:
        return None
    number, where = np.unique(bins.number * bins.width // width, return_inverse=True)
    count, total = (np.bincount(where, values, minlength=len(number)) for values in (bins.count, getattr(bins, part)))
    taken = count > 0
    if not taken.any():
        return None
    return Series((number * width + (width - 1) / 2)[taken], total[taken] / count[taken])


def confusion(members: Sequence[ComparedRun]) -> Confusion | None:
    """The confusions of the runs that finished, added up; None where none recorded its classes."""
    there = [run for run in members if run.confusions is not None and not run.diverged]
    tables = [run.confusions for run in there if run.confusions is not None]
    if not tables:
        return None
    names = _names([run.record.data for run in there])
    size = max(len(names), *(len(table) for table in tables))
    total = np.zeros((size, size), dtype=np.int64)
    for table in tables:
        total[: len(table), : len(table)] += table
    known = names if len(names) == size else ()
    return Confusion(known or tuple(map(str, range(size))), total, len(tables))


def _names(data: Sequence[Mapping[str, object]]) -> tuple[str, ...]:
    """The classes' names in the records' section `data`, where all agree."""
    said = {tuple(map(str, names)) for own in data if isinstance(names := own.get("classes"), list | tuple)}
    return said.pop() if len(said) == 1 else ()
