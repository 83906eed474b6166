"""What a cell's update may read besides tensors, as it is now: where it has changed, a trace of it is stale.

Read are attributes, of the cell and its modules and of their classes; what functions of the user's name (globals, and
through them attributes of modules and of objects), close over, and have as defaults. Libraries are taken to stay as
they are. Found by what the code names, not by running it: more may be seen than is read. What can't be seen into (an
object of C without attributes) counts by its type.
"""

from __future__ import annotations

import functools
import os
import sys
import types
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnn_research.cells.base import Cell

LIBRARIES = frozenset(
    {*sys.stdlib_module_names, "torch", "numpy", "rnn_research", "lightning", "jaxtyping", "beartype"}
)
OWN = frozenset(vars(nn.Module())) - {"training"}
"""Of every module; its parameters, buffers and modules are seen elsewhere."""
DEEP = 8
"""How far into objects within objects it is looked."""
MOST = 1000
"""Places that are looked at, at most."""

Place = tuple[dict[str, Any], str]
"""A name in a namespace."""

_PLACES: weakref.WeakKeyDictionary[Cell, tuple[Any, list[Place]]] = weakref.WeakKeyDictionary()


def seen(cell: Cell) -> tuple[Any, ...]:
    """What can be compared with another time's, and hashed. It keeps no cell alive."""
    last, places = _PLACES.get(cell, (None, []))
    found = _Look().at(cell, places)
    if found != last:  # other code may name other things
        places = list(_places(cell))
        found = _Look().at(cell, places)
        _PLACES[cell] = found, places
    return found


SIMPLE = frozenset({type(None), bool, int, float, str, bytes, complex, torch.dtype, torch.device, torch.Size})
"""Types of values that are equal as long as they do the same."""


class _Look:
    """One look at everything. What has been looked at once counts by its type from then on."""

    def __init__(self) -> None:
        self.known: set[int] = set()

    def at(self, cell: Cell, places: list[Place]) -> tuple[Any, ...]:
        own = tuple([self.module(module) for module in ([cell] if not cell._modules else cell.modules())])
        return own, tuple([self.plain(space.get(name)) for space, name in places])

    def module(self, module: nn.Module) -> Any:
        plain = self.plain
        attributes = tuple([(name, plain(value)) for name, value in vars(module).items() if name not in OWN])
        if not (module._forward_hooks or module._forward_pre_hooks):
            return attributes, self.of(type(module))
        return attributes, self.of(type(module)), plain(module._forward_hooks), plain(module._forward_pre_hooks)

    def of(self, kind: type) -> Any:
        """The attributes of a class and those it inherits."""
        libraries, others = _ancestors(kind)
        own = [(name, self.plain(value)) for one in others for name, value in vars(one).items() if name[:2] != "__"]
        return tuple([id(value) for one in libraries for value in vars(one).values()]), tuple(own)

    def plain(self, value: Any, depth: int = 0) -> Any:
        """What is equal as long as nothing in a value changes: itself, or a weak reference, which holds nothing."""
        kind = type(value)
        if kind in SIMPLE:
            return kind, value
        if isinstance(value, Tensor):  # no trace keeps its numbers
            return kind, value.shape, value.dtype, value.requires_grad
        if isinstance(value, np.ndarray | np.generic):
            return kind, value.dtype.str, value.shape, value.tobytes()
        if depth > DEEP or id(value) in self.known:
            return kind
        self.known.add(id(value))
        return self._callable(value, depth + 1) or self._holder(value, depth + 1)

    def _callable(self, value: Any, depth: int) -> Any:
        """Of functions, what is like them, and classes; None: it is none of these."""
        if isinstance(value, types.FunctionType):
            held = [_content(cell) for cell in value.__closure__ or ()]
            more = [*held, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).items(), *vars(value).items()]
            return weakref.ref(value), *[self.plain(one, depth) for one in more]
        if isinstance(value, types.BuiltinFunctionType):
            return (weakref.ref(value),)
        if isinstance(value, type):
            return (weakref.ref(value),) if _of_library(value) else (weakref.ref(value), self.of(value))
        if isinstance(value, functools.partial | types.MethodType | staticmethod | classmethod | property):
            return type(value), *[self.plain(one, depth) for one in _parts(value)]
        return None

    def _holder(self, value: Any, depth: int) -> Any:
        """Of collections and of objects, by what they hold; an object of a library's class by its type alone."""
        plain = self.plain
        if value is os.environ:
            return type(value), tuple(sorted(value.items()))
        if isinstance(value, set | frozenset):
            return type(value), frozenset([plain(one, depth) for one in value])
        if isinstance(value, tuple | list):
            return type(value), *[plain(one, depth) for one in value]
        if isinstance(value, dict | types.MappingProxyType):
            return type(value), *[(plain(key, depth), plain(one, depth)) for key, one in value.items()]
        if isinstance(value, types.ModuleType | nn.Module) or not _open(value):
            return type(value)
        return type(value), *[(name, plain(one, depth)) for name, one in _attributes(value)]


