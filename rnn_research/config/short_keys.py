"""The groups of which several options can be taken, `clipping` and `regularizer`, and their names on a command line.

Each option's keys are below its own name (`clipping.global_norm.max_norm`), so that several can stand side by side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rnn_research.errors import UsageError

NAMED = ("clipping", "regularizer")
LISTS = (*NAMED, "init", "probe", "logger")
"""The groups that take a list of options."""
INFINITE = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}
"""How yaml writes what Hydra writes as inf and nan."""


def names(cfg: Any, group: str, choices: Any) -> list[str]:
    """The options that a composed config has of a group, in order.

    Args:
        choices: Hydra's: the name of an option whose keys are the group's own.
    """
    node = cfg.get(group)
    if not isinstance(node, DictConfig):
        return []
    if "_target_" in node:
        return [str(choices.get(group, group))]
    return selected_options(node)


def register() -> None:
    """Let configs use `${strategies:}`: the clipping options of this run, joined by +."""

    def strategies(_root_: DictConfig) -> str:
        return "+".join(names(_root_, "clipping", _root_.hydra.runtime.choices))

    OmegaConf.register_new_resolver("strategies", strategies, replace=True)


@contextmanager
def short_keys() -> Iterator[None]:
    """Let `clipping.max_norm=1` stand for `clipping.global_norm.max_norm=1` where global_norm is the one option taken;
    and `.inf` for inf, as in a yaml.

    Which it is, Hydra knows once the config's groups are composed, before it applies the values.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    apply = ConfigLoaderImpl._apply_overrides_to_config

    def completed(overrides: list[Any], cfg: DictConfig) -> None:
        given: dict[str, str] = {}
        for override in overrides:
            if override.is_add():
                _check_taken(override.key_or_group, cfg)
            override.key_or_group = _completed(short := override.key_or_group, cfg)
            override._value = _numbers(override._value)
            if given.setdefault(override.key_or_group, short) != short:
                raise UsageError(f"{short}: given twice, also as {given[override.key_or_group]}; give it once")
        apply(overrides, cfg)

    ConfigLoaderImpl._apply_overrides_to_config = staticmethod(completed)  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigLoaderImpl._apply_overrides_to_config = staticmethod(apply)  # type: ignore[method-assign]


def _numbers(value: Any) -> Any:
    """A value of an override, with yaml's words for infinities read as Hydra's own; text in quotes stays text."""
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    return INFINITE.get(value.lower(), value) if type(value) is str else value


def _check_taken(key: str, cfg: DictConfig) -> None:
    """Refuse a value that is appended for an option which is not taken: it would be left aside."""
    group, _, rest = key.partition(".")
    option, _, inner = rest.partition(".")
    node = cfg.get(group) if group in NAMED and inner else None
    if isinstance(node, DictConfig) and "_target_" not in node and option not in (there := selected_options(node)):
        both = ",".join([*there, option])
        raise UsageError(f"+{key}: {option} is not taken, expected a key of {' or '.join(there)}; use {group}=[{both}]")


def _completed(key: str, cfg: DictConfig) -> str:
    group, _, rest = key.partition(".")
    node = OmegaConf.select(cfg, group) if group in NAMED and rest else None
    if not isinstance(node, DictConfig) or "_target_" in node or len(options := selected_options(node)) != 1:
        return key
    (option,), first = options, rest.partition(".")[0]
    return f"{group}.{option}.{rest}" if first in node[option] and first != option else key


def selected_options(node: Mapping[Any, Any]) -> list[str]:
    """The options that are: an experiment may also have values for one that the command line replaced."""
    return [str(name) for name, option in node.items() if isinstance(option, Mapping) and "_target_" in option]
