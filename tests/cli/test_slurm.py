"""Sweeps by `hydra/launcher=slurm`: its jobs started by submitit's own local executor, since there is no Slurm here."""

from __future__ import annotations

import os
import signal
import stat
import time
from pathlib import Path

import pytest
from claimed import trainers
from command import LONG, SMALL, last, rnn_train, started, until
from kept import kept_of_all
from omegaconf import OmegaConf

from rnn_research.errors import UsageError
from rnn_research.records import runs

LOCAL = ("hydra/launcher=slurm", "hydra.launcher.cluster=local")
HARD = ("model=gru", "model.input_dropout=0.3", "dataset.train_size=200", "trainer.max_steps=150")
HARD = (*HARD, "trainer.val_check_interval=20", "checkpoint.every_seconds=0.05")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("submitit", reason="pip install 'rnn_research[slurm]'")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def sbatch(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the script is that `sbatch` was given last: one that takes every job, and starts none."""
    for name, does in (("sbatch", 'cp "$1" asked.sh; echo "Submitted batch job 12"'), ("srun", "true")):
        path = here / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{does}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{here / 'bin'}:{os.environ['PATH']}")
    return here / "asked.sh"


def test_what_sbatch_is_asked_for(here: Path, sbatch: Path) -> None:
    typed = [
        "hydra.launcher.partition=short",
        "hydra.launcher.time=90",
        "hydra.launcher.gpus=2",
        "hydra.launcher.cpus=3",
    ]
    typed += ["hydra.launcher.per_node=4", "hydra.launcher.workers=10", "hydra.launcher.wait=false"]
    typed += ["+hydra.launcher.sbatch.reservation=mine", "hydra.launcher.signal_seconds=200"]
    path = {"PATH": os.environ["PATH"]}
    ended = rnn_train("-m", *SMALL, "seed=range(0,9)", "hydra/launcher=slurm", *typed, "hydra.sweep.dir=s", env=path)
    assert ended.code == 0, ended.err
    assert ended.out == f"12 workers were asked for; rnn-sweep status --watch {here / 's'} shows how far they are\n"
    lines = [line.removeprefix("#SBATCH --") for line in sbatch.read_text().splitlines() if line.startswith("#SBATCH")]
    wanted = ("array=0-2%3", "partition=short", "time=90", "gpus-per-node=2", "cpus-per-task=3", "nodes=1")
    for line in (*wanted, "ntasks-per-node=4", "signal=USR2@200", "reservation=mine"):
        assert line in lines
    assert len(list((here / "s/queue").iterdir())) == 9


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("hydra.launcher.time=0", "hydra.launcher.time: given 0, expected an integer >= 1"),
        ("hydra.launcher.signal_seconds=4000", "hydra.launcher.signal_seconds: given 4000, expected less than"),
        ("hydra.launcher.cluster=mine", "hydra.launcher.cluster: given 'mine', expected slurm or local"),
        ("hydra.launcher.per_node=1", "hydra/launcher=slurm: there is no sbatch here"),
    ],
)
def test_bad_input_is_one_line(typed: str, said: str, here: Path) -> None:
    ended = rnn_train("-m", *SMALL, "seed=0,1", "hydra/launcher=slurm", typed, "hydra.sweep.dir=s", env={"PATH": "/"})
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
    assert said in ended.err
    assert not (here / "s").exists()


def test_options_are_those_of_the_launchers_config() -> None:
    from hydra_plugins.rnn_research_ray import CONFIG as OF_RAY
    from hydra_plugins.rnn_research_slurm import CONFIG
    from rnn_research.cli.on_ray import RayOptions
    from rnn_research.cli.slurm import SlurmOptions

    for config, options in ((CONFIG, SlurmOptions), (OF_RAY, RayOptions)):
        node = OmegaConf.create(config)
        assert (
            vars(options.of(node)) == vars(options()) == {key: value for key, value in config.items() if key[0] != "_"}
        )
    with pytest.raises(UsageError, match=r"cpus: given 1\.5, expected a part of one, or an integer"):
        RayOptions.of(OmegaConf.create(OF_RAY | {"cpus": 1.5}))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_is_killed_and_another_pre_empted(here: Path) -> None:
    """Both runs end as if nothing had been: the killed worker's is taken up by another, the pre-empted job is queued
    again by submitit."""
    typed = last([*SMALL, *HARD, "seed=0,1,2,3"])
    assert rnn_train("-m", *typed, "hydra.sweep.dir=undisturbed", "workers=1").code == 0
    out = here / "out"
    with started(
        "-m", *typed, *LOCAL, "hydra.launcher.workers=2", "hydra.sweep.dir=s", folder=here, out=out
    ) as command:
        until(lambda: len(set(trainers(here / "s").values())) == 2, 120)
        killed, preempted = set(trainers(here / "s").values())
        os.kill(killed, signal.SIGKILL)
        os.kill(preempted, signal.SIGUSR2)
        code = command.wait(timeout=250)
    assert code == 0, out.read_text()
    assert [runs.read(run).status for run in runs.find([here / "s"])] == ["done"] * 4
    assert "rnn-train: a worker is lost: job " in out.read_text()
    logs = "".join(path.read_text() for path in (here / "s/workers").glob("*/*_log.*"))
    assert logs.count("Requeued job") == 1, logs
    assert kept_of_all(here / "s") == kept_of_all(here / "undisturbed")


@pytest.mark.slow
def test_a_signal_ends_the_jobs_of_a_command_in_the_background(here: Path) -> None:
    """Where Ctrl-C is ignored by all that a shell starts; submitit ends its own jobs by it."""
    out, typed = here / "out", (*LOCAL, "hydra.launcher.workers=1", "hydra.sweep.dir=s")
    with started("-m", *LONG, "seed=0", *typed, folder=here, out=out, ignored=(signal.SIGINT,)) as command:
        until(lambda: list((here / "s").glob("*/run.json")), 200)
        start = time.monotonic()
        command.send_signal(signal.SIGTERM)
        code = command.wait(timeout=100)
        took = time.monotonic() - start
    assert code == 143, out.read_text()
    assert took < 30  # those that do not hear it are waited for for 60
    assert not trainers(here / "s")
