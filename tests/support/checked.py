"""The types and shapes in signatures, checked at every call of the package while testing.

jaxtyping's hook decorates every function with `jaxtyping.jaxtyped`, which checks arguments twice and results once, and
binds every call to its signature even where no shape is named: a step of training took three times as long. Put in its
place, `jaxtyped` checks the same annotations in one pass, and keeps axes only where a signature names some.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import beartype
import jaxtyping

ROOMS = (
    "cells",
    "clipping",
    "compare",
    "curves",
    "models",
    "regularizers",
    "statistics",
    "structures",
    "unroll",
)
"""The packages whose signatures name shapes. Those of the others pyright checks, at no cost in the tests' time."""
check = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True, violation_type=TypeError))
"""Checks the types of a function's arguments and result at every call; an int is a float."""
_jaxtyped: Any = jaxtyping.jaxtyped


def install() -> None:
    """Check what is imported from `ROOMS` from now on."""
    jaxtyping.jaxtyped = jaxtyped  # type: ignore[assignment]
    jaxtyping.install_import_hook([f"rnn_research.{room}" for room in ROOMS], "checked.check")


def jaxtyped(given: Any = None, *, typechecker: Callable[[Any], Any]) -> Any:
    """A function, method or dataclass whose annotations `typechecker` checks at every call."""
    again = functools.partial(jaxtyped, typechecker=typechecker)
    if given is None:
        return again
    if inspect.isclass(given):
        if dataclasses.is_dataclass(given) and "__init__" in vars(given):
            given.__init__ = again(given.__init__)  # type: ignore[misc]
        return given
    if isinstance(given, classmethod | staticmethod):
        return type(given)(again(given.__func__))
    if not inspect.isfunction(given):
        return _jaxtyped(given, typechecker=typechecker)
    return _checked(given, typechecker)


def _checked(function: Any, typechecker: Callable[[Any], Any]) -> Any:
    written = function.__annotations__
    hints = {name: _resolved(function, hint) for name, hint in written.items()}
    function.__annotations__ = hints
    try:
        checked = typechecker(function)
    finally:
        function.__annotations__ = written
    if checked is not function:
        checked.__annotations__ = written
    if any(map(_names_axes, hints.values())):
        return _jaxtyped(checked, typechecker=None)
    return checked


def _resolved(function: Any, hint: Any) -> Any:
    """What the annotation means; Any where its names are not there at run time (imported for type checkers alone)."""

    def one(value: Any) -> None: ...

    one.__annotations__ = {"value": hint}
    try:
        return get_type_hints(one, function.__globals__, include_extras=True)["value"]
    except Exception:
        return Any


def _names_axes(hint: Any) -> bool:
    if inspect.isclass(hint) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(map(_names_axes, hint if isinstance(hint, list | tuple) else get_args(hint)))
