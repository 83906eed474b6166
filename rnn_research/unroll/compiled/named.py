"""What code names: the globals that a cell's functions may read, and what no look can tell to have changed."""

from __future__ import annotations

import functools
import os
import random
import sys
import time
import types
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from torch import Tensor, nn

from rnn_research.cells.base import Cell

LIBRARIES = frozenset(
    {*sys.stdlib_module_names, "torch", "numpy", "rnn_research", "lightning", "jaxtyping", "beartype"}
)
OWN = frozenset(vars(nn.Module())) - {"training"}
"""Of every module; its parameters, buffers and modules are seen elsewhere."""
NUMBERS = (type(None), bool, int, float, complex, str, bytes)
MOST = 1000
"""Places that are looked at, at most."""

BY_TEXT = frozenset({"getattr", "globals", "vars", "locals", "attrgetter", "__dict__"})
"""With these, code may read what it does not name."""

UNSTEADY = frozenset(
    {
        *("perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "time_ns", "process_time", "now", "utcnow"),
        *("today", "open", "read_text", "read_bytes", "is_grad_enabled", "is_inference_mode_enabled"),
        *("get_num_threads", "are_deterministic_algorithms_enabled"),
    }
)
"""Names of what gives another answer at another time, with nothing to be seen that has changed."""

WRITTEN_AS_READ = "_flags_cache"
"""An attribute of OmegaConf's configs."""

Place = tuple[dict[str, Any], str]
"""A name in a namespace."""


def places(cell: Cell) -> list[Place]:
    """The global names, and those of modules, that functions of the user's read which the cell can reach."""
    front: list[Any] = [one for module in cell.modules() for one in (type(module), *values(module))]
    known: set[int] = set()
    names: set[str] = set()
    spaces: dict[int, dict[str, Any]] = {}
    found: dict[tuple[int, str], Place] = {}
    while front:
        while front:
            value = front.pop()
            if id(value) in known or isinstance(value, int | float | str | bytes | Tensor | np.ndarray | None):
                continue
            known.add(id(value))
            if isinstance(value, types.FunctionType) and not is_library(value.__globals__.get("__name__")):
                names.update(_names(value.__code__))
                spaces[id(value.__globals__)] = value.__globals__
            elif isinstance(value, types.ModuleType) and not is_library(value.__name__):
                spaces[id(vars(value))] = vars(value)
            front += parts(value)
        imported = [sys.modules[name] for name in names & sys.modules.keys()]
        front += [one for one in imported if id(one) not in known and not is_library(one.__name__)]
        for space in spaces.values():
            for name in sorted(_read(space, names)):
                if (id(space), name) not in found and len(found) < MOST:
                    found[id(space), name] = space, name
                    front.append(space[name])
    return [*found.values(), *([(os.__dict__, "environ")] if names & {"environ", "getenv"} else [])]


def _read(space: dict[str, Any], names: set[str]) -> set[str]:
    """What of a namespace code with such names may read: not what libraries have."""
    found = names & space.keys()
    if names & BY_TEXT:
        found |= {name for name, value in space.items() if type(value) in NUMBERS and name[:2] != "__"}
    return {name for name in found if not _is_of_library(space[name])}


def _is_of_library(value: Any) -> bool:
    """Whether a value is a library's module or class."""
    if isinstance(value, types.ModuleType):
        return is_library(value.__name__)
    return isinstance(value, type) and of_library(value)


def unsteady(cell: Cell) -> str:
    """What the update's code names that gives another answer at another time; empty: nothing."""
    kinds = [one for module in cell.modules() for one in type(module).__mro__ if not of_library(one)]
    front = [vars(one).get(name) for one in kinds for name in ("step", "project", "forward")]
    front += [vars(cell).get(name) for name in ("step", "project")]
    known: set[int] = set()
    while front:
        value = front.pop()
        if value is None or id(value) in known:
            continue
        known.add(id(value))
        if not isinstance(value, types.FunctionType):
            if isinstance(value, property) or (callable(value) and not isinstance(value, type)):
                front += parts(value)
            continue
        if is_library(value.__globals__.get("__name__")):
            continue
        names, space = set(_names(value.__code__)), value.__globals__
        found = {name for name in names & UNSTEADY if not hasattr(cell, name)}
        found |= {name for name in names & space.keys() if space[name] is time or space[name] is random}
        if found:
            return sorted(found)[0]
        front += [vars(one)[name] for one in (*kinds, *cell.modules()) for name in names & vars(one).keys()]
        front += [space[name] for name in names & space.keys() if callable(space[name])]
        front += parts(value)
    return ""


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


# What values are made of


def values(module: nn.Module) -> list[Any]:
    """A module's attributes, without those that torch keeps."""
    return [value for name, value in vars(module).items() if name not in OWN]


def parts(value: Any) -> list[Any]:
    """What an object is made of, as far as functions may be among it."""
    if isinstance(value, types.FunctionType):
        return [*map(content, value.__closure__ or ()), *defaults(value), *vars(value).values()]
    if isinstance(value, type):
        return [] if of_library(value) else [one for base in value.__mro__ for one in vars(base).values()]
    if isinstance(value, types.MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, types.BuiltinFunctionType):
        return [] if isinstance(value.__self__, types.ModuleType) else [value.__self__]
    if isinstance(value, staticmethod | classmethod):
        return [value.__func__]
    if isinstance(value, property):
        return [value.fget]
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, tuple | list | set | frozenset):
        return [*value, *_own_attributes(value)]
    if isinstance(value, dict):
        return [*value.values(), *_own_attributes(value)]
    if isinstance(value, types.ModuleType):
        return []
    if isinstance(value, nn.Module):
        return [type(value), *values(value)]
    return [type(value), *(one for _, one in attributes(value))]


def _own_attributes(collection: Any) -> Iterable[Any]:
    """Of a collection of the user's class."""
    return [] if of_library(type(collection)) else [type(collection), *(one for _, one in attributes(collection))]


def defaults(function: types.FunctionType) -> list[Any]:
    """What a function's arguments are where none is given."""
    return [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]


def attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """An object's attributes and slots, by name."""
    yield from [pair for pair in getattr(value, "__dict__", {}).items() if pair[0] != WRITTEN_AS_READ]
    for one in type(value).__mro__:
        slots = vars(one).get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            if hasattr(value, name) and name not in ("__dict__", "__weakref__"):
                yield name, getattr(value, name)


def content(held: types.CellType) -> Any:
    """What a closure holds; None: nothing yet."""
    try:
        return held.cell_contents
    except ValueError:
        return None


@functools.cache
def is_library(name: str | None) -> bool:
    """Whether a module is a library's, by its name."""
    if not name or name.partition(".")[0] in LIBRARIES:
        return True
    return "site-packages" in (getattr(sys.modules.get(name), "__file__", None) or "")


@functools.cache
def of_library(kind: type) -> bool:
    """Whether a class is a library's. One that `type(name, bases, ...)` made says that it is of the module `abc`."""
    home, top = sys.modules.get(kind.__module__), kind.__qualname__.partition(".")[0]
    return is_library(kind.__module__) and (home is None or "<locals>" in kind.__qualname__ or hasattr(home, top))
