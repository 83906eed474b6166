"""`dry_run=true`: what a sweep would do with each run, and about how long that takes, from records at hand."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from rnn_research.cli import sweep_options, telling
from rnn_research.cli.pairs import unworkable
from rnn_research.config.queue import AnyRun
from rnn_research.records import runs
from rnn_research.sweeps import claims
from rnn_research.sweeps.worker import Event

if TYPE_CHECKING:
    from rnn_research.cli.sweeping import Sweep
    from rnn_research.sweeps.store import QueuedRun


def dry_run(sweep: Sweep, composed: Mapping[str, AnyRun]) -> int:
    """Print a line for each run, and return 0. Writes nothing."""
    clashing = unworkable(sweep.left, composed)
    left = {run.digest for run in sweep.left} - clashing.keys()
    for run in sweep.runs:
        if run.digest in clashing:
            telling.tell(f"{sweep.label(run)}: left out, its options can't work together")
        else:
            telling.tell(f"{sweep.label(run)}: {_would(sweep, run, run.digest in left)}, in {run.folder}")
    for run in sweep.runs:
        if run.digest in clashing:
            event = Event("refused", run, error=clashing[run.digest])
            telling.left_out(event, sweep.label(run), sweep.reasons)
    workers = min(sweep.options.workers or sweep_options.cores(), max(1, len(left)))
    text = f"{len(left)} of {len(sweep.runs)} runs would be trained, by {workers} worker{'s' * (workers > 1)}"
    telling.tell(f"{text}{_estimate(sweep, len(left), workers)}; nothing was written")
    return 0


def _would(sweep: Sweep, run: QueuedRun, left: bool) -> str:
    state = sweep.states[run.digest]
    if run.digest in sweep.anew:
        return "trained anew, it was made by other code"
    if state == "running":
        return f"left alone, {claims.holder(run.folder) or 'another'} has it"
    if state == "failed":
        return "tried again, it failed" if left else "left out, it failed (retry=N tries again)"
    if state == "damaged":
        return "left out, its record is damaged (rnn-sweep reset begins it anew)"
    start = f"trained on from {run.extends}" if run.extends else "trained"
    words = {"pending": start, "interrupted": "trained on from where it stopped"}
    return words.get(state, f"skipped, it is {state}")


def _estimate(sweep: Sweep, left: int, workers: int) -> str:
    """In words, from the runs of this folder that are done."""
    took = []
    for run in sweep.runs:
        if sweep.states[run.digest] == "done" and len(took) < 20:
            record = runs.read(run.folder)
            if record.end:
                took.append((datetime.fromisoformat(record.end) - datetime.fromisoformat(record.start)).total_seconds())
    if not took or not left:
        return ""
    seconds = statistics.median(took) * left / workers
    said = (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )
    return f", in about {said} (as the {len(took)} done took)"
