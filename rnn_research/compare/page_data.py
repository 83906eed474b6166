"""What a page shows beyond the comparison's table: curves over training, one run in detail, and whose colour is whose.

Reads each run's adjoint table once more, at the steps that are shown, and keeps what it finds as `cached` does. The
page's own script computes one thing, the
slope within a range of distances, by itself and paired by seed: `rates_within` and `difference_within` are what it must
equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from rnn_research import curves
from rnn_research.compare import select
from rnn_research.compare.cached import cached
from rnn_research.compare.comparison import Comparison
from rnn_research.compare.factors import option, place
from rnn_research.compare.reading import ComparedRun
from rnn_research.compare.run_summary import RunDetail
from rnn_research.compare.select import Begun
from rnn_research.compare.stamps import LOG
from rnn_research.records import runs, whole_file
from rnn_research.records.printable import printable
from rnn_research.statistics.intervals import Band, Interval, band, interval
from rnn_research.statistics.paired import pair_differences
from rnn_research.statistics.slopes import theil_sen, thinned

MOST_STEPS = 20
MOST_DISTANCES = 64
MOST_RUNS = 400
"""Of more runs, the page shows each at the chosen step alone, and no log: it would be too large."""
FEWER_DISTANCES = 32
TAIL = 12
"""Lines of a log."""
LONGEST = 400
"""Characters of a line of a log."""
FEWEST_POINTS = 2


@dataclass(frozen=True, eq=False)
class PageData:
    """`details` are by run, `logs` the last lines of a run's log, and `over_training` by condition: at each of `steps`
    the mean curve over its seeds; likewise `norms`, of the log10 of the norm itself."""

    steps: tuple[int, ...]
    details: dict[Path, RunDetail]
    logs: dict[Path, tuple[str, ...]]
    over_training: tuple[dict[int, Band], ...]
    norms: tuple[dict[int, Band], ...]


@np.errstate(all="ignore")  # as in compare
def page_data(comparison: Comparison) -> PageData:
    """The curves over training, and every run in detail, at no more than 20 steps and 64 distances."""
    few = len(comparison.runs) <= MOST_RUNS
    recorded = sorted({step for run in comparison.runs for step in run.steps})
    steps = tuple(recorded[index] for index in thinned(len(recorded), MOST_STEPS)) if recorded and few else ()
    details = {run.folder: _kept_detail(run, comparison, steps) if few else _chosen(run) for run in comparison.runs}
    logs = {run.folder: _tail(run.folder) for run in comparison.runs} if few else {}
    members = [[details[run.folder] for run in c.runs] for c in comparison.conditions]
    return PageData(steps, details, logs, _over(members, steps, "curve"), _over(members, steps, "norm"))


def _over(members: Sequence[Sequence[RunDetail]], steps: Sequence[int], part: str) -> tuple[dict[int, Band], ...]:
    """Of each condition's runs, at each step, the mean over them."""
    return tuple({step: found for step in steps if (found := _together(details, step, part))} for details in members)


def rate_within(
    distance: Sequence[float] | np.ndarray, log: Sequence[float] | np.ndarray, low: float, high: float
) -> float:
    """The Theil-Sen slope of a curve's finite values at `low` <= distance <= `high`, in nats per application; of at
    most 48 evenly spread distances. NaN where there are fewer than two."""
    x, y = np.asarray(distance, dtype=np.float64), np.asarray(log, dtype=np.float64)
    kept = np.flatnonzero((x >= low) & (x <= high) & np.isfinite(y))
    if len(kept) < FEWEST_POINTS:
        return float("nan")
    kept = kept[thinned(len(kept))]
    return float(theil_sen(x[kept], y[kept]))


def rates_within(details: Sequence[RunDetail], step: int, low: float, high: float) -> Interval | None:
    """The mean over runs of `rate_within` at a step, with Student's interval; None where no run has one."""
    rows = [(found, np.flatnonzero(found.step == step)) for found in details]
    return interval([rate_within(found.distance, found.curve[row[0]], low, high) for found, row in rows if len(row)])


def difference_within(
    ours: Sequence[tuple[str, RunDetail]], others: Sequence[tuple[str, RunDetail]], step: int, low: float, high: float
) -> Interval | None:
    """The mean of `rate_within` of ours less the others', paired by the seed that each is given with, and Student's
    interval; None where no seed has both."""

    def slopes(details: Sequence[tuple[str, RunDetail]]) -> list[tuple[tuple[str, ...], float]]:
        return [
            ((seed,), rate_within(found.distance, found.curve[row[0]], low, high))
            for seed, found in details
            if len(row := np.flatnonzero(found.step == step))
        ]

    return interval(pair_differences(slopes(ours), slopes(others)))


def beginnings(comparison: Comparison) -> list[Begun]:
    """`select.beginnings` of a comparison."""
    return select.beginnings(comparison.whole or comparison.runs, comparison.excluded)


def telling(comparison: Comparison, began: Sequence[Begun]) -> dict[str, int]:
    """The factors that tell all runs of `beginnings` apart, with `age`: the oldest first, of one age the model's first
    and clipping's last. They are those of the conditions, and those that are the same in all of them, but not in runs
    that failed or were left out."""
    shown = comparison.distinguishing_factors
    ages = {name: age(name, began) for name in (*shown, *comparison.constant)}
    varying = {name: found for name, found in ages.items() if found is not None or name in shown}
    ordered = sorted(varying.items(), key=lambda item: (item[1] or 0, place(item[0]), item[0]))
    chosen: dict[str, int] = {}
    for factor, found in ordered:  # whichever of them are shown
        if factor in shown or _apart(began, [*chosen, factor]) > _apart(began, list(chosen)):
            chosen[factor] = found or 0
    return chosen


