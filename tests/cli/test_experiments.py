"""Each experiment in conf/ runs, with little data and few steps, and what it sweeps over is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from composed import GROUPS, composed
from files import files_for
from omegaconf import OmegaConf
from small import SIZES, has

from rnn_research.cli import train
from rnn_research.config.compose import Composer
from rnn_research.config.groups import CONF
from rnn_research.config.run_one import run_one
from rnn_research.records import runs

EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("[!_]*.yaml"))


def factors(experiment: str) -> dict[str, list[str]]:
    """The values of each key that an experiment sweeps over."""
    swept: Any = OmegaConf.select(OmegaConf.load(CONF / "experiment" / f"{experiment}.yaml"), "hydra.sweeper.params")
    return {str(key): [one.strip() for one in str(values).split(",")] for key, values in swept.items()}


def small(experiment: str, folder: Path) -> list[str]:
    """The command with little data, some of them files in `folder`."""
    cfg = composed(f"experiment={experiment}")
    sizes = {key: SIZES[key] for key in SIZES if key.endswith("_size") and key not in factors(experiment)}
    given = {key: value for key, value in sizes.items() if has(cfg, key)} | files_for(cfg.dataset, folder)
    return [
        f"experiment={experiment}",
        "trainer.fast_dev_run=true",
        *(f"{key}={value}" for key, value in given.items()),
    ]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_runs(experiment: str, data_files: Path, tmp_path: Path) -> None:
    """As its yaml says, but for what it sweeps over."""
    record = run_one(Composer().run(small(experiment, data_files)), tmp_path / "run")
    assert record.status == "done", record.error
    for key, values in factors(experiment).items():
        if key in GROUPS:
            assert set(values) <= set(GROUPS[key]), key
        else:
            assert has(composed(f"experiment={experiment}"), key), key


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_sweeps(
    experiment: str, data_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over all values of its first factor, with the last of each other one."""
    (_, values), *others = factors(experiment).items()
    fewer = ",".join(f"{key}:{last}" for key, (*_, last) in others)
    sweep = ["workers=1", f"hydra.sweep.dir={tmp_path}", f"hydra.sweeper.params={{{fewer}}}"]
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit) as ended:
        train.main([*small(experiment, data_files), *sweep])
    assert ended.value.code == 0
    assert [runs.read(folder).status for folder in runs.find([tmp_path])] == ["done"] * len(values)
