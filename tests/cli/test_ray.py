"""Sweeps by `hydra/launcher=ray`."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from claimed import trainers
from command import SMALL, last, rnn_train, started, until
from kept import kept_of_all

from rnn_research.records import runs

HARD = ("model=gru", "model.input_dropout=0.3", "dataset.train_size=200", "trainer.max_steps=60")
HARD = (*HARD, "trainer.val_check_interval=20", "checkpoint.every_seconds=0.05")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("ray", reason="pip install 'rnn_research[ray]'")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def cluster_of_two() -> Iterator[tuple[Any, Any]]:
    """A cluster with two nodes of a CPU each, and the second of them."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        yield cluster, cluster.add_node(num_cpus=1)
    finally:
        cluster.shutdown()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", "given 127.0.0.1:1, nothing answers there"),
        ("ray://127.0.0.1:1", "given ray://127.0.0.1:1, nothing answers there"),
        ("http://x", "given http://x, which is no address"),
        ("192.0.2.1:6379", "given 192.0.2.1:6379, nothing answers there"),
        ("deaf", "no answer within 10 s"),
    ],
)
def test_an_unreachable_cluster_is_one_line(address: str, said: str, here: Path) -> None:
    """Within 15 s, also where something listens that is no Ray."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        if address == "deaf":
            address = f"127.0.0.1:{deaf.getsockname()[1]}"
        typed = ("hydra/launcher=ray", f"hydra.launcher.address={address}", "hydra.sweep.dir=s")
        with started("-m", *SMALL, "seed=0,1", *typed, folder=here, out=here / "out") as command:
            start = time.monotonic()
            assert command.wait(timeout=60) == 2
            took = time.monotonic() - start
    (line,) = (here / "out").read_text().splitlines()
    assert line.startswith("rnn-train: hydra.launcher.address: ")
    assert said in line
    assert not (here / "s").exists()
    assert took < (60 if said.startswith("no answer") else 15)  # with the time that Ray takes to be imported


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_node_is_removed_half_way(here: Path) -> None:
    """Its runs are taken up on the other, and end as if nothing had been."""
    many = last([*SMALL, *HARD, "seed=range(0,12)"])
    assert rnn_train("-m", *many, "hydra.sweep.dir=undisturbed", "workers=1").code == 0
    out = here / "out"
    with cluster_of_two() as (cluster, second):
        typed = ["hydra/launcher=ray", f"hydra.launcher.address={cluster.address}", "hydra.sweep.dir=s"]
        with started("-m", *many, *typed, folder=here, out=out) as command:
            until(lambda: len(set(trainers(here / "s").values())) == 2, 200)
            until(lambda: len(ended(here / "s")) >= 5, 200)
            cluster.remove_node(second)
            code = command.wait(timeout=250)
    assert code == 0, out.read_text()
    assert len(ended(here / "s")) == 12
    assert kept_of_all(here / "s") == kept_of_all(here / "undisturbed")


def ended(sweep: Path) -> list[Path]:
    return [run for run in runs.find([sweep]) if runs.read(run).status == "done"]
