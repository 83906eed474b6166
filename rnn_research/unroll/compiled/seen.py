"""What a cell's update may read besides tensors, as it is now: where it has changed, a trace of it is stale.

Read are attributes, of the cell and its modules and of their classes; what functions of the user's name (globals, and
through them attributes of modules and of objects), close over, and have as defaults. Libraries are taken to stay as
they are; an object of a library's class counts by what it holds. Found by what the code names, not by running it: more
may be seen than is read. What can't be seen into (an object of C without attributes) counts by its type.
"""

from __future__ import annotations

import array
import collections
import contextvars
import datetime
import decimal
import fractions
import functools
import logging
import os
import pathlib
import types
import uuid
import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnn_research.cells.base import Cell
from rnn_research.unroll.compiled.named import OWN, Place, attributes, content, defaults, of_library, parts, places

DEEP = 40
"""How far into objects within objects it is looked."""
MOST = 2000
"""Objects that are looked at, at most: what has a whole program hanging from it counts by its type from there on."""

_PLACES: weakref.WeakKeyDictionary[Cell, tuple[Any, list[Place]]] = weakref.WeakKeyDictionary()


def seen(cell: Cell) -> tuple[Any, ...]:
    """What can be compared with another time's, and hashed. It keeps no cell alive."""
    last, known = _PLACES.get(cell, (None, []))
    found = _Look().at(cell, known)
    if found != last:  # other code may name other things
        known = places(cell)
        found = _Look().at(cell, known)
        _PLACES[cell] = found, known
    return found


SIMPLE = frozenset({type(None), bool, int, float, str, bytes, complex, torch.dtype, torch.device, torch.Size})
"""Types of values that are equal as long as they do the same."""
FIXED = (
    *(range, slice, fractions.Fraction, decimal.Decimal, uuid.UUID, pathlib.PurePath),
    *(datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo),
)
"""Types of values that say all of themselves, and never change."""
NUMBERS = (int, float, complex, str, bytes)
CLOSED = (types.ModuleType, logging.Logger, logging.Handler, torch.Generator)
"""What is not looked into: of a module what code names is seen by itself, and the others compute nothing."""


class _Look:
    """One look at everything. What has been looked at once counts by its type from then on."""

    def __init__(self) -> None:
        self.known: set[int] = set()

    def at(self, cell: Cell, known: list[Place]) -> tuple[Any, ...]:
        own = tuple([self.module(module) for module in ([cell] if not cell._modules else cell.modules())])
        return own, tuple([self.plain(space.get(name)) for space, name in known])

    def module(self, module: nn.Module) -> Any:
        plain = self.plain
        held = tuple([(name, plain(value)) for name, value in vars(module).items() if name not in OWN])
        if not (module._forward_hooks or module._forward_pre_hooks):
            return held, self.of(type(module))
        return held, self.of(type(module)), plain(module._forward_hooks), plain(module._forward_pre_hooks)

    def of(self, kind: type) -> Any:
        """The attributes of a class and those it inherits, and of its metaclass."""
        libraries, others = _ancestors(kind)
        own = [(name, self.plain(value)) for one in others for name, value in vars(one).items() if name[:2] != "__"]
        if not of_library(type(kind)):
            own.append(("", self.plain(type(kind))))
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
        if isinstance(value, FIXED):
            return kind, repr(value)
        if depth > DEEP or id(value) in self.known or len(self.known) > MOST:
            return kind
        self.known.add(id(value))
        return self._callable(value, depth + 1) or self._holder(value, depth + 1)

    def _callable(self, value: Any, depth: int) -> Any:
        """Of functions, what is like them, and classes; None: it is none of these."""
        if isinstance(value, types.FunctionType):
            held = [*map(content, value.__closure__ or ()), *defaults(value), *vars(value).items()]
            code = weakref.ref(value), weakref.ref(value.__code__)
            return *code, *[self.plain(one, depth) for one in held]
        if isinstance(value, types.BuiltinFunctionType):
            return weakref.ref(value), *[self.plain(one, depth) for one in parts(value)]
        if isinstance(value, type):
            return (weakref.ref(value),) if of_library(value) else (weakref.ref(value), self.of(value))
        if isinstance(value, functools.partial | types.MethodType | staticmethod | classmethod | property):
            return type(value), *[self.plain(one, depth) for one in parts(value)]
        if isinstance(value, weakref.ReferenceType):
            return type(value), self.plain(value(), depth)
        if isinstance(value, contextvars.ContextVar):
            return type(value), self.plain(value.get(None), depth)
        return None

    def _holder(self, value: Any, depth: int) -> Any:
        """Of collections and of objects, by what they hold."""
        if value is os.environ:
            return type(value), tuple(sorted(value.items()))
        if isinstance(value, nn.Module):  # not among the cell's own
            return type(value), *[self.module(one) for one in value.modules()]
        if isinstance(value, CLOSED):
            return type(value)
        found = self._content(value, depth)
        if found and of_library(type(value)):
            return type(value), *found
        return type(value), *found, *[(name, self.plain(one, depth)) for name, one in attributes(value)]

    def _content(self, value: Any, depth: int) -> list[Any]:
        """The members of a collection, the number that an object is, and the bytes that one has; of another nothing."""
        plain = self.plain
        if isinstance(value, set | frozenset):
            return [frozenset([plain(one, depth) for one in value])]
        if isinstance(value, tuple | list | collections.deque):
            return [plain(one, depth) for one in value]
        if isinstance(value, dict | types.MappingProxyType):
            return [(plain(key, depth), plain(one, depth)) for key, one in value.items()]
        if isinstance(value, bytearray | array.array | memoryview):
            return [bytes(value)]
        return [kind.__repr__(value) for kind in NUMBERS if isinstance(value, kind)]  # type: ignore[arg-type]


@functools.cache
def _ancestors(kind: type) -> tuple[list[type], list[type]]:
    """Of this package, and of the user's. Not of other libraries."""
    known = [one for one in kind.__mro__ if one.__module__.partition(".")[0] == "rnn_research"]
    return known, [one for one in kind.__mro__ if not of_library(one)]
