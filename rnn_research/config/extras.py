"""Libraries that are not installed with the package: asked for by name, and missed in one line."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from rnn_research.errors import UsageError

LIBRARIES = {
    "slurm": "submitit",
    "ray": "ray",
    "optuna": "optuna",
    "tensorboard": "tensorboard",
    "mlflow": "mlflow",
    "wandb": "wandb",
}
"""Extra -> the module that it brings."""
LOGGERS = {
    **{"EventsLogger": "tensorboard", "TensorBoardLogger": "tensorboard"},
    **{"TrackedLogger": "mlflow", "MLFlowLogger": "mlflow", "OfflineLogger": "wandb", "WandbLogger": "wandb"},
}
"""The class of a logger -> the extra that it needs."""
INSTEAD = {"tensorboard": "tensorboardX"}
"""Another module that does as well."""


def require(extra: str, asked: str) -> None:
    """Look whether an extra is installed; it is not imported.

    Args:
        asked: what was typed that needs it.

    Raises:
        UsageError: it is not; with the command that installs it.
    """
    if not any(find_spec(module) for module in (LIBRARIES[extra], INSTEAD.get(extra)) if module):
        raise UsageError(
            f"{asked}: needs {LIBRARIES[extra]}, which is not installed; pip install 'rnn_research[{extra}]'"
        )


def require_loggers(nodes: Any) -> None:
    """The same, of the chosen loggers of a config.

    Raises:
        UsageError: one needs what is not installed.
    """
    for name, node in nodes.items() if isinstance(nodes, Mapping) else ():
        target = str(node.get("_target_")) if isinstance(node, Mapping) else ""
        if target.startswith(("rnn_research.", "lightning.")) and (extra := LOGGERS.get(target.rpartition(".")[2])):
            require(extra, f"logger={name}")
