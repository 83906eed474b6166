"""What happens once a command, before its first run: a Hydra callback named in conf/train.yaml."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any, ClassVar

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from rnn_research.records.runs import RECORD
from rnn_research.sweeps import claims

MADE = "multirun.yaml"
"""What Hydra writes to a sweep's folder."""


class FolderInUse(BaseException):
    """The sweep's folder already holds runs. Not an `Exception`: Hydra only warns of those in a callback."""


class CantStart(BaseException):
    """The command can't begin: the message says why. Not an `Exception`, likewise."""


class Sweep(Callback):
    """Counts the runs to come; remembers what Hydra will make for them, so that it can be removed where they do not
    come to be; stops before the first run where the sweep's folder holds others.

    Raises:
        FolderInUse, CantStart: from `on_multirun_start`; the latter also from `on_run_start`.
    """

    runs: ClassVar[int] = 1
    folder: ClassVar[Path | None] = None
    """Of the sweep; None where there is one run."""
    top: ClassVar[Path | None] = None
    """The topmost folder that is made for the output; None where all were there."""
    new: ClassVar[bool] = False
    """Whether the sweep's folder had no `MADE`."""

    def on_run_start(self, config: Any, **_: Any) -> None:
        with contextlib.suppress(OmegaConfBaseException):  # Hydra resolves it again, and says so
            HydraConfig.instance().set_config(config)
            Sweep.top = _first_missing(_named(config.hydra.run, "dir", "hydra.run.dir"))

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        with contextlib.suppress(HydraException):  # likewise
            Sweep.runs = _replace_swept(config)
        HydraConfig.instance().set_config(config)
        if Sweep.runs == 0:
            raise CantStart("a sweep of no runs: one of its keys has no values; expected some, as seed=0,1,2")
        Sweep.folder = _named(config.hydra.sweep, "dir", "hydra.sweep.dir")
        if str(OmegaConf.to_container(config.hydra.sweep)["subdir"]).strip() == "":  # type: ignore[index,call-overload]
            raise CantStart("hydra.sweep.subdir: given '', expected a folder's name for each run; leave it out")
        Sweep.top, Sweep.new = _first_missing(Sweep.folder), not os.path.lexists(Sweep.folder / MADE)
        if _holds_runs(Sweep.folder):
            raise FolderInUse(f"{Sweep.folder}: already holds runs, nothing was written over")
        try:
            claims.claim(Sweep.folder)
        except claims.Claimed as error:
            raise FolderInUse(str(error)) from error
        except OSError:  # Hydra meets it too, and says so
            return
        if _holds_runs(Sweep.folder):  # made, and given back, since
            raise FolderInUse(f"{Sweep.folder}: already holds runs, nothing was written over")

    @classmethod
    def forget(cls) -> None:
        """Begin another command."""
        cls.runs, cls.folder, cls.top, cls.new = 1, None, None, False

    @classmethod
    def discard(cls, run: Path | None = None) -> None:
        """Remove what was made for a run that did not come to be, or for a sweep without any."""
        claims.release_all() if run is None else claims.release(run)
        if run is not None and (cls.top is not None or cls.folder is not None):
            _remove_empty(run, cls.top)
        elif cls.folder is not None and cls.new and not _holds_runs(cls.folder):
            with contextlib.suppress(OSError):
                (cls.folder / MADE).unlink()
            if cls.top is not None:
                _remove_empty(cls.folder, cls.top)


def set_aside(overrides: list[str]) -> list[str]:
    """The overrides, but what is set below a swept group is left to each run: before the first one Hydra composes
    the config with the group's default option, which may know no such key."""
    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
    except HydraException:  # it is told when Hydra parses them again
        return overrides
    swept = {override.key_or_group for override in parsed if override.is_sweep_override()}
    below = [
        override.key_or_group.partition(".")[0] in swept - {override.key_or_group} and not override.is_delete()
        for override in parsed
    ]
    aside = [text.partition("=") for text, is_below in zip(overrides, below, strict=True) if is_below]
    if not aside:
        return overrides
    quoted = [f"{key}:'{_escaped(value)}'" for key, _, value in aside]
    kept = [text for text, is_below in zip(overrides, below, strict=True) if not is_below]
    return [*kept, f"++hydra.sweeper.params={{{','.join(quoted)}}}"]


def _escaped(value: str) -> str:
    return re.sub(r"(\\*)'", r"\1\1\'", value)


def _replace_swept(config: Any) -> int:
    """Drop from an experiment's sweep what the command line gives, with or without a +. Returns the runs to come."""
    given = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
    keys = {override.get_key_element().lstrip("+~") for override in given}
    swept = config.hydra.sweeper.get("params") or {}
    with read_write(config.hydra), open_dict(config.hydra):
        for key in [key for key in swept if str(key).lstrip("+~") in keys]:
            del swept[key]
    parsed = OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in swept.items()])
    return sum(map(len, BasicSweeper.split_arguments([*parsed, *given], None)))


def _named(node: Any, leaf: str, key: str) -> Path:
    """The folder that a key names.

    Raises:
        CantStart: it names none: a variable of the shell may be empty, as in hydra.run.dir=$OUT.
    """
    given = node.get(leaf)
    if given is None or not str(given).strip():
        raise CantStart(f"{key}: given {str(given or '')!r}, expected a folder, as {key}=FOLDER; or leave it out")
    return Path(given)


def _holds_runs(folder: Path) -> bool:
    return any(next(folder.glob(pattern), None) for pattern in (RECORD, f"*/{RECORD}"))


def _first_missing(folder: Path) -> Path | None:
    folder = folder.absolute()
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    return missing[-1] if missing else None


def _remove_empty(folder: Path, top: Path | None) -> None:
    """`folder`, and those above it up to `top`, as far as they are empty."""
    with contextlib.suppress(OSError):
        for path in (folder.absolute(), *folder.absolute().parents):
            path.rmdir()
            if top is None or path == top:
                return
