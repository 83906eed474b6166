"""Each experiment in conf/ runs, with little data and few steps."""

from __future__ import annotations

from pathlib import Path

import pytest
from composed import composed
from files import files_for
from folders import SOME_OR_EVERY
from omegaconf import OmegaConf
from small import SIZES, has

from rnn_research.cli import train
from rnn_research.config.groups import CONF
from rnn_research.records import runs

EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("[!_]*.yaml"))


@SOME_OR_EVERY
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_runs(
    experiment: str, every: bool, data_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the last value of each factor; or with every one of its first."""
    cfg = composed(f"experiment={experiment}")
    swept = OmegaConf.select(OmegaConf.load(CONF / "experiment" / f"{experiment}.yaml"), "hydra.sweeper.params")
    first, *others = swept
    sizes = {key: SIZES[key] for key in SIZES if key.endswith("_size") and key not in swept}
    fixed = others if every else swept
    fewer = ",".join(f"{key}:{str(swept[key]).split(',')[-1]}" for key in fixed)
    arguments = [
        f"experiment={experiment}",
        "trainer.fast_dev_run=true",
        "workers=1",
        f"hydra.sweep.dir={tmp_path}",
        f"hydra.sweeper.params={{{fewer}}}",
        *(f"{key}={value}" for key, value in sizes.items() if has(cfg, key)),
        *(f"{key}={value}" for key, value in files_for(cfg.dataset, data_files).items()),
    ]
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit) as ended:
        train.main(arguments)
    assert ended.value.code == 0
    records = [runs.read(folder) for folder in runs.find([tmp_path])]
    assert [record.status for record in records] == ["done"] * (len(str(swept[first]).split(",")) if every else 1)
