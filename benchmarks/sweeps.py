"""What a sweep costs beside its training. `python -m benchmarks.sweeps`.

Prints, in seconds of this process's or the command's computing: 1,000 finished runs skipped, listed and looked at; how
many runs workers that train nothing take a second; 20 tiny runs by `rnn-train -m` in one process and in two, and by a
bare loop over lightning's Trainer with the same parts. Nothing here is a test.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from rnn_research.records import runs
from rnn_research.records.runs import RunRecord
from rnn_research.records.sources import sources
from rnn_research.sweeps import store
from rnn_research.sweeps.store import QueuedRun
from rnn_research.sweeps.worker import Rules, work

TINY = (
    *("dataset=adding", "dataset.length=20", "dataset.train_size=400", "dataset.val_size=40", "dataset.test_size=40"),
    *(
        "dataset.batch_size=4",
        "model=lstm",
        "trainer.accelerator=cpu",
        "trainer.max_epochs=-1",
        "trainer.max_steps=200",
    ),
)


def spent(who: int = resource.RUSAGE_SELF) -> float:
    """Seconds that this process, or those that it has waited for, have computed."""
    found = resource.getrusage(who)
    return found.ru_utime + found.ru_stime


def command(module: str, *arguments: str) -> tuple[float, float]:
    """Seconds that a command takes: computing, and as the clock says."""
    before, start = spent(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", module, *arguments], check=True, capture_output=True)
    return spent(resource.RUSAGE_CHILDREN) - before, time.perf_counter() - start


def record_of(run: QueuedRun) -> RunRecord:
    """What a run leaves that is done."""
    config = run.spec().get("config", {})
    where = {"versions": {}, "commit": None, "machine": {}, "start": "2026-01-01T00:00:00+00:00", "sources": sources()}
    return RunRecord(run.name, "done", {}, 0, config, 1000, {}, **where, end="2026-01-01T00:01:00+00:00", steps=200)


def many_runs(folder: Path, count: int) -> None:
    """A sweep whose runs are all done, and the commands on it."""
    typed = ["-m", *TINY, f"seed=range({count})", f"hydra.sweep.dir={folder}", "yes=true"]
    told("write so many runs to do", *command("rnn_research.cli.train", *typed, "workers=0"))
    told("dry_run of them", *command("rnn_research.cli.train", *typed, "dry_run=true"))
    for run in store.listed(folder):
        runs.write(record_of(run), run.folder)
    told("skip them, done", *command("rnn_research.cli.train", *typed))
    told("dry_run of them, done", *command("rnn_research.cli.train", *typed, "dry_run=true"))
    told("rnn-sweep status", *command("rnn_research.cli.sweep_folder", "status", str(folder)))


def told(what: str, computing: float, clock: float) -> None:
    print(f"{what:<40} {computing:>7.2f} s computing {clock:>7.2f} s", flush=True)


class Nothing:
    """Trains nothing, and leaves a record."""

    def __call__(self, run: QueuedRun) -> RunRecord:
        found = RunRecord(run.name, "done", {}, 0, {}, 0, {}, {}, None, {}, "2026-01-01T00:00:00+00:00")
        (run.folder / runs.RECORD).write_text(json.dumps(asdict(found)))
        return found

    def give_up(self, run: QueuedRun, reason: str) -> RunRecord:
        raise AssertionError(reason)


def claims(folder: Path, count: int) -> None:
    """Two workers on so many runs."""
    for number in range(count):
        store.add(QueuedRun(folder, f"{number:020x}", f"run{number}", number, ""), {})
    before, start = spent(resource.RUSAGE_CHILDREN), time.perf_counter()
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=_work, args=(folder,)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    clock = time.perf_counter() - start
    told(f"{count} runs by two workers", spent(resource.RUSAGE_CHILDREN) - before, clock)
    print(f"{'':<40} {count / clock:>7.0f} a second")


def _work(folder: Path) -> None:
    work(store.listed(folder), Nothing(), Rules(), lambda event: None)


def tiny_runs(folder: Path, count: int) -> None:
    """By a bare loop, and by the command, everything imported."""
    import rnn_research.config.run_one
    from rnn_research.cli.train import main as rnn_train
    from rnn_research.config.build import build
    from rnn_research.config.compose import Composer

    def bare() -> None:
        for seed in range(count):
            parts = build(Composer().run([*TINY, f"seed={seed}"]).task)
            trainer = parts.trainer(logger=False, enable_progress_bar=False, enable_checkpointing=False,
                                    enable_model_summary=False, default_root_dir=folder)  # fmt: skip
            trainer.fit(parts.model, datamodule=parts.data)
            trainer.test(parts.model, datamodule=parts.data, verbose=False)

    def swept(workers: int) -> Callable[[], None]:
        def train() -> None:
            into = f"hydra.sweep.dir={folder / f'{workers}-{time.monotonic_ns()}'}"
            with contextlib.suppress(SystemExit):
                rnn_train(["-m", *TINY, f"seed=range({count})", f"workers={workers}", into])

        return train

    assert rnn_research.config.run_one
    found: dict[str, float] = {}
    for name, train in {"bare loop": bare, "in one process": swept(1), "in two": swept(2)}.items():
        before = spent(), spent(resource.RUSAGE_CHILDREN)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            start = time.perf_counter()
            train()
            clock = time.perf_counter() - start
        found[name] = spent() - before[0] + spent(resource.RUSAGE_CHILDREN) - before[1]
        told(f"{count} tiny runs, {name}", found[name], clock)
        print(f"{'':<40} {found[name] / found['bare loop']:>7.2f} of the bare loop")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--claims", type=int, default=10_000)
    parser.add_argument("--tiny", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        many_runs(Path(place) / "many", given.runs)
        claims(Path(place) / "claims", given.claims)
        if given.tiny:
            logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
            tiny_runs(Path(place) / "tiny", given.tiny)


if __name__ == "__main__":
    main()
