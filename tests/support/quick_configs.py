"""Some functions of OmegaConf and Hydra that are called most, put in the place of theirs where this is imported: they
do the same with less. Composing a config takes less than half of the time.

`test_quick_configs.py` compares configs with those that the libraries' own functions make.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import hydra._internal.defaults_list as defaults_list
from hydra.core.config_store import ConfigStore
from omegaconf import nodes
from omegaconf.base import Box, Container, Metadata, Node

OWN: dict[tuple[Any, str], Any] = {}
"""What the libraries have themselves, by where it stands and its name; None: nothing."""


@contextmanager
def without() -> Iterator[None]:
    """Meanwhile the libraries' own functions stand where they stood."""
    here = {(owner, name): getattr(owner, name) for owner, name in OWN}
    for (owner, name), value in OWN.items():
        if value is None:
            delattr(owner, name)
        else:
            setattr(owner, name, value)
    try:
        yield
    finally:
        for (owner, name), value in here.items():
            setattr(owner, name, value)


def _put(owner: Any, name: str, value: Any) -> None:
    OWN[owner, name] = getattr(owner, name, None)
    setattr(owner, name, value)


def _below(node: Box) -> Collection[Any]:
    content = node.__dict__["_content"]
    if isinstance(content, dict):
        return content.values()
    if isinstance(content, Node):
        return (content,)
    return content if isinstance(content, list) else ()


def _forget_flags(self: Container) -> None:
    """OmegaConf's own imports two classes at each call, which takes longer than the rest."""
    if self.__dict__["_flags_cache"] is not None:
        self.__dict__["_flags_cache"] = None
        for node in _below(self):
            node._invalidate_flags_cache()


def _become_parent(self: Box) -> None:
    """Likewise."""
    for node in _below(self):
        if node is not None:
            node._set_parent(self)
        if isinstance(node, Box):
            node._re_parent()


def _copied_about(self: Metadata, memo: dict[int, Any]) -> Metadata:
    """Nothing but the flags and what resolvers said is ever changed: the rest needs no copies."""
    made = object.__new__(type(self))
    vars(made).update(vars(self))
    made.flags = copy.deepcopy(self.flags, memo)
    made.resolver_cache = copy.deepcopy(self.resolver_cache, memo) if self.resolver_cache else defaultdict(dict)
    return made


def _copied_value(self: nodes.ValueNode, memo: dict[int, Any]) -> nodes.ValueNode:
    """OmegaConf's own makes an empty node with all its checks first."""
    made = object.__new__(type(self))
    vars(made).update(vars(self), _metadata=copy.deepcopy(self._metadata, memo), _flags_cache=None)
    return made


def _choices(overrides: Any, defaults: Iterable[Any], self_added: bool) -> Any:
    """The choices that `${...}` in a list of defaults may stand for; Hydra looks them up for each of 27 configs."""
    if any("${" in str(vars(default)) for default in defaults):
        return OWN[defaults_list, "_create_interpolation_map"](overrides, defaults, self_added)
    return None


_put(Container, "_invalidate_flags_cache", _forget_flags)
_put(Box, "_re_parent", _become_parent)
_put(Metadata, "__deepcopy__", _copied_about)
for _name in ("AnyNode", "BooleanNode", "BytesNode", "EnumNode", "FloatNode", "IntegerNode", "PathNode", "StringNode"):
    _put(getattr(nodes, _name), "__deepcopy__", _copied_value)
_put(defaults_list, "_create_interpolation_map", _choices)
_put(ConfigStore, "__deepcopy__", lambda self, memo: self)
"""Each composing copied all that was ever stored."""
