"""The groups of which several options can be taken, `clipping` and `regularizer`, and their names on a command line.

Each option's keys are below its own name (`clipping.global_norm.max_norm`), so that several can stand side by side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rnn_research.mistakes import UsageError

NAMED = ("clipping", "regularizer")


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
    return taken(node)


def register() -> None:
    """Let configs use `${strategies:}`: the clipping options of this run, joined by +."""

    def strategies(_root_: DictConfig) -> str:
        return "+".join(names(_root_, "clipping", _root_.hydra.runtime.choices))

    OmegaConf.register_new_resolver("strategies", strategies, replace=True)


def check_once(overrides: list[str]) -> None:
    """Refuse an option that is given twice in a list, or `none` beside others: Hydra would take each once, and say
    nothing.

    Raises:
        UsageError: says which.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:  # it is told when Hydra parses it again
            continue
        values = override.sweep_iterator() if override.is_sweep_override() else [override.value()]
        for value in values if override.key_or_group in (*NAMED, "init", "probe", "logger") else ():
            twice = [
                name for name, count in Counter(map(str, value if isinstance(value, list) else ())).items() if count > 1
            ]
            if twice:
                raise UsageError(f"{override.key_or_group}: given {twice[0]} twice, expected each option once")
            if isinstance(value, list) and "none" in value and len(value) > 1:
                others = ",".join(str(name) for name in value if name != "none")
                raise UsageError(
                    f"{override.key_or_group}: given none beside {others}, which contradict; leave none out"
                )


@contextmanager
def short_keys() -> Iterator[None]:
    """Let `clipping.max_norm=1` stand for `clipping.global_norm.max_norm=1` where global_norm is the one option taken.

    Which it is, Hydra knows once the config's groups are composed, before it applies the values.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    apply = ConfigLoaderImpl._apply_overrides_to_config

    def completed(overrides: list[Any], cfg: DictConfig) -> None:
        for override in overrides:
            if override.is_add():
                _check_taken(override.key_or_group, cfg)
            override.key_or_group = _completed(override.key_or_group, cfg)
        apply(overrides, cfg)

    ConfigLoaderImpl._apply_overrides_to_config = staticmethod(completed)  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigLoaderImpl._apply_overrides_to_config = staticmethod(apply)  # type: ignore[method-assign]


def _check_taken(key: str, cfg: DictConfig) -> None:
    """Refuse a value that is appended for an option which is not taken: it would be left aside."""
    group, _, rest = key.partition(".")
    option, _, inner = rest.partition(".")
    node = cfg.get(group) if group in NAMED and inner else None
    if isinstance(node, DictConfig) and "_target_" not in node and option not in (there := taken(node)):
        both = ",".join([*there, option])
        raise UsageError(f"+{key}: {option} is not taken, expected a key of {' or '.join(there)}; use {group}=[{both}]")


def _completed(key: str, cfg: DictConfig) -> str:
    group, _, rest = key.partition(".")
    node = OmegaConf.select(cfg, group) if group in NAMED and rest else None
    if not isinstance(node, DictConfig) or "_target_" in node or len(options := taken(node)) != 1:
        return key
    (option,), first = options, rest.partition(".")[0]
    return f"{group}.{option}.{rest}" if first in node[option] and first != option else key


def taken(node: Mapping[Any, Any]) -> list[str]:
    """The options that are: an experiment may also have values for one that the command line replaced."""
    return [str(name) for name, option in node.items() if isinstance(option, Mapping) and "_target_" in option]
