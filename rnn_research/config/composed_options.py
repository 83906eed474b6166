"""Configs of the chosen options, composed by Hydra once for each choice; the values typed beside them are put in after.

Composing takes Hydra 70 ms, nearly all of it for the list of defaults and the yamls behind it, which depend on the
options alone: the runs of a sweep differ in values far more often. What is put in here is what `hydra.compose` would
put in, key by key; what is out of the usual (a sweep, a deletion, a mistake) is left to Hydra as a whole, so that its
words stay its own. `tests/config/test_composed_options.py` compares the two over all options.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rnn_research.config.untrusted_yamls import ALLOWED

HYDRAS = tuple(f"hydra.{key}" for key in ALLOWED)
"""Keys of Hydra's that are values as any other: it reads the others while it composes."""
MANY = 200
"""Choices whose configs are kept, of 17 kB each."""


@dataclass(frozen=True)
class Typed:
    """Overrides, as Hydra reads them.

    Attributes:
        choices: those that choose options, as text: what the list of defaults is made from.
        values: the others, in their order.
        every: all, in their order.
    """

    choices: tuple[str, ...]
    values: tuple[Override, ...]
    every: tuple[Override, ...]


def read_typed(overrides: Sequence[str], folders: Sequence[Path]) -> Typed | None:
    """Return the overrides, those that choose options apart from values; None where Hydra has to read them together.

    Args:
        folders: those of the configs: what names a folder in one of them is a group.
    """
    try:
        read = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException:
        return None
    choices, values = [], []
    for text, override in zip(overrides, read, strict=True):
        key = override.key_or_group
        top = key.partition(".")[0]
        if override.is_sweep_override() or override.is_delete():
            return None
        if "/" in key or override.package is not None or any(os.path.isdir(folder / key) for folder in folders):
            if isinstance(override.value(), dict):
                return None
            choices.append(text)
        elif (top == "hydra" and key not in HYDRAS) or (override.is_add() and key == top):
            return None  # what Hydra reads while it composes; what might be a group that one of its plugins brings
        else:
            values.append(override)
    return Typed(tuple(choices), tuple(values), tuple(read))


class ComposedOptions:
    """The configs of choices of options.

    Args:
        folder: the yamls that are looked at for a change at each call; None: what was read once is kept.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._kept: dict[tuple[str, ...], bytes] = {}
        self._stamp: list[object] = []

    def get(self, choices: tuple[str, ...], compose: Callable[[Sequence[str]], DictConfig]) -> DictConfig:
        """Return the config of these choices, a new one at each call. Raises what composing raises."""
        stamp = _stamp(self.folder) if self.folder else []
        if stamp != self._stamp or len(self._kept) >= MANY:
            self._stamp, self._kept = stamp, {}
        if choices not in self._kept:
            self._kept[choices] = pickle.dumps(compose(choices))
        config = pickle.loads(self._kept[choices])  # a seventh of the time of copy.deepcopy
        OmegaConf.clear_cache(config)  # composing reads the clock, for the name of a folder
        return config


def with_values(config: DictConfig, typed: Typed) -> DictConfig | None:
    """Return the config of the chosen options with the values put in; None where Hydra would refuse one."""
    try:
        for override in typed.values:
            if not _put(config, override):
                return None
    except OmegaConfBaseException:
        return None
    of_hydra = [override for override in typed.every if override.is_hydra_override()]
    of_task = [override for override in typed.every if not override.is_hydra_override()]
    if config.hydra.job.env_copy:
        return None
    for node, some in ((config.hydra.overrides.hydra, of_hydra), (config.hydra.overrides.task, of_task)):
        node.clear()
        node.extend([override.input_line for override in some])
    config.hydra.runtime.cwd = os.getcwd()
    config.hydra.job.override_dirname = _joined(of_task, config.hydra.job.config.override_dirname)
    return config


def _put(config: DictConfig, override: Override) -> bool:
    """Whether Hydra takes an override of a value, which is then put in."""
    key, value = override.key_or_group, override.value()
    added = override.is_add() or override.is_force_add()
    there = override.is_add() and OmegaConf.select(config, key, throw_on_missing=False) is not None
    if there and not isinstance(value, (dict, list)):
        return False
    OmegaConf.update(config, key, value, merge=True, force_add=added)
    return True


def _joined(overrides: Sequence[Override], how: Any) -> str:
    """The overrides as Hydra writes them in the name of a folder (`hydra.job.override_dirname`)."""
    lines = sorted(str(item.input_line) for item in overrides if item.key_or_group not in how.exclude_keys)
    return re.sub("=", how.kv_sep, how.item_sep.join(lines))


def _stamp(folder: Path) -> list[object]:
    found = []
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                state = os.stat(os.path.join(place, name))
                found.append((place, name, state.st_ino, state.st_mtime_ns, state.st_size))
    return sorted(found)
