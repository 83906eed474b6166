"""The types and shapes in signatures, checked at every call of the package while testing.

jaxtyping's hook decorates every function with `jaxtyping.jaxtyped`, which checks arguments twice and results once, and
binds every call to its signature: a step of training took three times as long. Put in its place, `jaxtyped` checks the
same annotations in one pass, binds nothing, and keeps axes only where a signature names some. Of a function within a
function, which is made anew at each call of that, the checks are written once. An array whose type and dtype were right
before, and whose axes are plainly of the right sizes, is right: jaxtyping is asked of all others.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
from collections.abc import Callable
from typing import Any, NamedTuple, get_args, get_type_hints

import beartype
import jaxtyping
from jaxtyping._array_types import _MetaAbstractArray, _NamedDim
from jaxtyping._storage import get_shape_memo

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
_axes = _jaxtyped("context")
_annotated: Any = _MetaAbstractArray
_says_jaxtyping = _annotated.__instancecheck__
_right: dict[tuple[Any, Any], list[str]] = {}
"""The names of all axes, by annotations and the dtypes of arrays that were right."""


def install() -> None:
    """Check what is imported from `ROOMS` from now on."""
    jaxtyping.jaxtyped = jaxtyped  # type: ignore[assignment]
    _annotated.__instancecheck__ = is_right
    jaxtyping.install_import_hook([f"rnn_research.{room}" for room in ROOMS], "checked.check")


def is_right(annotation: Any, value: Any) -> bool:
    """Whether an array is what an annotation says. What jaxtyping would keep of its axes is kept."""
    if type(value) is not annotation.array_type:
        return _says_jaxtyping(annotation, value)
    kind, shape = (annotation, value.dtype), value.shape
    axes = _right.get(kind)
    if axes is not None and len(axes) == len(shape):
        sizes, added = get_shape_memo()[0], []
        for axis, size in zip(axes, shape):  # noqa: B905, of one length
            if axis not in sizes:
                sizes[axis] = size
                added.append(axis)
            elif sizes[axis] != size:
                break
        else:
            return True
        for axis in added:
            del sizes[axis]
    right = _says_jaxtyping(annotation, value)
    if right and axes is None and all(map(_is_plain, annotation.dims)):
        _right[kind] = [axis.name for axis in annotation.dims]
    return right


def _is_plain(axis: Any) -> bool:
    """Whether an axis is a name and nothing else, as `2*n`, `*shape`, `...` or `_`."""
    return isinstance(axis, _NamedDim) and not (axis.broadcastable or axis.treepath)


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
    code = function.__code__
    if id(code) not in _written:
        _written[id(code)] = _write(function, typechecker)
    checked = _written[id(code)].around(function)
    return _with_axes(checked) if _written[id(code)].names_axes else checked


class _Written(NamedTuple):
    function: Any
    checked: Any
    """`function` where its signature says nothing."""
    names_axes: bool

    def around(self, function: Any) -> Any:
        """The checks around `function`, which is of the same code: beartype's wrapper holds what it wraps as the
        default of an argument."""
        made = self.checked
        if self.function in (function, made):
            return function if made is self.function else made
        again = types.FunctionType(made.__code__, made.__globals__, made.__name__, made.__defaults__, made.__closure__)
        functools.update_wrapper(again, function)
        again.__kwdefaults__ = {
            name: function if value is self.function else value for name, value in made.__kwdefaults__.items()
        }
        return again


_written: dict[int, _Written] = {}
"""By the code of a function."""


def _write(function: Any, typechecker: Callable[[Any], Any]) -> _Written:
    written = function.__annotations__
    hints = {name: _resolved(function, hint) for name, hint in written.items()}
    function.__annotations__ = hints
    try:
        checked = typechecker(function)
    finally:
        function.__annotations__ = written
    if checked is not function:
        checked.__annotations__ = written
    return _Written(function, checked, any(map(_names_axes, hints.values())))


def _with_axes(checked: Any) -> Any:
    """Within each call, axes of one name are of one size."""

    @functools.wraps(checked)
    def within(*args: Any, **kwargs: Any) -> Any:
        with _axes:
            return checked(*args, **kwargs)

    return within


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
