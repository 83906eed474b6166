"""A sweep by `rnn-train -m`: its runs are written into its folder's queue, and workers here train what is left."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from rnn_research.cli import earlier_runs, sweep_options, telling
from rnn_research.cli.console import on_terminal
from rnn_research.cli.elsewhere import Elsewhere
from rnn_research.cli.live_table import live_table
from rnn_research.cli.pool import Pool
from rnn_research.cli.process import answering, leave, noticed, stop, uncollected
from rnn_research.cli.sweep_options import SweepOptions
from rnn_research.cli.sweep_start import confirm, import_for, kept, mistakes
from rnn_research.config.compose import ComposedRun
from rnn_research.config.queue import queued, work, written
from rnn_research.errors import FolderInUse
from rnn_research.records.runs import RECORD, DamagedRecord, read
from rnn_research.sweeps import claims, store
from rnn_research.sweeps.folders import first_missing, remove_empty
from rnn_research.sweeps.store import QueuedRun
from rnn_research.sweeps.worker import Event, Rules

ORDER = (
    *("done", "skipped", "resumed", "failed", "diverged", "refused", "left out", "interrupted", "running", "pending"),
    "damaged",
)
"""In which the end of a sweep counts how its runs ended."""


@dataclass
class Sweep:
    """The runs of a command, and how they ended.

    Attributes:
        folder: the sweep's.
        runs: all of the command's.
        states: what each was, by digest, before the command.
        ended: how each ended that was trained.
        anew: the digests of those that are there, and are to be trained anew.
        elsewhere: trains what is left; None: workers here do.
        left_alone: whether workers elsewhere were started, and not waited for.
    """

    folder: Path
    runs: list[QueuedRun]
    options: SweepOptions
    states: dict[str, str] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    anew: set[str] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)
    """How long each took that was trained."""
    code: int = 0
    reasons: set[str] = field(default_factory=set)
    """Why runs are left out, as far as it was said."""
    elsewhere: Elsewhere | None = None
    left_alone: bool = False
    total: int = 0
    """How many runs there are in all, where these are some of a study's."""

    def label(self, run: QueuedRun) -> str:
        """Its place among the command's runs, and what was typed."""
        return f"#{self.places[run.digest]}/{self.total or len(self.runs)} {run.label}"

    def __post_init__(self) -> None:
        self.places = {run.digest: place for place, run in enumerate(self.runs, start=1)}
        self.states = {run.digest: _state(run) for run in self.runs}

    @property
    def left(self) -> list[QueuedRun]:
        """Those that a worker would take, or wait for."""
        return [run for run in self.runs if self._is_left(run)]

    def _is_left(self, run: QueuedRun) -> bool:
        state = self.states[run.digest]
        if run.digest in self.anew:
            return True
        if state == "failed":
            return store.failures(run.folder) <= self.options.retry
        return state not in (*store.FINAL, "damaged")

    def tell(self, event: Event) -> None:
        """Print how a run ended. One that is refused leaves the queue, so that no other worker is refused too: the same
        command would add it again."""
        if event.what == "began" or (event.what == "refused" and event.run.digest in self.ended):
            return
        if event.what == "refused" and not (event.run.folder / RECORD).exists():
            store.remove(event.run)
        if event.left_out:
            telling.left_out(event, self.label(event.run), self.reasons)
            self.ended[event.run.digest] = "left out"
            return
        self.code = max(self.code, telling.event_line(event, self.label(event.run)))
        self.ended[event.run.digest] = event.record.status if event.record else event.what
        self.seconds.append(event.seconds)

    def lost(self, event: Event | None, how: str) -> None:
        """Print that a worker has ended before its work."""
        what = "a worker" if event is None else f"{self.label(event.run)}: its worker"
        telling.say(f"{what} was ended {how}; what it left is taken up")


def _state(run: QueuedRun) -> str:
    try:
        return store.state(run)
    except DamagedRecord:
        return "damaged"


