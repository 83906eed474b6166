"""Keys that may be typed without the name of their option: `clipping.max_norm` for `clipping.global_norm.max_norm`.

They are written out as text before a config is composed, by the options that are chosen in that very run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rnn_research.config.groups import LISTS, LONE, SAME, SHORT, has_option
from rnn_research.errors import UsageError

KEY = re.compile(r"^([+~]*)([^=@]*)(@[^=]*)?(=.*)?$", re.DOTALL)
"""An override: its signs, its key, the package that it is put in, its value."""
INFINITE = re.compile(r"(?<![\w.])([+-]?)\.(inf|nan)(?![\w.])", re.IGNORECASE)
"""How yaml writes what Hydra writes as inf and nan."""
QUOTED = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")


def needs_options(override: str, folders: Iterable[Path]) -> bool:
    """Whether it depends on the chosen options what a key stands for.

    Args:
        folders: those of the configs.
    """
    key = KEY.match(override)
    group, dot, rest = key[2].partition(".") if key else ("", "", "")
    if not dot or group not in LISTS:
        return False
    added = "+" in key[1] if key else False
    return added or not has_option(folders, group, rest.partition(".")[0])


def written_out(overrides: Sequence[str], config: Any = None) -> list[str]:
    """Return the overrides with every short key as its long one, and yaml's words for infinities as Hydra's.

    Args:
        config: a config composed from the same choices of options; None: no key depends on them.

    Raises:
        UsageError: several of the chosen options have the key, a key is given twice, once short and once long, or a
            key is added for an option that is not chosen.
    """
    long, typed = [], dict[str, str]()
    for override in (SAME.get(text, text) for text in overrides):
        match = KEY.match(override)
        if match is None:
            long.append(override)
            continue
        signs, short, package, value = (part or "" for part in match.groups())
        key = short if package else SHORT.get(short, short)
        if config is not None and not package:
            if "+" in signs:
                _check_chosen(key, config)
            key = _long_key(key, config)
        if "~" not in signs and typed.setdefault(key, short) != short:
            raise UsageError(f"{short}: given twice, also as {typed[key]}; give it once")
        long.append(f"{signs}{key}{package}{_infinities(value)}")
    return long


def selected_options(node: Mapping[Any, Any]) -> list[str]:
    """Return the options of a group that are chosen: an experiment may also have values for one that the command line
    replaced."""
    return [str(name) for name, option in node.items() if isinstance(option, Mapping) and "_target_" in option]


def names(cfg: Any, group: str, choices: Mapping[str, Any]) -> list[str]:
    """Return the options that a composed config has of a group, in order.

    Args:
        choices: Hydra's: the name of an option whose keys are the group's own.
    """
    node = cfg.get(group)
    if not isinstance(node, Mapping):
        return []
    if "_target_" in node:
        return [str(choices.get(group, group))]
    return selected_options(node)


def register() -> None:
    """Let configs use `${strategies:}`: the clipping options of this run, joined by +."""

    def strategies(_root_: DictConfig) -> str:
        return "+".join(names(_root_, "clipping", _root_.hydra.runtime.choices))

    OmegaConf.register_new_resolver("strategies", strategies, replace=True)


def _long_key(key: str, config: Any) -> str:
    group, dot, rest = key.partition(".")
    node = config.get(group) if dot and group in LISTS else None
    if not isinstance(node, Mapping) or "_target_" in node:
        return key
    chosen, first = selected_options(node), rest.partition(".")[0]
    holders = [option for option in chosen if first in node[option]]
    if first in chosen or not holders:
        return key
    if len(holders) > 1:
        several = " or ".join(f"{group}.{option}.{rest}" for option in holders)
        raise UsageError(f"{key}: a key of {' and of '.join(holders)}, expected {several}")
    return f"{group}.{holders[0]}.{rest}"


def _check_chosen(key: str, config: Any) -> None:
    """Refuse a value that is added for an option which is not chosen: it would be left aside."""
    group, _, rest = key.partition(".")
    option, _, inner = rest.partition(".")
    node = config.get(group) if group in LONE and inner else None
    if not isinstance(node, Mapping) or "_target_" in node or inner == "_target_":
        return
    chosen = selected_options(node)
    if chosen and option not in chosen:
        both = ",".join([*chosen, option])
        raise UsageError(
            f"+{key}: {option} is not taken, expected a key of {' or '.join(chosen)}; use {group}=[{both}]"
        )


def _infinities(value: str) -> str:
    """A value's text, with yaml's infinities as Hydra writes them; text in quotes stays as it is."""
    parts = QUOTED.split(value)
    return "".join(
        part if number % 2 else INFINITE.sub(lambda found: found[1] + found[2].lower(), part)
        for number, part in enumerate(parts)
    )
