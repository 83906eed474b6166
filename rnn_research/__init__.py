"""Recurrent cells on chains and trees, and what their gradients do on the way back.

    from rnn_research import unroll, Chain, Forest, fit, load, compare

Importing the package imports nothing else: each of these is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

__version__ = "0.1.0"
# Bound by __getattr__, which pyright can't see.
__all__ = ["Chain", "Forest", "compare", "fit", "load", "unroll"]  # pyright: ignore[reportUnsupportedDunderAll]

_WHERE = {
    "Chain": "rnn_research.structures",
    "Forest": "rnn_research.structures",
    "fit": "rnn_research.training.fit",
    "load": "rnn_research.config.trained",
}
_ROOMS = ("compare", "unroll")
"""Packages of this one that are called as their function of the same name."""


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _CallableRoom(ModuleType):
    """A package with the name of its one function: `unroll(...)` stands for `unroll.unroll(...)`.

    An import of `rnn_research.unroll` binds the name `unroll` here to the package, whenever it happens; so the name
    can't stand for the function alone.
    """

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return vars(self)[self.__name__.rpartition(".")[2]](*arguments, **options)


class _Package(ModuleType):
    """This package: what it binds as a room becomes callable."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _ROOMS and type(value) is ModuleType:
            value.__class__ = _CallableRoom
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
