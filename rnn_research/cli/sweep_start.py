"""What is done of a sweep before its first run is trained: what is left out, a yes, imports, a look for mistakes."""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from omegaconf.errors import OmegaConfBaseException

from rnn_research.cli import sweep_options, telling
from rnn_research.cli.console import on_terminal
from rnn_research.cli.sweep_options import SweepOptions
from rnn_research.config.compose import ComposedRun, in_hydra
from rnn_research.config.queue import as_composed, values_of
from rnn_research.errors import UsageError
from rnn_research.sweeps.store import QueuedRun
from rnn_research.sweeps.worker import Event

if TYPE_CHECKING:
    from rnn_research.cli.sweeping import Sweep

IMPORTED = ("rnn_research.config.build", "rnn_research.config.run_one", "rnn_research.training.fit")
OURS = r'"_target_": "(rnn_research\.[\w.]+)"'
"""What a config has the package make."""
SECONDS = 3.0
"""That are taken to look for mistakes; those of further runs are found when they start."""


def kept(runs: list[QueuedRun], specs: Sequence[ComposedRun], options: SweepOptions) -> list[QueuedRun]:
    """The runs that no rule leaves out.

    Raises:
        UsageError: a rule leaves out none, or all.
    """
    left = runs
    for rule in options.exclude:
        out = [
            run for run in left if sweep_options.excluded(rule, specs[run.number].choices, values_of(specs[run.number]))
        ]
        text = ",".join(f"{key}={value}" for key, value in rule.items())
        if not out or len(out) == len(left):
            raise UsageError(f"exclude: given {text!r}, which {'all' if out else 'none'} of the runs have")
        telling.say(f"left out by exclude={text}: {len(out)} of {len(left)} runs")
        left = [run for run in left if run not in out]
    return left


def confirm(sweep: Sweep) -> None:
    """Ask before many runs are started.

    Raises:
        UsageError: nobody can be asked, or the answer is no.
    """
    count, options = len(sweep.left), sweep.options
    if count <= options.confirm_above or options.yes:
        return
    if not (on_terminal(sys.stdin) and on_terminal(sys.stderr)):
        raise UsageError(
            f"{count} runs are to be trained, and confirm_above={options.confirm_above}; add yes=true to start them, "
            "or dry_run=true to see them"
        )
    sys.stderr.write(f"rnn-train: {count} runs are to be trained in {sweep.folder}; start them? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("not started")


def import_for(configs: Sequence[Any]) -> None:
    """Import what the runs need of this package, so that the workers, which are forked from here, have it."""
    needed = {match.rpartition(".")[0] for config in configs for match in re.findall(OURS, json.dumps(config))}
    for module in (*IMPORTED, *sorted(needed)):
        with contextlib.suppress(ImportError):  # the run itself says so
            importlib.import_module(module)


def mistakes(runs: Sequence[QueuedRun]) -> list[Event]:
    """The runs that will be refused, as far as that can be told from their configs: a typing error in the last of a
    hundred is said before the first is trained."""
    from rnn_research.config.check import check

    found, end = list[Event](), time.monotonic() + SECONDS
    for run in runs:
        if time.monotonic() > end:
            break
        spec = as_composed(run.spec())
        sys.path += [path for path in map(str, spec.folders) if path not in sys.path]
        try:
            with in_hydra(spec.config):
                check(spec.task, spec.folders)
        except UsageError as error:
            found.append(Event("refused", run, error=error))
        except OmegaConfBaseException:
            continue  # the run says it
    return found
