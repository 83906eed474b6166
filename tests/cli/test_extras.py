"""What is not installed is missed in one line."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from command import SMALL, rnn_train

from rnn_research.config.extras import LIBRARIES

TYPED = {
    "slurm": "hydra/launcher=slurm",
    "ray": "hydra/launcher=ray",
    "optuna": "hydra/sweeper=optuna",
    **{name: f"logger={name}" for name in ("tensorboard", "mlflow", "wandb")},
}


@pytest.mark.parametrize("extra", LIBRARIES)
def test_an_extra_that_is_not_installed_is_one_line(
    extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec(LIBRARIES[extra]):
        pytest.skip(f"{LIBRARIES[extra]} is installed")
    monkeypatch.chdir(tmp_path)
    ended = rnn_train("-m", *SMALL, "seed=0,1", TYPED[extra], "hydra.sweep.dir=s")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        f"rnn-train: {TYPED[extra]}: needs {LIBRARIES[extra]}, which is not installed; "
        f"pip install 'rnn_research[{extra}]'\n"
    )
    assert not list(tmp_path.iterdir())
