"""`hydra/launcher=ray`: workers on a cluster of Ray's that take a sweep's runs from the queue in its folder.

Imported by Hydra whenever it looks for plugins, so it imports nothing of weight.
"""

from __future__ import annotations

from typing import Any

from hydra.core.config_store import ConfigStore

from hydra_plugins.rnn_research_local import LocalLauncher

CONFIG = {
    "_target_": "hydra_plugins.rnn_research_ray.RayLauncher",
    **{"workers": "auto", "address": "auto", "cpus": 1, "gpus": 0, "resources": {}, "runtime_env": {}},
}
"""What each means: `rnn_research.cli.on_ray.RayOptions`."""
ConfigStore.instance().store(group="hydra/launcher", name="ray", node=CONFIG, provider="rnn_research")


class RayLauncher(LocalLauncher):
    """Trains the runs that a sweeper asks for on a cluster of Ray's, and returns what each came to."""

    def __init__(self, workers: Any = "auto", **_: Any) -> None:
        super().__init__(workers)
