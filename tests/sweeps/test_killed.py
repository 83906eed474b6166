"""Sweeps that are killed and started again end as if nothing had been."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from claimed import trainers
from command import SMALL, last, rnn_train
from forked import Forked
from kept import kept_of_all
from ray_cluster import cluster_of_two

from rnn_research.cli import sweep_folder
from rnn_research.cli.train import main
from rnn_research.sweeps import store

HARD = (
    *("model=gru", "model.dropout=0.3", "model.num_layers=2", "clipping=autoclip", "dataset.train_size=200"),
    *("trainer.log_every_n_steps=7", "trainer.val_check_interval=20", "checkpoint.every_seconds=0.05"),
)
"""Runs of a second or so that have much to go on with."""


def swept(seeds: int, steps: int, *more: str) -> list[str]:
    many = ",".join(map(str, range(seeds)))
    return last(["-m", *SMALL, *HARD, f"trainer.max_steps={steps}", f"seed={many}", *more])


def children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.parent.name))
        except (OSError, ValueError):
            continue
    return found


@contextmanager
def ended(*processes: Forked) -> Iterator[None]:
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def kill_and_start_again(
    begin: Callable[[], Forked],
    kills: int,
    seed: int,
    most: float,
    workers_of: Callable[[Forked], list[int]] = lambda process: children(process.pid),
) -> Forked:
    """The process that ends by itself, after others were killed, or a worker of them was, at random moments."""
    draw = random.Random(seed)
    for number in range(kills):
        process = begin()
        with ended(process):
            time.sleep(draw.uniform(0.2, most))
            workers = workers_of(process)
            if number % 2 and workers:  # a worker: the parent begins another, and is killed later
                with suppress(ProcessLookupError):  # it has just ended by itself
                    os.kill(draw.choice(workers), signal.SIGKILL)
                time.sleep(draw.uniform(0.2, most))
            if process.returncode is not None:
                break
    process = begin()
    process.wait(timeout=250)
    return process


def compare(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for run, left in expected.items():
        assert found[run].keys() == left.keys()
        for name, content in left.items():
            assert found[run][name] == content, (run, name)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(here: Path, seeds: int, steps: int, kills: int, workers: int, most: float) -> None:
    whole = rnn_train(*swept(seeds, steps, "workers=1", "hydra.sweep.dir=whole"))
    assert whole.code == 0, whole.err
    arguments = swept(seeds, steps, f"workers={workers}", "hydra.sweep.dir=cut")
    log = here / "log"
    over = kill_and_start_again(lambda: Forked(main, arguments, folder=here, out=log), kills, workers, most)
    assert over.returncode == 0, log.read_text()
    compare(kept_of_all(here / "cut"), kept_of_all(here / "whole"))
    assert "Traceback" not in log.read_text(), log.read_text()
    assert not list((here / "cut").glob("*/.claim-*"))


def check_bare(here: Path, seeds: int, steps: int, kills: int, most: float) -> None:
    whole = rnn_train(*swept(seeds, steps, "workers=1", "hydra.sweep.dir=whole"))
    assert whole.code == 0, whole.err
    assert rnn_train(*swept(seeds, steps, "workers=0", "hydra.sweep.dir=cut")).code == 0
    draw, log = random.Random(3), here / "log"

    def begin() -> Forked:
        return Forked(sweep_folder.main, ["work", "cut"], folder=here, out=log)

    working = [begin() for _ in range(3)]
    with ended(*working):
        for _ in range(kills):
            time.sleep(draw.uniform(0.1, most))
            at = draw.randrange(3)
            working[at].kill()
            working[at].wait()
            working[at] = begin()
        for process in working:
            process.wait(timeout=250)
    last_one = begin()
    assert last_one.wait(timeout=250) == 0, log.read_text()
    assert ": failed: " not in log.read_text()
    compare(kept_of_all(here / "cut"), kept_of_all(here / "whole"))
    assert "Traceback" not in log.read_text(), log.read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_sweep_goes_on(workers: int, here: Path) -> None:
    check(here, 3, 40, 3, workers, 2.5)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_sweep_of_24_killed_20_times(workers: int, here: Path) -> None:
    check(here, 24, 60, 20, workers, 6.0)


def test_three_workers_on_one_folder(here: Path) -> None:
    check_bare(here, 4, 40, 3, 2.5)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_three_workers_on_one_folder_killed_20_times(here: Path) -> None:
    check_bare(here, 24, 60, 20, 4.0)


def test_the_same_sweep_started_twice_at_once(here: Path) -> None:
    arguments = swept(3, 20, "workers=1", "hydra.sweep.dir=one")
    logs = [here / "a", here / "b"]
    both = [Forked(main, arguments, folder=here, out=log) for log in logs]
    with ended(*both):
        assert [process.wait(timeout=250) for process in both] == [0, 0], [log.read_text() for log in logs]
    done = "".join(log.read_text() for log in logs).count("done after 20 steps")
    assert done == 3
    assert len(store.listed(here / "one")) == 3


def check_under_ray(here: Path, seeds: int, steps: int, kills: int, most: float) -> None:
    """Workers go on where the command is killed, and the next one watches them: whoever trains is killed too."""
    whole = rnn_train(*swept(seeds, steps, "workers=1", "hydra.sweep.dir=whole"))
    assert whole.code == 0, whole.err
    log = here / "log"
    with cluster_of_two() as (cluster, _):
        typed = ("hydra/launcher=ray", f"hydra.launcher.address={cluster.address}", "hydra.sweep.dir=cut")
        arguments = swept(seeds, steps, *typed)
        over = kill_and_start_again(
            lambda: Forked(main, arguments, folder=here, out=log),
            kills,
            7,
            most,
            lambda _: sorted(trainers(here / "cut").values()),
        )
    assert over.returncode == 0, log.read_text()
    compare(kept_of_all(here / "cut"), kept_of_all(here / "whole"))
    assert "Traceback" not in log.read_text(), log.read_text()
    assert not list((here / "cut").glob("*/.claim-*"))


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_sweep_of_24_killed_20_times_under_ray(here: Path) -> None:
    pytest.importorskip("ray", reason="pip install 'rnn_research[ray]'")
    check_under_ray(here, 24, 60, 20, 9.0)
