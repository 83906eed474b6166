"""What a sweep makes of runs that are there already: those that other code made, and shorter ones to go on from."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_research.cli import telling
from rnn_research.config.queue import values_of
from rnn_research.records import runs
from rnn_research.records.sources import changed, sources
from rnn_research.sweeps import store, upkeep
from rnn_research.sweeps.store import QueuedRun

if TYPE_CHECKING:
    from rnn_research.cli.sweeping import Sweep
    from rnn_research.config.queue import AnyRun

LEFT = ("done", "diverged", "interrupted", "failed")
"""States of runs that some code has made, and that nobody is at."""


def judge(sweep: Sweep, folders: Sequence[Path]) -> None:
    """Say which runs other code has made, and by `stale=rerun` note that they are to be trained anew."""
    if sweep.options.stale == "skip":
        return
    now, whose = sources(folders), Counter[str]()
    found = []
    for run in sweep.runs:
        if sweep.states[run.digest] in LEFT and (words := _changed(run, now)):
            found.append(run)
            whose.update(words)
    if not found:
        return
    text = f"{len(found)} of {len(sweep.runs)} runs were made by other code ({' and '.join(whose)} has changed)"
    if sweep.options.stale == "rerun":
        sweep.anew = {run.digest for run in found}
        telling.say(f"{text}: they are trained anew")
    else:
        telling.say(f"{text}: they count as they are; stale=rerun trains them anew, stale=skip says nothing")


def _changed(run: QueuedRun, now: Mapping[str, str]) -> list[str]:
    try:
        return changed(runs.read(run.folder).sources, now)
    except runs.DamagedRecord:
        return []


def train_anew(sweep: Sweep, folders: Sequence[Path]) -> None:
    """Take the runs that are to be trained anew out of their folders; their records and tables are kept in a zip."""
    anew, now = [run for run in sweep.runs if run.digest in sweep.anew], sources(folders)
    if not anew:
        return
    kept = upkeep.keep(sweep.folder, anew)
    done = [upkeep.reset(run, lambda run=run: bool(_changed(run, now))) for run in anew]
    sweep.runs = [_from_the_start(run) if run.digest in sweep.anew else run for run in sweep.runs]
    telling.say(f"the records and tables of {sum(done)} runs that are trained anew were put into {kept}")
    sweep.states |= {run.digest: store.state(run) for run in anew}


def _from_the_start(run: QueuedRun) -> QueuedRun:
    """The run as one to do that goes on from no other: the steps of that would be of other code too."""
    if not run.extends:
        return run
    whole, spec = replace(run, extends=""), run.spec()
    store.remove(run)
    store.add(whole, spec)
    return whole


def extend(sweep: Sweep, known: Mapping[str, QueuedRun], specs: Mapping[str, AnyRun]) -> None:
    """Let each new run go on from the longest there that is done and took its first steps, and say how many do.

    Args:
        known: the runs of the sweep's folder, by digest.
        specs: what the runs of the command train, by digest.
    """
    if not sweep.options.extend:
        return
    same = defaultdict[str, list[QueuedRun]](list)
    for run in known.values():
        same[run.other].append(run)
    now = sources(next(iter(specs.values())).folders) if sweep.options.stale == "rerun" else {}
    sweep.runs = [
        run
        if run.digest in known or not run.other or run.other not in same
        else replace(run, extends=_longest(same[run.other], values_of(specs[run.digest]), now))
        for run in sweep.runs
    ]
    if count := sum(bool(run.extends) for run in sweep.left):
        telling.say(f"{count} of {len(sweep.runs)} runs go on from shorter ones that are done, and stay as they are")


def _longest(there: Iterable[QueuedRun], config: Any, now: Mapping[str, str]) -> str:
    """The folder of the run to go on from; empty without one. `now`: the code that it must be made by, if any."""
    steps = {run.name: _ended_at(run, config) for run in there if not (now and _changed(run, now))}
    best = max(steps, key=lambda name: steps[name], default="")
    return best if steps.get(best) else ""


def _ended_at(run: QueuedRun, config: Any) -> int:
    """The step at which a run ended by its limits, where it can be trained on to others; 0 elsewhere."""
    try:
        record = runs.read(run.folder)
    except runs.DamagedRecord:
        return 0
    if record.status != "done" or not (run.folder / runs.CHECKPOINT).is_file():
        return 0
    scheduler = config.get("scheduler") or {}
    if "steps" in scheduler and scheduler["steps"] is None:
        return 0  # it goes over the run's steps
    before, now = record.config.get("trainer") or {}, config.get("trainer") or {}
    reached = {"max_steps": record.steps, "max_epochs": record.epochs}
    by_limit = any(_number(before.get(key)) == count for key, count in reached.items())
    longer = all(_number(now.get(key)) > count for key, count in reached.items() if _number(before.get(key)) == count)
    enough = all(_number(now.get(key)) >= count for key, count in reached.items())
    return record.steps if by_limit and longer and enough else 0


def _number(limit: Any) -> float:
    """A limit of training; infinity where there is none."""
    return float(limit) if isinstance(limit, int) and limit >= 0 else float("inf")