@functools.cache
def _ancestors(kind: type) -> tuple[list[type], list[type]]:
    """Of this package, and of the user's. Not of other libraries."""
    known = [one for one in kind.__mro__ if one.__module__.partition(".")[0] == "rnn_research"]
    return known, [one for one in kind.__mro__ if not _of_library(one)]


def _content(held: types.CellType) -> Any:
    try:
        return held.cell_contents
    except ValueError:  # empty yet
        return None


def _open(value: Any) -> bool:
    return isinstance(value, types.SimpleNamespace) or not _of_library(type(value))


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    yield from getattr(value, "__dict__", {}).items()
    for one in type(value).__mro__:
        slots = vars(one).get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            if hasattr(value, name) and name not in ("__dict__", "__weakref__"):
                yield name, getattr(value, name)


@functools.cache
def _library(name: str | None) -> bool:
    if not name or name.partition(".")[0] in LIBRARIES:
        return True
    return "site-packages" in (getattr(sys.modules.get(name), "__file__", None) or "")


@functools.cache
def _of_library(kind: type) -> bool:
    """Whether a class is a library's. One that `type(name, bases, ...)` made says that it is of the module `abc`."""
    home, top = sys.modules.get(kind.__module__), kind.__qualname__.partition(".")[0]
    return _library(kind.__module__) and (home is None or "<locals>" in kind.__qualname__ or hasattr(home, top))


# What code names


def _places(cell: Cell) -> Iterator[Place]:
    """The global names, and those of modules, that functions of the user's read which the cell can reach."""
    front: list[Any] = [one for module in cell.modules() for one in (type(module), *_values(module))]
    known: set[int] = set()
    count = 0
    while front:
        value = front.pop()
        if id(value) in known or isinstance(value, int | float | str | bytes | Tensor | np.ndarray | None):
            continue
        known.add(id(value))
        if isinstance(value, types.FunctionType) and not _library(value.__globals__.get("__name__")):
            for place in _named(value):
                count += 1
                if count > MOST:
                    return
                yield place
                front.append(place[0][place[1]])
        front += _parts(value)


def _values(module: nn.Module) -> list[Any]:
    return [value for name, value in vars(module).items() if name not in OWN]


def _parts(value: Any) -> list[Any]:
    """What an object is made of, as far as functions may be among it."""
    if isinstance(value, types.FunctionType):
        return [*map(_content, value.__closure__ or ()), *(value.__defaults__ or ()), *vars(value).values()]
    if isinstance(value, type):
        return [] if _of_library(value) else [one for base in value.__mro__ for one in vars(base).values()]
    if isinstance(value, types.MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, staticmethod | classmethod):
        return [value.__func__]
    if isinstance(value, property):
        return [value.fget]
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, tuple | list | set | frozenset):
        return list(value)
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, types.ModuleType | nn.Module) or not _open(value):
        return []
    return [type(value), *(one for _, one in _attributes(value))]


def _named(function: types.FunctionType) -> Iterator[Place]:
    names, space = set(_names(function.__code__)), function.__globals__
    if names & {"environ", "getenv"}:
        yield os.__dict__, "environ"
    for name in sorted(names & space.keys()):
        value = space[name]
        if isinstance(value, types.ModuleType):
            if not _library(value.__name__):
                yield from ((vars(value), one) for one in sorted(names & vars(value).keys()))
        elif not (isinstance(value, type) and _of_library(value)):
            yield space, name


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
