"""Workers in jobs of Slurm's: an array, by submitit. Each job holds one worker or several, and these pull runs.

A job that Slurm is about to end (`signal_seconds` before its time is up, or where another job goes before it) is told
by SIGUSR2: its workers write their checkpoints, and it is queued again. What lightning and submitit would do themselves
on these signals is off while a run trains.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from rnn_research.checks import integer, number
from rnn_research.cli.process import interruptible
from rnn_research.cli.remote import Lost
from rnn_research.cli.remote_worker import WorkerReport, work_elsewhere
from rnn_research.errors import UsageError
from rnn_research.sweeps.worker import Rules

FOLDER = "workers"
"""In the sweep's folder: what jobs are given, hand back, and say."""
TO_STOP = 60.0
"""Seconds that jobs have to end, once they are cancelled."""


@dataclass
class SlurmOptions:
    """Of `hydra/launcher=slurm`.

    Attributes:
        workers: how many at most; no more than there are runs.
        per_node: workers in one job, on one node: they share its GPUs.
        partition: of the cluster; likewise `account` and `qos`. None: the cluster's default.
        time: minutes that a job may take; it is queued again as long as runs are left.
        gpus: of each job.
        cpus: of each worker.
        mem_gb: of each job; None: the cluster's default.
        signal_seconds: how long before its end a job is told.
        requeues: how often one job may run out of time.
        at_once: the most jobs of the array that run at once.
        sbatch: further parameters of sbatch, by name.
        setup: lines of shell that a job runs first.
        python: what starts python on a node; None: the one that runs here.
        cluster: `slurm`, or `local`: submitit starts the jobs on this machine, to try it.
        wait: say how runs end, until all have; false: return at once.
    """

    workers: int = 8
    per_node: int = 1
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: int = 60
    gpus: int = 0
    cpus: int = 1
    mem_gb: float | None = None
    signal_seconds: int = 120
    requeues: int = 1000
    at_once: int = 256
    sbatch: dict[str, Any] = field(default_factory=dict)
    setup: list[str] = field(default_factory=list)
    python: str | None = None
    cluster: str = "slurm"
    wait: bool = True

    @classmethod
    def of(cls, node: Any) -> SlurmOptions:
        """What a launcher's config says.

        Raises:
            UsageError: names the key that has another value than it may.
        """
        given: Any = OmegaConf.to_container(node, resolve=True)
        found = cls(**{one.name: given[one.name] for one in fields(cls) if one.name in given})
        try:
            for name in ("workers", "per_node", "time", "cpus", "at_once"):
                integer(name, getattr(found, name))
            for name in ("gpus", "signal_seconds", "requeues"):
                integer(name, getattr(found, name), least=0)
            if found.mem_gb is not None:
                number("mem_gb", found.mem_gb, above=0.0)
            if found.cluster not in ("slurm", "local"):
                raise ValueError(f"cluster: given {found.cluster!r}, expected slurm or local")
            if found.cluster == "slurm" and found.signal_seconds >= 60 * found.time:
                raise ValueError(f"signal_seconds: given {found.signal_seconds}, expected less than the job's time")
        except (ValueError, TypeError) as error:
            raise UsageError(f"hydra.launcher.{error}") from None
        return found

    @property
    def room(self) -> int:
        """How many workers there can be at once."""
        return self.workers

    def connect(self) -> None:
        """Raise a UsageError where there is no Slurm."""
        if missing := [name for name in ("sbatch", "srun") if self.cluster == "slurm" and shutil.which(name) is None]:
            raise UsageError(
                f"hydra/launcher=slurm: there is no {missing[0]} here; start it on a machine of the cluster, or give "
                "hydra.launcher.cluster=local to try it on this one"
            )

    def workers_on(self, folder: Path, rules: Rules) -> SlurmWorkers:
        """What starts workers on a sweep's folder."""
        return SlurmWorkers(folder, rules, self)


