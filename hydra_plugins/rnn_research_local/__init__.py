"""`hydra/launcher=local`: a sweep's runs in a pool of warm processes on this machine, from the queue in its folder.

What `rnn-train -m` does without it; as a plugin it serves Hydra's sweepers too. Imported by Hydra whenever it looks for
plugins, so it imports nothing of weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

CONFIG = {"_target_": "hydra_plugins.rnn_research_local.LocalLauncher", "workers": "auto"}
"""`workers`: auto (one for each core, or each GPU), or how many."""
ConfigStore.instance().store(group="hydra/launcher", name="local", node=CONFIG, provider="rnn_research")


class LocalLauncher(Launcher):
    """Trains the runs that a sweeper asks for in a few processes, and returns what each came to."""

    def __init__(self, workers: Any = "auto") -> None:
        self.workers = workers

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what the runs are made from."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Train the runs; each returns its last validation loss, or raises where it failed."""
        from rnn_research.cli.local_jobs import launch

        ended = launch(self.config, self.task, job_overrides, initial_job_idx, str(self.workers))
        found = []
        for overrides, value in zip(job_overrides, ended, strict=True):
            status = JobStatus.FAILED if isinstance(value, Exception) else JobStatus.COMPLETED
            found.append(JobReturn(overrides=list(overrides), status=status))
            found[-1].return_value = value
        return found
