"""What happens once a sweep, before its first run: a Hydra callback named in conf/train.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback

from rnn_research.runs import RECORD


class FolderInUse(BaseException):
    """The sweep's folder already holds runs. Not an `Exception`: Hydra only warns of those in a callback."""


class Sweep(Callback):
    """Counts the sweep's runs, and stops before the first where the sweep's folder holds others.

    Raises:
        FolderInUse: from `on_multirun_start`.
    """

    runs = 0

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        parameters = config.hydra.sweeper.get("params") or {}
        arguments = [*(f"{key}={value}" for key, value in parameters.items()), *config.hydra.overrides.task]
        parsed = OverridesParser.create().parse_overrides(arguments)
        Sweep.runs = sum(map(len, BasicSweeper.split_arguments(parsed, None)))
        folder = Path(config.hydra.sweep.dir)
        if folder.is_dir() and next(folder.rglob(RECORD), None) is not None:
            raise FolderInUse(str(folder))