def sweep(
    specs: Sequence[ComposedRun],
    folder: Path,
    options: SweepOptions,
    typed: list[str],
    heard: list[int],
    elsewhere: Elsewhere | None = None,
) -> int:
    """Train what is left of a sweep, and return the exit code: 1 where a run failed, 2 where one was refused.

    Raises:
        UsageError: the folder is a run's, or the sweep needs a yes.
        KeyboardInterrupt: a signal stopped it; the same command goes on.
    """
    _check_folder(folder)
    runs = kept(queued(specs, folder), specs, options)
    known = {run.digest: run for run in store.listed(folder)}
    composed = {run.digest: specs[run.number] for run in runs}
    sweep = Sweep(folder, [known.get(run.digest, run) for run in runs], options, elsewhere=elsewhere)
    earlier_runs.judge(sweep, specs[0].folders)
    earlier_runs.extend(sweep, known, composed)
    if options.dry_run:
        from rnn_research.cli.dry_run import dry_run

        return dry_run(sweep, composed)
    confirm(sweep)
    if elsewhere is not None and options.workers != 0 and sweep.left:
        elsewhere.connect()
    top = first_missing(folder)
    try:
        for run in sweep.left:
            if run.digest not in known:
                store.add(run, written(composed[run.digest], run))
        sweep.runs = _as_listed(sweep.runs, folder)
        earlier_runs.train_anew(sweep, specs[0].folders)
        if options.workers == 0:
            telling.tell(f"{len(sweep.left)} runs are to be done in {folder}; each rnn-sweep work {folder} takes some")
            return 0
        train(sweep, heard)
    finally:
        remove_empty(folder, top)
    return sweep.code if sweep.left_alone else _closing(sweep, typed)


def _as_listed(runs: list[QueuedRun], folder: Path) -> list[QueuedRun]:
    """The runs as the queue has them: another command may have added one meanwhile, with a folder of its own."""
    found = {run.digest: run for run in store.listed(folder)}
    return [found.get(run.digest, run) for run in runs]


def _check_folder(folder: Path) -> None:
    strange = not (folder / store.QUEUE).is_dir() and next(folder.glob(f"*/{RECORD}"), None)
    if (folder / RECORD).exists() or strange:
        raise FolderInUse(f"{folder}: already holds runs, nothing was written over")
    if owner := claims.holder(folder):
        raise FolderInUse(f"{folder}: another run has just been started there ({owner})")


def train(sweep: Sweep, heard: list[int]) -> None:
    """Train what is left of a sweep, here or by workers.

    Raises:
        KeyboardInterrupt: a signal stopped it.
    """
    left = sweep.left
    if not left:
        return
    taken_up = sum(sweep.states[run.digest] == "interrupted" for run in left)
    skipped = len(sweep.runs) - len(left)
    if taken_up or skipped:
        telling.say(f"{skipped} of {len(sweep.runs)} runs are done before, {taken_up} are taken up where they stopped")
    only = frozenset(run.digest for run in left)
    rules = Rules(only, sweep.options.retry, sweep.options.fail_fast, wait=True)
    specs = [run.spec()["config"] for run in left[:1000]]
    accelerators = {str((config.get("trainer") or {}).get("accelerator")) for config in specs}
    devices = sweep_options.gpus() if accelerators & {"gpu", "cuda", "auto"} else []
    count = sweep.options.workers or max(1, len(devices) or sweep_options.cores())
    with answering(partial(leave, discard=claims.release_all)), uncollected():
        import_for(specs)  # while a signal has nothing to save
    for event in mistakes(left):
        sweep.tell(event)
    left = [run for run in left if run.digest not in sweep.ended]
    rules = replace(rules, only=frozenset(run.digest for run in left))
    if not left:
        return
    if sweep.elsewhere is not None:
        _train_elsewhere(sweep, replace(rules, wait=False), len(left), heard)
    elif sweep.options.workers == 1:
        _train_here(sweep, rules, heard)
    else:  # also of a single run: one that the system kills must not take the command with it
        _train_in_pool(sweep, rules, min(count, len(left)), devices, heard)


