"""Configs of the chosen options, composed by Hydra once for each option; the values typed beside them are put in after.

Composing takes Hydra 70 ms, nearly all of it for the list of defaults and the yamls behind it, which depend on the
options alone: the runs of a sweep differ in values far more often. What is put in here is what `hydra.compose` would
put in, key by key; what is out of the usual (a sweep, a deletion, a mistake) is left to Hydra as a whole, so that its
words stay its own. An option of the project's own gives its group's key of the config and nothing else, whatever the
others are: the configs of all combinations are put together from those in which each option was chosen once.
`tests/config/test_composed_options.py` compares both with Hydra over all options.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rnn_research.config.groups import LISTS, TABLE
from rnn_research.config.parsed_overrides import parsed
from rnn_research.config.untrusted_yamls import ALLOWED

HYDRAS = tuple(f"hydra.{key}" for key in ALLOWED)
"""Keys of Hydra's that are values as any other: it reads the others while it composes."""
ALONE = tuple(group for group in TABLE if group != "experiment")
"""Groups whose options give their own key of the config alone. An experiment gives values of all."""
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
    choices, values, read = [], [], list[Override]()
    for text in overrides:
        override = parsed(text)
        if override is None:
            return None
        read.append(override)
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
        self._alike: dict[tuple[str, ...], tuple[str, ...]] = {}
        """Choices that are kept, by their shape."""
        self._parts: dict[tuple[tuple[str, ...], str], bytes] = {}
        """What a choice, or none, gives a group, beside the choices that are no group's."""
        self._stamp: list[object] = []

    def get(self, choices: tuple[str, ...], compose: Callable[[Sequence[str]], DictConfig]) -> DictConfig:
        """Return the config of these choices, a new one at each call. Raises what composing raises."""
        stamp = _stamp(self.folder) if self.folder else []
        if stamp != self._stamp or len(self._kept) >= MANY:
            self._stamp, self._kept, self._alike, self._parts = stamp, {}, {}, {}
        config = None
        if choices not in self._kept:
            config = self._together(choices) if self.folder else None
            if config is None:
                self._keep(choices, compose(choices))
        if config is None:
            config = pickle.loads(self._kept[choices])  # a seventh of the time of copy.deepcopy
        OmegaConf.clear_cache(config)  # composing reads the clock, for the name of a folder
        return config

    def _keep(self, choices: tuple[str, ...], config: DictConfig) -> None:
        self._kept[choices] = pickle.dumps(config)
        chosen = _Chosen.of(choices)
        if self.folder is None or chosen is None:
            return
        self._alike.setdefault(chosen.shape, choices)
        for group in ALONE:
            key = chosen.beside, chosen.of_group(group)
            if key not in self._parts and isinstance(config._get_node(group, validate_access=False), DictConfig):
                self._parts[key] = _pickled(config, group)

    def _together(self, choices: tuple[str, ...]) -> DictConfig | None:
        """The config of choices each of which was made before; None where one was not."""
        chosen = _Chosen.of(choices)
        if chosen is None or chosen.shape not in self._alike:
            return None
        alike = _Chosen.of(self._alike[chosen.shape])
        assert alike is not None
        others = [group for group in ALONE if chosen.of_group(group) != alike.of_group(group)]
        parts = [self._parts.get((chosen.beside, chosen.of_group(group))) for group in others]
        if None in parts:
            return None
        config = pickle.loads(self._kept[self._alike[chosen.shape]])
        for group, part in zip(others, parts, strict=True):
            node, option = pickle.loads(part)  # type: ignore[arg-type]
            config._content[group] = node  # as it is: to set it would make it anew, which takes as long as the rest
            node._set_parent(config)
            if option is not None:
                config.hydra.runtime.choices[group] = option
        return config


class _Chosen(NamedTuple):
    """Choices, apart by what they do to a config.

    Attributes:
        groups: the options of groups that stand alone, as typed, by group.
        beside: the other choices.
        shape: the others, and which groups of several options have one or a list: Hydra keeps the choice of one alone.
    """

    groups: dict[str, str]
    beside: tuple[str, ...]
    shape: tuple[str, ...]

    @classmethod
    def of(cls, choices: tuple[str, ...]) -> _Chosen | None:
        """None where a group has two choices."""
        groups, beside, shape = dict[str, str](), list[str](), list[str]()
        for text in choices:
            key, _, value = text.partition("=")
            if key in groups:
                return None
            if key in ALONE:
                groups[key] = text
            else:
                beside.append(text)
            if key in LISTS:
                shape.append(f"{key}={'[' if value.startswith('[') else ''}")
        return cls(groups, tuple(beside), (*beside, *sorted(shape)))

    def of_group(self, group: str) -> str:
        """The choice of a group, as typed; the group's name where none is typed."""
        return self.groups.get(group, group)


def _pickled(config: DictConfig, group: str) -> bytes:
    """A group's part of a config, without the rest, and what Hydra calls the option."""
    node = config._get_node(group)
    assert isinstance(node, DictConfig)
    node._set_parent(None)
    try:
        return pickle.dumps((node, config.hydra.runtime.choices.get(group)))
    finally:
        node._set_parent(config)


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
