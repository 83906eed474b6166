"""What a sweep's folder holds: each run's state, how far it is, and what it reached. Reads records; needs no torch."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from rnn_research.records import runs, whole_file
from rnn_research.records.metrics_file import METRICS
from rnn_research.sweeps import claims, store
from rnn_research.sweeps.store import QueuedRun

TAIL = 4096
"""Bytes at the end of metrics.csv that are read for the last row."""


@dataclass(frozen=True)
class RunStatus:
    """One run of a sweep.

    Attributes:
        number: its place in the sweep that asked for it first.
        folder: its own, within the sweep's.
        state: see `store.STATES`; `damaged` where its record can't be read.
        label: what was typed for it.
        step: the last step in its metrics.
        steps: the most that it takes, where its config says.
        metrics: the last validation's, or the test's.
        owner: the process that has it.
        failures: how often it failed.
        reason: why it failed, or can't be read.
    """

    number: int
    folder: str
    state: str
    label: str
    step: int = 0
    steps: int | None = None
    metrics: dict[str, float] | None = None
    owner: str = ""
    failures: int = 0
    reason: str = ""

    def line(self) -> str:
        """The run in one line."""
        parts = [f"#{self.number + 1} {self.label}: {self.state}"]
        if self.state in ("running", "interrupted") or (self.state == "failed" and self.step):
            parts.append(f"at step {self.step}" + (f" of {self.steps}" if self.steps else ""))
        if self.metrics:
            parts += [f"{name} {value:.3g}" for name, value in self.metrics.items()]
        parts += [part for part in (self.owner, " ".join(self.reason.split())) if part]
        return ", ".join(parts)


def status(sweep: Path) -> list[RunStatus]:
    """The runs of a sweep's folder, in order: those of its queue, and those that others left in it.

    Raises:
        DamagedQueue: the queue can't be read.
    """
    known = store.listed(sweep)
    names = {run.name for run in known}
    others = [] if known else [path for path in runs.find([sweep]) if str(path.relative_to(sweep)) not in names]
    lone = [QueuedRun(sweep, "", str(path.relative_to(sweep)), number, path.name) for number, path in enumerate(others)]
    return [_of(run) for run in (*known, *lone)]


def _of(run: QueuedRun) -> RunStatus:
    record, reason = _record(run.folder)
    state = "damaged" if reason else "pending" if record is None else record.status
    owner = "" if state in (*store.FINAL, "failed") or not run.folder.exists() else claims.holder(run.folder)
    if owner:
        state = "running"
    elif state == "running":
        state, owner = "interrupted", "its process is gone"
    step = record.steps if record else 0
    if not step and state in ("running", "interrupted"):
        step = last_step(run.folder)
    final = record.final if record else {}
    wanted = [key for key in final if re.fullmatch(r"test_(accuracy|mse|loss)", key)]
    metrics = {key: final[key] for key in wanted} if state == "done" else None
    trainer = record.config.get("trainer") if record else None
    limit = trainer.get("max_steps") if isinstance(trainer, dict) else None
    steps = limit if isinstance(limit, int) and limit > 0 else None
    error = record.error if record else None
    why = error or reason if state in ("failed", "damaged") else ""
    failures = store.failures(run.folder) if state == "failed" else 0
    return RunStatus(run.number, run.name, state, run.label, step, steps, metrics, owner, failures, why)


def _record(folder: Path) -> tuple[runs.RunRecord | None, str]:
    """A run's record, None where there is none; and what is wrong with it."""
    if not os.path.lexists(folder / runs.RECORD):
        return None, ""
    try:
        return runs.read(folder), ""
    except runs.DamagedRecord as error:
        return None, error.reason


def last_step(folder: Path) -> int:
    """The step of the last whole row of metrics.csv; 0 without one."""
    return last_row(folder)[0]


def last_row(folder: Path) -> tuple[int, str, str]:
    """The step, the split and the loss of the last whole row of metrics.csv; 0 and nothing without one. Reads its end
    alone."""
    try:
        with whole_file.opened(folder / METRICS) as file:
            file.seek(max(0, file.seek(0, 2) - TAIL))
            lines = file.read().decode("utf-8", "replace").split("\n")[:-1]
    except OSError:
        return 0, "", ""
    step, _, split, loss, *_ = (*(lines[-1] if lines else "").split(","), "", "", "", "")
    if not step.isdecimal():
        return 0, "", ""
    with suppress(ValueError):
        loss = f"{float(loss):.4g}"
    return int(step), split, loss


def counted(found: Iterable[RunStatus]) -> str:
    """How many runs are in each state, in words."""
    counts = Counter(run.state for run in found)
    return ", ".join(f"{counts[state]} {state}" for state in (*store.STATES, "damaged") if counts[state])


def as_json(sweep: Path, found: Sequence[RunStatus]) -> str:
    """All of it as JSON."""
    counts = Counter(run.state for run in found)
    whole = {"folder": str(sweep), "counts": dict(counts), "runs": [runs.plain(asdict(run)) for run in found]}
    return json.dumps(whole, indent=1, allow_nan=False)
