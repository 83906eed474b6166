"""What of a config came from the environment, such as a password: it is used, and not written down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.resolvers import oc


def recorded(node: DictConfig | ListConfig) -> Any:
    """A config as plain values, resolved; but each value that came from the environment as it stands in the config,
    as `${oc.env:TOKEN}`, also where it came by way of another key."""
    keys: Any = list(node) if isinstance(node, DictConfig) else range(len(node))
    values = [_recorded(node, key) for key in keys]
    return dict(zip(keys, values, strict=True)) if isinstance(node, DictConfig) else values


def from_environment(node: DictConfig | ListConfig, key: Any) -> bool:
    """Whether a value is an interpolation that reads the environment."""
    inner: Any = node._get_node(key)
    if not inner._is_interpolation():
        return False
    with _watched() as read:
        _plain(node[key])
    return bool(read)


def written(node: DictConfig | ListConfig, key: Any) -> str:
    """An interpolation as it stands in the config."""
    inner: Any = node._get_node(key)
    return str(inner._value())


def put(config: Any, key: str, value: Any) -> None:
    """Set the value at a dotted key of plain, nested mappings, where there is one."""
    *above, last = key.split(".")
    for part in above:
        config = config.get(part) if isinstance(config, dict) else None
    if isinstance(config, dict) and last in config:
        config[last] = value


def _recorded(node: DictConfig | ListConfig, key: Any) -> Any:
    inner: Any = node._get_node(key)
    if inner._is_missing():
        return "???"
    if inner._is_interpolation():
        return inner._value() if from_environment(node, key) else _plain(node[key])
    return recorded(inner) if OmegaConf.is_config(inner) and not inner._is_none() else _plain(node[key])


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


@contextmanager
def _watched() -> Iterator[list[str]]:
    """The names of the variables that are read meanwhile."""
    read: list[str] = []

    def env(key: str, *default: Any) -> Any:
        read.append(key)
        return oc.env(key, *default)

    OmegaConf.register_new_resolver("oc.env", env, replace=True)
    try:
        yield read
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)
