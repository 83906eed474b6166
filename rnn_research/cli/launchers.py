"""Hydra's plugins: launchers, which start a sweep's runs elsewhere, and sweepers, which choose them.

Each is used by its public interface; a run that it starts is `run_one`, as any other.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, read_write

from rnn_research.cli.sweep_options import SweepOptions, read
from rnn_research.config.compose import ComposedRun, Composer, composing
from rnn_research.errors import FolderInUse, UsageError
from rnn_research.records import runs
from rnn_research.records.printable import printable
from rnn_research.records.runs import RECORD
from rnn_research.sweeps import claims
from rnn_research.sweeps.folders import first_missing, remove_empty

OWN = ("hydra._internal.core_plugins", *(f"hydra_plugins.rnn_research_{name}" for name in ("local", "slurm", "ray")))
"""Where Hydra's plain launcher and sweeper are, and this project's launchers: a sweep needs no plugin for what they
do."""


class NoCallbacks:
    """What Hydra's launchers tell of each job, heard by nobody."""

    def on_job_start(self, *_: Any, **__: Any) -> None:
        pass

    def on_job_end(self, *_: Any, **__: Any) -> None:
        pass


class Job:
    """A run that a plugin starts, here or in another process. Returns the final validation loss, which a sweeper may
    minimise.

    Raises:
        RuntimeError: the run failed.
    """

    def __init__(self, composer: Composer) -> None:
        self.folders, self.given = composer.folders, composer.given

    def __call__(self, _: DictConfig) -> float | None:
        from rnn_research.config.run_one import run_one

        job = HydraConfig.get()
        number, folder, overrides = job.job.num, Path(job.runtime.output_dir), list(job.overrides.task)
        spec = Composer(self.folders, self.given).run(overrides).numbered(number)
        record = run_one(spec, folder)
        print(f"#{number + 1} {', '.join(overrides)}: {record.status} after {record.steps} steps", flush=True)
        if record.status == "failed":
            raise RuntimeError(record.error)
        return record.final.get("val_loss")


def chosen(config: DictConfig) -> bool:
    """Whether a config names a launcher or a sweeper that is not Hydra's plain one."""
    hydra = config.hydra
    return any(not str(node.get("_target_")).startswith(OWN) for node in (hydra.launcher, hydra.sweeper))


def workers(config: DictConfig, overrides: Sequence[str], options: SweepOptions) -> SweepOptions:
    """The options of a sweep, with the workers that its launcher says, where they do not: `basic` trains one run after
    the other in this process."""
    if "workers" in options.given:
        return options
    if any(text.lstrip("+") == "hydra/launcher=basic" for text in overrides):
        return replace(options, workers=1)
    given = config.hydra.launcher.get("workers")
    return options if given is None else replace(options, workers=read([f"workers={given}"])[0].workers)


def sweep(composer: Composer, planned: Sequence[ComposedRun], overrides: Sequence[str], folder: Path) -> int:
    """Let the plugins run a sweep, and return the exit code: 1 where a run failed.

    Args:
        planned: the runs, where no sweeper chooses them.
        overrides: as typed, which tell a sweeper what it may choose.
    """
    config = planned[0].config
    with composing(composer.folders):
        context = HydraContext(config_loader=GlobalHydra.instance().config_loader(), callbacks=NoCallbacks())  # type: ignore[arg-type]
        HydraConfig.instance().set_config(config)
        made = {"hydra_context": context, "task_function": Job(composer), "config": config}
        with read_write(config.hydra):
            config.hydra.sweep.dir = str(folder)
            config.hydra.mode = RunMode.MULTIRUN
        if str(config.hydra.sweeper._target_).startswith(OWN):  # a plain sweep by another's launcher
            launcher: Any = Plugins.instance().instantiate_launcher(**made)
            returned = launcher.launch([list(run.long) for run in planned], initial_job_idx=0)
            code = _told(planned, returned)
        else:
            sweeper: Any = Plugins.instance().instantiate_sweeper(**made)
            sweeper.sweep(arguments=list(overrides))
            code = 0
    records = [runs.read(run) for run in runs.find([folder])]
    return max(code, int(not records or any(record.status == "failed" for record in records)))


def _told(planned: Sequence[ComposedRun], returned: Sequence[Any]) -> int:
    """Say which runs were refused or failed, and return the exit code."""
    code = 0
    for number, (run, job) in enumerate(zip(planned, returned, strict=True), start=1):
        try:
            _ = job.return_value  # raises what the job did
        except UsageError as error:
            code, what = max(code, 2), f"refused: {error}"
        except Exception as error:
            code, what = max(code, 1), f"failed: {' '.join(str(error).split())}"
        else:
            continue
        print(printable(f"rnn-train: #{number} {', '.join(run.overrides)}: {what}"), file=sys.stderr, flush=True)
    return code


@contextlib.contextmanager
def sweeping(folder: Path) -> Iterator[None]:
    """Hold a sweep's folder for a launcher of Hydra's, and remove it where no run came to be."""
    top = first_missing(folder)
    _check_free(folder)
    try:
        with claims.claimed(folder):
            _check_free(folder)  # runs may have been made there since, and the folder given back
            yield
    finally:
        remove_empty(folder, top)


def _check_free(folder: Path) -> None:
    if any(next(folder.glob(pattern), None) for pattern in (RECORD, f"*/{RECORD}")):
        raise FolderInUse(f"{folder}: already holds runs, nothing was written over")
