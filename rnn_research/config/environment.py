"""What of a config came from the environment, such as a password: it is used, and not written down."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.resolvers import oc

REPEATED = ("hydra.overrides.", "hydra.job.override_dirname")
"""Keys in which Hydra repeats what was typed, whatever else was given for them."""


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


def untyped(config: DictConfig, typed: Sequence[str]) -> str:
    """The key of a value that reads the environment, and that nobody typed; empty where none does.

    Args:
        config: composed, not resolved.
        typed: what was typed; a value that stands in one of these texts was.
    """

    def is_typed(text: str) -> bool:
        return any(text in one for one in typed)

    def env(key: str, *default: Any, _node_: Any) -> Any:
        name = _node_._get_full_key(None)
        if not (is_typed(str(_node_._value())) or name.startswith(REPEATED)):
            read.append(name)
        return oc.env(key, *default)

    read = list[str]()
    found = list(_interpolations(OmegaConf.to_container(config, resolve=False), ()))
    for path, text in found:
        name = ".".join(map(str, path))
        if "oc.env" in text and not (is_typed(text) or name.startswith(REPEATED)):
            return name
    for path, _ in found:  # the name of what reads may be put together
        with _resolving(env), suppress(Exception):  # what can't be resolved is told by who needs it
            node: Any = config
            for key in path[:-1]:
                node = node._get_node(key)
            _plain(node[path[-1]])
        if read:
            return read[0]
    return ""


def _interpolations(plain: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Every text in nested values that may be an interpolation, with its keys."""
    if isinstance(plain, str) and "${" in plain:
        yield path, plain
    items = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for key, value in items:
        yield from _interpolations(value, (*path, key))


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

    with _resolving(env):
        yield read


@contextmanager
def _resolving(env: Any) -> Iterator[None]:
    """Let `env` answer what is asked of the environment."""
    OmegaConf.register_new_resolver("oc.env", env, replace=True)
    try:
        yield
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)
