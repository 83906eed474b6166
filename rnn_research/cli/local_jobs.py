"""The runs that one of Hydra's sweepers asks for, trained by workers on this machine or elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from rnn_research.cli import sweep_options
from rnn_research.cli.engines import engine_of
from rnn_research.cli.sweeping import Sweep, train
from rnn_research.config.compose import Composer
from rnn_research.config.queue import queued, written
from rnn_research.errors import UsageError
from rnn_research.records import runs
from rnn_research.sweeps import store


def launch(
    config: DictConfig, task: Any, jobs: Sequence[Sequence[str]], first: int, workers: str
) -> list[float | Exception | None]:
    """Train the runs, and return the last validation loss of each, or why it has none.

    Args:
        config: the sweep's, with its folder.
        task: what was given to the sweeper: knows the command's config folders.
        jobs: the overrides of each run.
        first: the number of the first.
        workers: as `workers=` of a sweep.

    Raises:
        UsageError: `workers` is none.
    """
    options, _ = sweep_options.read([f"workers={workers}"])
    folder = Path(str(config.hydra.sweep.dir)).absolute()
    composer = Composer(task.folders, task.given)
    specs = [composer.run(list(job)).numbered(first + number) for number, job in enumerate(jobs)]
    listed = [queued([spec], folder)[0] for spec in specs]
    listed = [replace(run, number=first + number) for number, run in enumerate(listed)]
    for run, spec in zip(listed, specs, strict=True):
        store.add(run, written(spec, run))
    known = {run.digest: run for run in store.listed(folder)}
    unique = {run.digest: known[run.digest] for run in listed}
    sweep = Sweep(folder, list(unique.values()), options, elsewhere=engine_of(config))
    if sweep.elsewhere is not None and sweep.left:
        sweep.elsewhere.connect()
    train(sweep, [])
    return [_value(known[run.digest], sweep) for run in listed]


def _value(run: store.QueuedRun, sweep: Sweep) -> float | Exception | None:
    if sweep.ended.get(run.digest) == "refused":
        return UsageError("refused, as said above")
    try:
        record = runs.read(run.folder)
    except runs.DamagedRecord as error:
        return RuntimeError(str(error))
    if record.status in store.FINAL:
        return record.final.get("val_loss")
    return RuntimeError(record.error or record.status)