def _apart(began: Sequence[Begun], factors: Sequence[str]) -> int:
    """How many sorts of runs the factors tell apart."""
    return len({tuple(option(one.settings, factor) for factor in factors) for one in began})


def age(factor: str, began: Sequence[Begun]) -> int | None:
    """When the sweep started that first varied a factor: the number of its first run. None where nothing varies it.

    What is of one sweep is told by what was typed for its runs: values of the same keys. So of runs that start later
    none changes the age of a factor that varied before, and a factor that they vary anew is younger, but where the
    same keys were typed for them.
    """
    first = next((one for one in began if option(one.settings, factor) != option(began[0].settings, factor)), None)
    return None if first is None else next(k for k, one in enumerate(began) if one.typed == first.typed)


def started(began: Sequence[Begun], factors: Sequence[str]) -> list[str]:
    """The joined options of `factors`, in the order in which they first started."""
    return list(
        dict.fromkeys(printable(", ".join(option(one.settings, factor) for factor in factors)) for one in began)
    )


def config(comparison: Comparison) -> tuple[dict[str, str], list[dict[str, str]]]:
    """What all runs are configured with alike, and for each run the rest, as text by key."""
    settings = [run.settings for run in comparison.runs]
    common = {key: value for key, value in settings[0].items() if all(own.get(key) == value for own in settings[1:])}
    return common, [{key: value for key, value in own.items() if key not in common} for own in settings]


def _kept_detail(run: ComparedRun, comparison: Comparison, steps: Sequence[int]) -> RunDetail:
    """The run in detail, or what was kept of it beside its record."""
    state, part = comparison.state, comparison.part
    asked = {"detail": state, "part": part}
    return cached(run.folder, asked, lambda: _detail(run, state, part, steps), RunDetail, steps)


def _detail(run: ComparedRun, state: str, part: str | None, steps: Sequence[int]) -> RunDetail:
    table = _table(run.folder) if run.steps and steps else None
    table = None if table is None else curves.of_part(table, part)
    recorded = [step for step in steps if step in run.steps] if table is not None else []
    found = {step: one for step in recorded if (one := _at(table, state, step)) is not None}
    distance = np.unique(np.concatenate([x for x, _, _ in found.values()])) if found else np.array([], dtype=np.int64)
    distance = distance[_kept(distance, MOST_DISTANCES)]
    curve, norm = (np.full((len(found), len(distance)), np.nan) for _ in range(2))
    for row, (x, log, size) in enumerate(found.values()):
        here = np.isin(distance, x)
        where = np.searchsorted(x, distance[here])
        curve[row, here], norm[row, here] = log[where], size[where]
    return RunDetail(np.array(list(found), dtype=np.int64), distance, curve, norm)


def _chosen(run: ComparedRun) -> RunDetail:
    """At the chosen step alone: what the comparison has read already."""
    if run.chosen is None or not len(run.chosen.curve.distance):
        nothing = np.full((0, 0), np.nan)
        return RunDetail(np.array([], dtype=np.int64), np.array([], dtype=np.int64), nothing, nothing)
    found = run.chosen.curve
    kept = _kept(found.distance, FEWER_DISTANCES)
    unknown = np.full((1, len(kept)), np.nan)
    return RunDetail(np.array([found.step]), found.distance[kept], found.log[kept][None], unknown)


def _kept(distance: np.ndarray, most: int) -> np.ndarray:
    """Where so many distances from 1 on are, evenly spread with both ends among them, and those below 1."""
    below = int(np.sum(distance < 1))
    beyond = len(distance) - below
    return np.concatenate([np.arange(below), below + thinned(beyond, most)]) if beyond else np.arange(below)


def _log10(found: curves.Curve) -> Float[np.ndarray, " distance"]:
    """log10 of the geometric mean of the norms; -inf where most are exactly zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(found.zeros > 0.5, -np.inf, np.log10(found.geometric_mean))


def _table(folder: Path) -> np.ndarray | None:
    """The adjoint table; None where it has gone since the comparison was made."""
    try:
        return runs.read_table(folder, "adjoint")
    except (runs.DamagedRecord, OSError):
        return None


def _at(table: np.ndarray | None, state: str, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """(distance, typical log curve, log10 norm) at one step; None where there is none."""
    if table is None:
        return None
    try:
        curve = curves.curve(table[table["step"] == step], step, state)
    except ValueError:
        return None
    if not len(curve.distance):
        return None
    return curve.distance, curves.typical(curve, resamples=0).log, _log10(curve)


def _together(details: Sequence[RunDetail], step: int, part: str) -> Band | None:
    rows = [(found, row[0]) for found in details if len(row := np.flatnonzero(found.step == step))]
    return band([found.distance for found, _ in rows], [getattr(found, part)[row] for found, row in rows])


def _tail(folder: Path) -> tuple[str, ...]:
    """The last lines of the run's log, of what of it is at the end; nothing where there is none."""
    try:
        with whole_file.opened(folder / LOG) as file:
            file.seek(max(0, file.seek(0, 2) - TAIL * LONGEST))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ()
    return tuple(printable(line)[:LONGEST] for line in text.splitlines()[-TAIL:])
