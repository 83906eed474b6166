"""A worker that a launcher starts in a process elsewhere: in a job of Slurm's, on a node of Ray's.

It trains what it finds in the sweep's folder, which its machine must see. What happens to runs is in their records;
what is in none, that a run was refused, it hands back.
"""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rnn_research.cli import sweep_options, telling
from rnn_research.cli.process import answering, stop, uncollected
from rnn_research.errors import UsageError
from rnn_research.records.runs import RECORD
from rnn_research.sweeps import store
from rnn_research.sweeps.worker import Event, Rules


@dataclass
class WorkerReport:
    """What a worker hands back.

    Attributes:
        trained: how many runs.
        refused: why, by digest.
        left_out: likewise, of runs whose options can't work together.
        unwritten: likewise, of runs whose folder can't be written.
        stopped: the signal that stopped it; empty: nothing was left for it.
        error: why it could not work at all.
    """

    trained: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    unwritten: dict[str, str] = field(default_factory=dict)
    stopped: str = ""
    error: str = ""


def work_elsewhere(folder: Path, rules: Rules, rank: int = 0, *, watched: bool = True) -> WorkerReport:
    """Train what is left in a sweep's folder, until nothing is or a signal comes.

    Args:
        rank: the worker's place among those on its machine: of several GPUs that these share it takes one.
        watched: whether the command waits for its report, and takes what was refused out of the queue: where this
            process is killed before it can report, another is refused the same, and reports.
    """
    report, heard = WorkerReport(), list[int]()
    devices = sweep_options.gpus()
    if len(devices) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[rank % len(devices)]

    def told(event: Event) -> None:
        if event.what == "began":
            return
        telling.event_line(event, f"#{event.run.number + 1} {event.run.label}", "rnn-sweep")
        if event.what == "refused":
            (report.left_out if event.left_out else report.refused)[event.run.digest] = str(event.error)
            if not watched and not (event.run.folder / RECORD).exists():
                store.remove(event.run)
        elif event.what == "unwritten":
            report.unwritten[event.run.digest] = str(event.error)

    try:
        with answering(partial(stop, heard=heard)):
            with uncollected():
                import rnn_research.training.fit  # noqa: F401
                from rnn_research.config.queue import work
            if not (folder / store.QUEUE).is_dir():
                return WorkerReport(error=f"{socket.gethostname()} does not see {folder}; give a folder that all see")
            report.trained = work(folder, rules=rules, trust=True, tell=told)
    except KeyboardInterrupt:
        report.stopped = signal.Signals((heard or [signal.SIGINT])[-1]).name
    except UsageError as error:
        report.error = str(error)
    return report
