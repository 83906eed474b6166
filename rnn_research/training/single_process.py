"""A run is one process, whatever batch system or launcher it was started by."""

from __future__ import annotations

from typing import Any

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.utilities import rank_zero_only


class OneProcess(LightningEnvironment):
    """Lightning's environment for a process that is alone.

    Lightning would read the variables of SLURM, LSF, MPI and torchrun: with SLURM_NTASKS=4 it refuses to train outside
    of srun, and of four runs that srun starts side by side it takes three for helpers of the first.
    """

    def __init__(self) -> None:
        super().__init__()
        rank_zero_only.rank = 0  # type: ignore[attr-defined] (read from the same variables as lightning was imported)

    @property
    def creates_processes_externally(self) -> bool:
        """False: nobody started further processes of this run."""
        return False

    def local_rank(self) -> int:
        """0: this is the only one."""
        return 0

    def node_rank(self) -> int:
        """Likewise."""
        return 0


def alone(given: Any) -> list[Any]:
    """A Trainer's plugins: those that the user gave, and this environment."""
    plugins = [] if given is None else given if isinstance(given, list) else [given]
    return [*plugins, OneProcess()]
