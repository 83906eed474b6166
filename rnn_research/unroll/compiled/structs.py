"""The C structs that the driver reads, laid out for ctypes as in structs.h, and the check that both agree."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

from torch import Tensor

_pointer, _int, _long, _double = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_double


class RunStruct(ctypes.Structure):
    _fields_ = [("block", _int), ("count", _int), ("acc", _int)]


class ProductStruct(ctypes.Structure):
    _fields_ = [
        *((name, _long) for name in ("source", "child", "part", "value", "blocks", "stage", "weight", "runs", "same")),
        *((name, _long) for name in ("offset", "row", "column")),
        ("run", ctypes.POINTER(RunStruct)),
    ]


class BiasStruct(ctypes.Structure):
    _fields_ = [("acc", _int), ("tensor", _int), ("offset", _long)]


class ProgramStruct(ctypes.Structure):
    _fields_ = [
        *((name, _long) for name in ("arity", "stages", "accs", "slots", "values", "products", "biases", "vectors")),
        ("product", ctypes.POINTER(ProductStruct)),
        ("bias", ctypes.POINTER(BiasStruct)),
        ("forward", _pointer),
        ("backward", _pointer),
    ]


class RowsStruct(ctypes.Structure):
    _fields_ = [("base", _pointer), ("inner", _long), ("near", _long), ("far", _long)]


class InterventionStruct(ctypes.Structure):
    _fields_ = [
        ("keep", ctypes.POINTER(_pointer)),
        *((name, _double) for name in ("exponent", "max_norm", "max_value")),
        ("later", _pointer),
        ("factor", _pointer),
        *((name, _pointer * 2) for name in ("recurrent", "adjoint", "preactivation")),
    ]


class FoldStruct(ctypes.Structure):
    _fields_ = [
        *((name, _long) for name in ("hidden", "features", "parts", "groups", "programs", "tensors")),
        ("program", ctypes.POINTER(ProgramStruct)),
        *((name, _pointer) for name in ("kind", "count", "row", "child")),
        *((name, ctypes.POINTER(_pointer)) for name in ("tensor", "gradient", "state")),
        ("tape", _pointer),
        ("keep", _long),
        ("input", RowsStruct),
        ("dinput", RowsStruct),
        *((name, ctypes.POINTER(_pointer)) for name in ("adjoint", "recurrent")),
        ("direct", ctypes.POINTER(RowsStruct)),
        ("norm", ctypes.POINTER(_pointer)),
        ("intervention", ctypes.POINTER(InterventionStruct)),
        *((name, _long) for name in ("threads", "samples")),
        ("sample", _pointer),
    ]


STRUCTS: dict[str, type[ctypes.Structure]] = {
    "Run": RunStruct,
    "Product": ProductStruct,
    "Bias": BiasStruct,
    "Program": ProgramStruct,
    "Rows": RowsStruct,
    "Intervention": InterventionStruct,
    "Fold": FoldStruct,
}
"""By the name that the struct has in C."""


def check_sizes(library: ctypes.CDLL) -> None:
    """Compare the size of every struct with the one that the loaded library was compiled for.

    Raises:
        RuntimeError: a size differs. What Python fills in would not be what the driver reads.
    """
    for name, struct in STRUCTS.items():
        try:
            size = ctypes.c_int64.in_dll(library, f"size_of_{name}").value
        except ValueError:  # no such symbol
            size = None
        if size != ctypes.sizeof(struct):
            raise RuntimeError(
                f"engine=native: the struct {name} has {size} bytes in the compiled driver (structs.h), but "
                f"{ctypes.sizeof(struct)} in Python (structs.py); give both the same fields in the same order"
            )


@functools.cache
def _array_type(kind: Any, count: int) -> Any:
    """The type of an array. It is made once: each type that ctypes makes is garbage in a cycle."""
    return kind * max(count, 1)


def array(kind: Any, items: Sequence[Any]) -> Any:
    """A C array of the items."""
    return _array_type(kind, len(items))(*items)


def pointers(tensors: Sequence[Tensor | None]) -> Any:
    """A C array of the tensors' addresses. None is NULL."""
    return array(_pointer, [None if tensor is None else tensor.data_ptr() for tensor in tensors])
