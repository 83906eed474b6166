"""Sweeps by `hydra/launcher=ray`."""

from __future__ import annotations

import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from claimed import trainers
from command import LONG, SMALL, last, rnn_train, started, until
from kept import kept_of_all
from ray_cluster import cluster_of_two

from rnn_research.records import runs

KILLS = """
import os, signal
from rnn_research.clipping.none import NoClipping
class Killed(NoClipping):
    def forward(self, parameters):
        os.kill(os.getpid(), signal.SIGKILL)
"""
HARD = ("model=gru", "model.input_dropout=0.3", "dataset.train_size=200", "trainer.max_steps=60")
HARD = (*HARD, "trainer.val_check_interval=20", "checkpoint.every_seconds=0.05")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("ray", reason="pip install 'rnn_research[ray]'")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", "given 127.0.0.1:1, nothing answers there"),
        ("ray://127.0.0.1:1", "given ray://127.0.0.1:1, nothing answers there"),
        ("http://x", "given http://x, which is no address"),
        ("192.0.2.1:6379", "given 192.0.2.1:6379, nothing answers there"),
        ("nothing", "no answer within 5 s"),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "what answers there is no Ray"),
    ],
)
def test_an_unreachable_cluster_is_one_line(address: str, said: str, here: Path) -> None:
    """Within 15 s, also where something listens that is no Ray: that says nothing, or something else."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        if said.startswith(("no answer", "what answers")):
            threading.Thread(target=answer, args=(other, address), daemon=True).start()
            address = f"127.0.0.1:{other.getsockname()[1]}"
        typed = ("hydra/launcher=ray", f"hydra.launcher.address={address}", "hydra.sweep.dir=s")
        with started("-m", *SMALL, "seed=0,1", *typed, folder=here, out=here / "out") as command:
            start = time.monotonic()
            assert command.wait(timeout=60) == 2
            took = time.monotonic() - start
    (line,) = (here / "out").read_text().splitlines()
    assert line.startswith("rnn-train: hydra.launcher.address: ")
    assert said in line
    assert not (here / "s").exists()
    assert took < 15


def answer(server: socket.socket, text: str) -> None:
    line, _ = server.accept()
    if text == "nothing":
        time.sleep(60)
    line.sendall(text.encode())
    line.close()


@pytest.mark.slow
def test_a_cluster_that_ends_with_the_command(here: Path) -> None:
    out = here / "out"
    typed = ("hydra/launcher=ray", "hydra.launcher.address=local", "workers=2", "hydra.sweep.dir=s")
    with started("-m", *SMALL, "seed=0,1", *typed, folder=here, out=out) as command:
        code = command.wait(timeout=200)
    assert code == 0, out.read_text()
    assert len(ended(here / "s")) == 2


@pytest.mark.slow
def test_a_pair_that_cannot_work_is_left_out_once_though_its_worker_is_lost(here: Path) -> None:
    folder = here / "own"
    (folder / "clipping").mkdir(parents=True)
    (folder / "clipping/killed.yaml").write_text("# killed\n_target_: kills.Killed\n")
    (folder / "kills.py").write_text(KILLS)
    out = here / "out"
    typed = ["--config-dir", str(folder), *SMALL, "structure=parse,chain", "clipping=none,killed", "hydra.sweep.dir=s"]
    with cluster_of_two() as (cluster, _):
        typed += ["hydra/launcher=ray", f"hydra.launcher.address={cluster.address}", "workers=1"]
        with started("-m", *typed, folder=here, out=out) as command:
            code = command.wait(timeout=250)
    text = out.read_text()
    assert code == 1, text
    assert text.count("left out, as all that have it: structure=parse: this dataset has no trees") == 1
    assert f"4 runs in {here / 's'}: 1 done, 1 failed, 2 left out" in text.splitlines()
    assert len(list((here / "s/queue").iterdir())) == 2


@pytest.mark.slow
def test_a_signal_lets_workers_write_their_checkpoints(here: Path) -> None:
    """Also those of a cluster that a script has started in the background, where Ctrl-C is ignored."""
    out = here / "out"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with cluster_of_two() as (cluster, _):
            signal.signal(signal.SIGINT, before)
            typed = ["hydra/launcher=ray", f"hydra.launcher.address={cluster.address}", "hydra.sweep.dir=s"]
            with started("-m", *LONG, "seed=0,1", *typed, folder=here, out=out) as command:
                until(lambda: len(list((here / "s").glob("*/run.json"))) == 2, 200)
                start = time.monotonic()
                command.send_signal(signal.SIGTERM)
                code = command.wait(timeout=100)
                took = time.monotonic() - start
    finally:
        signal.signal(signal.SIGINT, before)
    assert code == 143, out.read_text()
    assert took < 20  # those that do not hear it are killed after 30
    records = [runs.read(run) for run in runs.find([here / "s"])]
    assert [(record.status, record.error) for record in records] == [("interrupted", "stopped by a signal")] * 2


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
