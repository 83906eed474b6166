"""Configs as `rnn-train` composes them: Hydra composes each option once a process, for all tests."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Iterator
from typing import Any

from omegaconf import Container, DictConfig, ListConfig, OmegaConf

from rnn_research.cli import flags, sweep_options
from rnn_research.cli.overrides import checked
from rnn_research.config.compose import ComposedRun, Composer
from rnn_research.config.groups import CONF, LISTS, options

GROUPS = {group: list(names) for group, names in options([CONF]).items()}
ROUNDS = max(len(names) for group, names in GROUPS.items() if group not in LISTS)
"""In so many rounds each option is chosen: one of each group, or several of those that take several."""


def composed(*overrides: str) -> DictConfig:
    """The config of a run, without Hydra's part: a new one at each call."""
    return pickle.loads(_pickled(overrides))


@functools.cache
def _pickled(overrides: tuple[str, ...]) -> bytes:
    return pickle.dumps(Composer(given=overrides).run(overrides).task)


def as_typed(arguments: list[str]) -> ComposedRun:
    """What a command of one run asks for. Raises as the command does before it says its line."""
    line = flags.read(arguments)
    _, overrides = sweep_options.read(line.overrides)
    return Composer(tuple(line.folders), tuple(overrides)).run(checked(overrides, arguments))


def nodes(node: Any, path: str = "") -> Iterator[tuple[Any, ...]]:
    """All that OmegaConf knows of a config: each node's type, value, flags and declared types."""
    about = {key: item for key, item in vars(node._metadata).items() if key != "resolver_cache"}  # the clock
    value = node._value() if not isinstance(node, Container) or node._is_none() or node._is_missing() else None
    value = value if not node._is_interpolation() else f"interpolation {value!r}"
    yield path, type(node), value, sorted((key, repr(item)) for key, item in about.items())
    if value is None and not node._is_none():
        keys = list(node.keys()) if isinstance(node, DictConfig) else range(len(node))
        yield path, list(keys)
        for key in keys:
            assert isinstance(node, (DictConfig, ListConfig))
            yield from nodes(node._get_node(key), f"{path}.{key}")


def compose_each_option() -> None:
    """All options of all groups in as many configs as the largest group has: what a command chooses is then put
    together, which takes a tenth of the time."""
    for number in range(max(map(len, GROUPS.values()))):
        composed(*(f"{group}={names[number % len(names)]}" for group, names in GROUPS.items() if group != "experiment"))


def chosen(number: int, group: str) -> list[str]:
    """The options of a group in a round."""
    names = GROUPS[group]
    return (names[number::ROUNDS] or names[:1]) if group in LISTS else [names[number % len(names)]]


def choices(number: int) -> list[str]:
    """A round's choice of each group but of the experiment, which would change the others' values."""
    return [_choice(group, chosen(number, group)) for group in GROUPS if group != "experiment"]


def option_node(group: str, option: str) -> DictConfig:
    """What an option gives its group, a new node at each call: composed with many others, a tenth of the time of one by
    one. `tests/config/test_composed_options.py` compares the two."""
    return pickle.loads(_option_node(group, option))


@functools.cache
def _option_node(group: str, option: str) -> bytes:
    if group in LISTS:
        every = _of_several()[group]
        node = OmegaConf.masked_copy(every, [option] if option in every else [])
    else:
        node = copy.deepcopy(_of_each(EACH.index((group, option)) % 2).each[group][option])
    node._set_parent(None)  # which would be pickled with it
    return pickle.dumps(node)


EACH = [(group, name) for group, names in GROUPS.items() if group not in (*LISTS, "experiment") for name in names]


@functools.cache
def _of_each(half: int) -> DictConfig:
    """A config with half of the options of groups that take one, below `each`: the time goes with their square."""
    return composed(*(f"+{group}@each.{group}.{name}={name}" for group, name in EACH[half::2]))


@functools.cache
def _of_several() -> DictConfig:
    """A config with every option of groups that take several."""
    return composed(*(_choice(group, GROUPS[group]) for group in LISTS))


def _choice(group: str, names: list[str]) -> str:
    return f"{group}=[{','.join(names)}]" if group in LISTS else f"{group}={names[0]}"
