"""What is done of a sweep before its first run is trained: imports, and a look for mistakes."""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import sys
import time
from collections.abc import Sequence
from typing import Any

from omegaconf.errors import OmegaConfBaseException

from rnn_research.config.compose import in_hydra
from rnn_research.config.queue import as_composed
from rnn_research.errors import UsageError
from rnn_research.sweeps.store import QueuedRun
from rnn_research.sweeps.worker import Event

IMPORTED = ("rnn_research.config.build", "rnn_research.config.run_one", "rnn_research.training.fit")
OURS = r'"_target_": "(rnn_research\.[\w.]+)"'
"""What a config has the package make."""
SECONDS = 3.0
"""That are taken to look for mistakes; those of further runs are found when they start."""


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
