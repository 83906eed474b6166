"""What is not installed is missed in one line."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from command import SMALL, rnn_train

from rnn_research.config.extras import LIBRARIES
from rnn_research.records import runs

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


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_hydras_own_launchers_work(launcher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if launcher == "joblib":
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="pip install hydra-joblib-launcher")
    monkeypatch.chdir(tmp_path)
    ended = rnn_train("-m", *SMALL, "seed=0,1", f"hydra/launcher={launcher}", "hydra.sweep.dir=s")
    assert ended.code == 0, ended.err
    assert [runs.read(run).status for run in runs.find([tmp_path / "s"])] == ["done", "done"]
