"""Launchers whose workers are elsewhere: which one a config names, and how a sweep is trained by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from rnn_research.cli import telling
from rnn_research.cli.remote import Supervisor, Workers
from rnn_research.cli.sweeping import Sweep
from rnn_research.config.extras import require
from rnn_research.sweeps.worker import Rules

SLURM, RAY = "hydra_plugins.rnn_research_slurm.", "hydra_plugins.rnn_research_ray."


@dataclass(frozen=True)
class Engine:
    """Trains a sweep by workers elsewhere.

    Attributes:
        name: `slurm` or `ray`.
        options: `SlurmOptions` or `RayOptions`.
    """

    name: str
    options: Any

    def connect(self) -> None:
        """Raise a UsageError where no worker can be started."""
        if self.name == "slurm":
            from rnn_research.cli.slurm import check_there

            check_there(self.options)
        else:
            from rnn_research.cli.on_ray import connect

            connect(self.options)

    @property
    def room(self) -> int:
        """How many workers there can be at once, after `connect`."""
        if self.name == "slurm":
            return int(self.options.workers)
        from rnn_research.cli.on_ray import room

        return room(self.options)

    def train(self, sweep: Sweep, rules: Rules, left: int) -> bool:
        """Train what is left of a sweep. Returns whether that was waited for.

        Raises:
            UsageError: the workers can't be started, or can't work.
            KeyboardInterrupt: a signal came; all workers have stopped.
        """
        workers = self._workers(sweep, rules)
        count = min(left, sweep.options.workers or self.room)
        if getattr(self.options, "wait", True):
            Supervisor(sweep, rules, workers, count).run()
            return True
        workers.start(count)
        telling.tell(
            f"{workers.running} workers were asked for; rnn-sweep status --watch {sweep.folder} shows how far they are"
        )
        return False

    def _workers(self, sweep: Sweep, rules: Rules) -> Workers:
        if self.name == "slurm":
            from rnn_research.cli.slurm import SlurmWorkers

            return SlurmWorkers(sweep.folder, rules, self.options)
        from rnn_research.cli.on_ray import RayWorkers

        return RayWorkers(sweep.folder, rules, self.options)


def engine_of(config: DictConfig) -> Engine | None:
    """The engine that a config's launcher is; None: workers of this machine.

    Raises:
        UsageError: what it needs is not installed, or an option has another value than it may.
    """
    node = config.hydra.launcher
    target = str(node.get("_target_"))
    if target.startswith(SLURM):
        from rnn_research.cli.slurm import SlurmOptions

        require("slurm", "hydra/launcher=slurm")
        return Engine("slurm", SlurmOptions.of(node))
    if target.startswith(RAY):
        from rnn_research.cli.on_ray import RayOptions

        require("ray", "hydra/launcher=ray")
        return Engine("ray", RayOptions.of(node))
    return None