class SlurmWorker:
    """What a job calls: submitit hands it over, and asks it for its `checkpoint` where the job is queued again."""

    def __init__(self, folder: Path, rules: Rules, watched: bool) -> None:
        self.folder, self.rules, self.watched = folder, rules, watched

    def __call__(self) -> WorkerReport:
        from submitit import JobEnvironment  # pyright: ignore[reportMissingImports]

        report = work_elsewhere(self.folder, self.rules, JobEnvironment().local_rank, watched=self.watched)
        if report.stopped == "SIGUSR2":
            os.kill(os.getpid(), signal.SIGUSR2)  # submitit hears it again, and queues the job again
        return report

    def checkpoint(self) -> Any:
        """The same anew: what it had done is in the sweep's folder."""
        from submitit.helpers import DelayedSubmission  # pyright: ignore[reportMissingImports]

        return DelayedSubmission(self)


class SlurmWorkers:
    """Workers in the jobs of an array.

    Args:
        folder: the sweep's.
        rules: what each worker does.
        options: of the launcher.
    """

    def __init__(self, folder: Path, rules: Rules, options: SlurmOptions) -> None:
        import submitit  # pyright: ignore[reportMissingImports]

        self.folder, self.rules, self.options = folder, rules, options
        self.jobs: list[Any] = []
        arguments = {"slurm_python": options.python} if options.python else {}
        self.executor = submitit.AutoExecutor(
            folder / FOLDER / "%j", cluster=options.cluster, slurm_max_num_timeout=options.requeues, **arguments
        )
        self.executor.update_parameters(**self._parameters())

    def _parameters(self) -> dict[str, Any]:
        options = self.options
        found = {
            "name": "rnn-sweep",
            "timeout_min": options.time,
            "nodes": 1,
            "tasks_per_node": options.per_node,
            "cpus_per_task": options.cpus,
            "gpus_per_node": options.gpus or None,
            "mem_gb": options.mem_gb,
            "slurm_partition": options.partition,
            "slurm_account": options.account,
            "slurm_qos": options.qos,
            "slurm_signal_delay_s": options.signal_seconds,
            "slurm_array_parallelism": options.at_once,
            "slurm_additional_parameters": options.sbatch or None,
            "slurm_setup": options.setup or None,
        }
        return {key: value for key, value in found.items() if value is not None}

    def start(self, count: int) -> None:
        """Submit one array with so many workers."""
        worker = SlurmWorker(self.folder, self.rules, self.options.wait)
        try:
            with interruptible(), self.executor.batch():
                jobs = [self.executor.submit(worker) for _ in range(-(-count // self.options.per_node))]
        except Exception as error:  # submitit's, subprocess's: what sbatch said
            raise UsageError(f"hydra/launcher=slurm: {' '.join(str(error).split())[:500]}") from error
        self.jobs += jobs

    def ended(self) -> list[WorkerReport | Lost]:
        """Those of the jobs that have ended since."""
        over = [job for job in self.jobs if job.done()]
        self.jobs = [job for job in self.jobs if job not in over]
        return [end for job in over for end in self._ends(job)]

    def _ends(self, job: Any) -> list[WorkerReport | Lost]:
        """How each worker of a job ended."""
        tasks = [job.task(number) for number in range(self.options.per_node)] if self.options.per_node > 1 else [job]
        found = list[WorkerReport | Lost]()
        for task in tasks:
            try:
                found.append(task.result())
            except Exception:  # submitit's: there is no result, or what the worker raised
                found.append(Lost(f"job {job.job_id} ended without a report ({job.state}); see {task.paths.stderr}"))
        return found

    @property
    def running(self) -> int:
        return len(self.jobs) * self.options.per_node

    def stop(self) -> None:
        """Cancel the jobs: Slurm sends SIGTERM, and kills what has not ended when its KillWait is over."""
        for job in self.jobs:
            with contextlib.suppress(Exception):
                job.cancel()
        end = time.monotonic() + TO_STOP
        while any(not job.done() for job in self.jobs) and time.monotonic() < end:
            time.sleep(0.1)
        self.jobs = []
