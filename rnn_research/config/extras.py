"""Libraries that are not installed with the package: asked for by name, and missed in one line."""

from __future__ import annotations

from importlib.util import find_spec

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


def require(extra: str, asked: str) -> None:
    """Look whether an extra is installed; it is not imported.

    Args:
        asked: what was typed that needs it.

    Raises:
        UsageError: it is not; with the command that installs it.
    """
    if find_spec(LIBRARIES[extra]) is None:
        raise UsageError(
            f"{asked}: needs {LIBRARIES[extra]}, which is not installed; pip install 'rnn_research[{extra}]'"
        )