def _train_in_pool(sweep: Sweep, rules: Rules, count: int, devices: list[str], heard: list[int]) -> None:
    pool: Pool | None = None

    def has() -> dict[int, QueuedRun]:
        return {number: event.run for number, event in pool.has.items()} if pool else {}

    try:
        with answering(partial(stop, heard=heard)), live_table(sweep, count, has) as tick:
            pool = Pool(sweep.folder, rules, count, devices, sweep.tell, sweep.lost, tick)
            pool.run()
    except KeyboardInterrupt:
        raise _interrupted(sweep, list(has().values())) from None


def _train_elsewhere(sweep: Sweep, rules: Rules, left: int, heard: list[int]) -> None:
    assert sweep.elsewhere is not None
    try:
        with answering(partial(stop, heard=heard)):
            sweep.left_alone = not sweep.elsewhere.train(sweep, rules, left)
    except KeyboardInterrupt:
        raise _interrupted(sweep, []) from None


def _train_here(sweep: Sweep, rules: Rules, heard: list[int]) -> None:
    began: list[QueuedRun] = []

    def tell(event: Event) -> None:
        began[:] = [event.run] if event.what == "began" else []
        sweep.tell(event)

    try:
        with answering(partial(stop, heard=heard)), noticed():
            work(sweep.folder, rules=rules, trust=True, progress=on_terminal(sys.stderr), tell=tell)
    except KeyboardInterrupt:
        raise _interrupted(sweep, began) from None


def _interrupted(sweep: Sweep, runs: list[QueuedRun]) -> KeyboardInterrupt:
    what = " and ".join(map(sweep.label, runs)) or "the sweep"
    where = f", in {sweep.folder}" if sweep.folder.exists() else ""
    return KeyboardInterrupt(f"{what}: interrupted{where}")


def _closing(sweep: Sweep, typed: list[str]) -> int:
    """Print how the sweep ended, with the command for what is left, and return the exit code."""
    states = {run.digest: _final(run, sweep) for run in sweep.runs}
    counts = Counter(states.values())
    if not any(run.folder.exists() for run in sweep.runs):
        return max(sweep.code, 2)
    count = len(sweep.runs)
    text = f"{count} {'run' if count == 1 else 'runs'} in {sweep.folder}"
    skipped = [run for run in sweep.runs if run.digest not in sweep.ended and states[run.digest] in store.FINAL]
    counts.subtract(Counter(states[run.digest] for run in skipped))
    counts["skipped"] = len(skipped)
    counts["resumed"] = sum(sweep.states[digest] == "interrupted" for digest in sweep.ended)
    if counts["done"] < count or counts["resumed"]:
        text += f": {', '.join(f'{counts[state]} {state}' for state in ORDER if counts[state])}"
    telling.tell(text)
    damaged = [run for run in sweep.runs if states[run.digest] == "damaged"]
    for run in damaged:
        telling.say(f"{sweep.label(run)}: left alone: {_damage(run)}; rnn-sweep reset {sweep.folder} begins it anew")
    sweep.code = max(sweep.code, int(bool(damaged)))
    if counts["failed"] or counts["pending"] or counts["interrupted"]:
        code = max(1, sweep.code)
        most = max((store.failures(run.folder) for run in sweep.runs if states[run.digest] == "failed"), default=0)
        telling.say(f"what is left: {_again(sweep, typed, most)}")
        return code
    return sweep.code


def _damage(run: QueuedRun) -> str:
    try:
        read(run.folder)
    except DamagedRecord as error:
        return str(error)
    return "its record was damaged"


def _final(run: QueuedRun, sweep: Sweep) -> str:
    ended = sweep.ended.get(run.digest, "")
    return ended if ended in ("refused", "left out") else _state(run)


def _again(sweep: Sweep, typed: list[str], failures: int) -> str:
    """The command that trains what is left."""
    kept = [text for text in typed if not text.startswith(("retry=", "hydra.sweep.dir=", "dry_run="))]
    retry = [f"retry={failures}"] if failures else []
    return shlex.join(["rnn-train", *kept, f"hydra.sweep.dir={sweep.folder}", *retry])
