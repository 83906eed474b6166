"""Sweeps that are killed and started again end as if nothing had been."""

from __future__ import annotations

import functools
import os
import random
import signal
import sys
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


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int], dict[str, Any]]:
    """What a sweep of so many seeds and steps leaves: trained once."""

    @functools.cache
    def trained(seeds: int, steps: int) -> dict[str, Any]:
        whole = tmp_path_factory.mktemp("whole")
        ended = rnn_train(*swept(seeds, steps, "workers=1", f"hydra.sweep.dir={whole}"))
        assert ended.code == 0, ended.err
        return kept_of_all(whole)

    return trained


def check(here: Path, expected: dict[str, Any], seeds: int, steps: int, kills: int, workers: int, most: float) -> None:
    arguments = swept(seeds, steps, f"workers={workers}", "hydra.sweep.dir=cut")
    log = here / "log"
    over = kill_and_start_again(lambda: Forked(main, arguments, folder=here, out=log), kills, workers, most)
    assert over.returncode == 0, log.read_text()
    compare(kept_of_all(here / "cut"), expected)
    assert "Traceback" not in log.read_text(), log.read_text()
    assert not list((here / "cut").glob("*/.claim-*"))


def check_bare(here: Path, expected: dict[str, Any], seeds: int, steps: int, kills: int, most: float) -> None:
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
    compare(kept_of_all(here / "cut"), expected)
    assert "Traceback" not in log.read_text(), log.read_text()


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_killed_sweep_goes_on(workers: int, here: Path, undisturbed: Callable[..., Any]) -> None:
    check(here, undisturbed(3, 40), 3, 40, 2, workers, 1.5)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_sweep_of_24_killed_20_times(workers: int, here: Path, undisturbed: Callable[..., Any]) -> None:
    check(here, undisturbed(24, 60), 24, 60, 20, workers, 6.0)


def stop_at(event: str, path: str) -> None:
    """Send this process SIGTERM at the first such event of the file system."""
    left = [1]

    def hook(name: str, given: tuple[object, ...]) -> None:
        if left and name == event and path in str(given[0]):
            left.clear()
            os.kill(os.getpid(), signal.SIGTERM)

    sys.addaudithook(hook)


def stopped_in_the_queue(arguments: list[str]) -> None:
    stop_at("os.link", f"cut/{store.QUEUE}/")
    main(arguments)


def stopped_as_a_worker_starts(arguments: list[str]) -> None:
    """Python drops what is raised in a hook of a fork."""
    parent = os.getpid()
    os.register_at_fork(after_in_parent=lambda: os.getpid() == parent and os.kill(parent, signal.SIGTERM))
    main(arguments)


@pytest.mark.parametrize("begin", [stopped_in_the_queue, stopped_as_a_worker_starts])
def test_a_sweep_stopped_as_it_starts(begin: Callable[[list[str]], None], here: Path) -> None:
    """Nothing is half written, and the same command trains what the sweep trains undisturbed."""
    arguments, log = swept(2, 8, "workers=2", "hydra.sweep.dir=cut"), here / "log"
    assert Forked(begin, arguments, folder=here, out=log).wait(timeout=250) == 143, log.read_text()
    assert "Traceback" not in log.read_text()
    assert not list((here / "cut" / store.QUEUE).glob(".*"))
    again = rnn_train(*arguments)
    assert again.code == 0, again.err
    assert len(list((here / "cut").glob("*/run.json"))) == 2


def test_three_workers_on_one_folder(here: Path, undisturbed: Callable[..., Any]) -> None:
    check_bare(here, undisturbed(3, 40), 3, 40, 3, 1.0)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_three_workers_on_one_folder_killed_20_times(here: Path, undisturbed: Callable[..., Any]) -> None:
    check_bare(here, undisturbed(24, 60), 24, 60, 20, 4.0)


def test_the_same_sweep_started_twice_at_once(here: Path) -> None:
    arguments = swept(3, 8, "workers=1", "hydra.sweep.dir=one")
    logs = [here / "a", here / "b"]
    both = [Forked(main, arguments, folder=here, out=log) for log in logs]
    with ended(*both):
        assert [process.wait(timeout=250) for process in both] == [0, 0], [log.read_text() for log in logs]
    done = "".join(log.read_text() for log in logs).count("done after 8 steps")
    assert done == 3
    assert len(store.listed(here / "one")) == 3


def check_under_ray(here: Path, expected: dict[str, Any], seeds: int, steps: int, kills: int, most: float) -> None:
    """Workers go on where the command is killed, and the next one watches them: whoever trains is killed too."""
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
    compare(kept_of_all(here / "cut"), expected)
    assert "Traceback" not in log.read_text(), log.read_text()
    assert not list((here / "cut").glob("*/.claim-*"))


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_sweep_of_24_killed_20_times_under_ray(here: Path, undisturbed: Callable[..., Any]) -> None:
    pytest.importorskip("ray", reason="pip install 'rnn_research[ray]'")
    check_under_ray(here, undisturbed(24, 60), 24, 60, 20, 9.0)
