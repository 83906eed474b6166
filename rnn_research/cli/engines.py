"""Launchers whose workers are elsewhere: which one a config names, and how a sweep is trained by it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from omegaconf import DictConfig

from rnn_research.cli import telling
from rnn_research.cli.remote import Supervisor, Workers
from rnn_research.cli.sweeping import Sweep
from rnn_research.config.extras import require
from rnn_research.sweeps.worker import Rules

SLURM, RAY = "hydra_plugins.rnn_research_slurm.", "hydra_plugins.rnn_research_ray."


class Launcher(Protocol):
    """What a launcher's options can do: `SlurmOptions` and `RayOptions`."""

    @property
    def wait(self) -> bool:
        """Whether the command watches the workers."""
        ...

    @property
    def room(self) -> int:
        """How many workers there can be at once, after `connect`."""
        ...

    def connect(self) -> None:
        """Raise a UsageError where no worker can be started."""
        ...

    def workers_on(self, folder: Path, rules: Rules) -> Workers:
        """What starts workers on a sweep's folder."""
        ...


@dataclass(frozen=True)
class Engine:
    """Trains a sweep by workers elsewhere."""

    launcher: Launcher

    def connect(self) -> None:
        """Raise a UsageError where no worker can be started."""
        self.launcher.connect()

    @property
    def room(self) -> int:
        """How many workers there can be at once, after `connect`."""
        return self.launcher.room

    def train(self, sweep: Sweep, rules: Rules, left: int) -> bool:
        """Train what is left of a sweep. Returns whether that was waited for.

        Raises:
            UsageError: the workers can't be started, or can't work.
            KeyboardInterrupt: a signal came; all workers have stopped.
        """
        workers = self.launcher.workers_on(sweep.folder, rules)
        count = min(left, sweep.options.workers or self.room)
        if self.launcher.wait:
            Supervisor(sweep, rules, workers, count).run()
            return True
        workers.start(count)
        telling.tell(
            f"{workers.running} workers were asked for; rnn-sweep status --watch {sweep.folder} shows how far they are"
        )
        return False


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
        return Engine(SlurmOptions.of(node))
    if target.startswith(RAY):
        from rnn_research.cli.on_ray import RayOptions

        require("ray", "hydra/launcher=ray")
        return Engine(RayOptions.of(node))
    return None
