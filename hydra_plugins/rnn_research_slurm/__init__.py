"""`hydra/launcher=slurm`: an array of workers, by submitit, that take a sweep's runs from the queue in its folder.

Imported by Hydra whenever it looks for plugins, so it imports nothing of weight.
"""

from __future__ import annotations

from typing import Any

from hydra.core.config_store import ConfigStore

from hydra_plugins.rnn_research_local import LocalLauncher

CONFIG = {
    "_target_": "hydra_plugins.rnn_research_slurm.SlurmLauncher",
    **{"workers": 8, "per_node": 1, "partition": None, "account": None, "qos": None, "time": 60, "gpus": 0, "cpus": 1},
    **{"mem_gb": None, "signal_seconds": 120, "requeues": 1000, "at_once": 256, "sbatch": {}, "setup": []},
    **{"python": None, "cluster": "slurm", "wait": True},
}
"""What each means: `rnn_research.cli.slurm.SlurmOptions`."""
ConfigStore.instance().store(group="hydra/launcher", name="slurm", node=CONFIG, provider="rnn_research")


class SlurmLauncher(LocalLauncher):
    """Trains the runs that a sweeper asks for in jobs of Slurm's, and returns what each came to."""

    def __init__(self, workers: Any = 8, **_: Any) -> None:
        super().__init__(workers)
