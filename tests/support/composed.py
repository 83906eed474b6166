"""Configs as `rnn-train` composes them: Hydra composes each choice of options once a process, for all tests."""

from __future__ import annotations

import functools

from omegaconf import DictConfig, OmegaConf

from rnn_research.config.compose import Composer
from rnn_research.config.groups import CONF, LISTS, options

GROUPS = {group: list(names) for group, names in options([CONF]).items()}
ROUNDS = max(len(names) for group, names in GROUPS.items() if group not in LISTS)
"""In so many rounds each option is chosen: one of each group, or several of those that take several."""


def composed(*overrides: str) -> DictConfig:
    """The config of a run, without Hydra's part."""
    return Composer(given=overrides).run(overrides).task


def chosen(number: int, group: str) -> list[str]:
    """The options of a group in a round."""
    names = GROUPS[group]
    return (names[number::ROUNDS] or names[:1]) if group in LISTS else [names[number % len(names)]]


def choices(number: int) -> list[str]:
    """A round's choice of each group but of the experiment, which would change the others' values."""
    return [_choice(group, chosen(number, group)) for group in GROUPS if group != "experiment"]


def option_node(group: str, option: str) -> DictConfig:
    """What an option gives its group: composed with one of each other group, a fifth of the time of one by one.

    Raises:
        AssertionError: another option of the round gives its group more than what is under its own name.
    """
    names = GROUPS[group]
    number = names.index(option) % ROUNDS
    node = _round(number)[group]
    if group not in LISTS:
        return node
    assert set(node) | {"none"} == set(chosen(number, group)) | {"none"}
    return OmegaConf.masked_copy(node, [option] if option in node else [])


def _choice(group: str, names: list[str]) -> str:
    return f"{group}=[{','.join(names)}]" if group in LISTS else f"{group}={names[0]}"


@functools.cache
def _round(number: int) -> DictConfig:
    return composed(*choices(number))
