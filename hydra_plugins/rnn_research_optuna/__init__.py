"""`hydra/sweeper=optuna`: a study, whose trials are runs in the queue of a sweep's folder.

Imported by Hydra whenever it looks for plugins, so it imports nothing of weight.
"""

from __future__ import annotations

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

CONFIG = {
    "_target_": "hydra_plugins.rnn_research_optuna.OptunaSweeper",
    **{"n_trials": 20, "metric": "val_loss", "direction": "auto", "sampler": "tpe", "seed": 0, "storage": "journal"},
    **{"pruner": "none", "pruner_trials": 5, "pruner_steps": 0},
    "params": {},
}
"""What each means: `rnn_research.cli.study_options.StudyOptions`."""
ConfigStore.instance().store(group="hydra/sweeper", name="optuna", node=CONFIG, provider="rnn_research")


class OptunaSweeper(Sweeper):
    """Chooses runs by Optuna: what `rnn-train -m hydra/sweeper=optuna` does, for whoever asks Hydra's interface."""

    def __init__(self, **_: Any) -> None:
        pass

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what the runs are made from."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> int:
        """Carry the study out, and return its exit code."""
        from rnn_research.cli.study import search
        from rnn_research.cli.sweep_options import SweepOptions
        from rnn_research.config.compose import Composer

        task: Any = self.task
        of_hydra = [text for text in self.config.hydra.overrides.hydra if text not in arguments]
        return search(Composer(task.folders, task.given), [*of_hydra, *arguments], SweepOptions(), [])
