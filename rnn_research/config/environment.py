"""What of a config came from the environment, such as a password: it is used, and not written down."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.resolvers import oc


def recorded(node: DictConfig | ListConfig, without: Collection[str] = ()) -> Any:
    """Return a config as plain values, resolved; but each value that came from the environment as it stands in the
    config, as `${oc.env:TOKEN}`, also where it came by way of another key.

    Args:
        without: keys that are left out.
    """
    written: Any = OmegaConf.to_container(node, resolve=False)
    keys: Any = list(node) if isinstance(node, DictConfig) else range(len(node))
    keys = [key for key in keys if key not in without]
    values = [_recorded(node, key, written[key]) for key in keys]
    return dict(zip(keys, values, strict=True)) if isinstance(node, DictConfig) else values


def from_environment(node: DictConfig | ListConfig, key: Any) -> bool:
    """Whether a value is an interpolation that reads the environment."""
    if not OmegaConf.is_interpolation(node, key):
        return False
    with _watched() as read:
        _plain(node[key])
    return bool(read)


def _recorded(node: DictConfig | ListConfig, key: Any, written: Any) -> Any:
    if not _interpolates(written):  # as most: node by node it would take as long as composing
        return written
    if OmegaConf.is_interpolation(node, key):
        return written if from_environment(node, key) else _plain(node[key])
    return recorded(node[key])


def _interpolates(written: Any) -> bool:
    """Whether there may be an interpolation in plain values."""
    if isinstance(written, str):
        return "${" in written
    below = written.values() if isinstance(written, dict) else written if isinstance(written, list) else ()
    return any(map(_interpolates, below))


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
