"""What torch's functions of shapes do to symbols: they rearrange blocks, and compute nothing.

Axes other than the features are free; along the features only whole blocks can be cut, joined or counted. What would
look into a block, or sum over its features, raises `Untraceable`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from rnn_research.unroll.compiled.graph import Untraceable, array_of
from rnn_research.unroll.compiled.symbols import Symbol


def getitem(x: Symbol, index: Any) -> Symbol:
    """x[index], for numbers, slices, `...` and None."""
    index = index if isinstance(index, tuple) else (index,)
    if Ellipsis in index:
        place = index.index(Ellipsis)
        missing = x.array.ndim - sum(one is not None and one is not Ellipsis for one in index)
        index = (*index[:place], *(slice(None) for _ in range(missing)), *index[place + 1 :])
    axis, out = 0, []
    for one in index:
        if not (one is None or isinstance(one, int | slice)):
            raise Untraceable(f"an index of type {type(one).__name__}, expected numbers and slices")
        if one is not None:
            out.append(_feature_slice(x, one) if axis == x.array.ndim - 1 else one)
            axis += 1
        else:
            out.append(one)
    return x.like(x.array[tuple(out)])


def _feature_slice(x: Symbol, index: int | slice) -> slice:
    if not isinstance(index, slice):
        raise Untraceable("a single feature is picked, expected slices of hidden_size features")
    if index.step not in (None, 1):
        raise Untraceable(f"features with a step of {index.step}")
    start, stop = (end if end is None else x.to_blocks(end) for end in (index.start, index.stop))
    return slice(start, stop, index.step)


def split(x: Symbol, sizes: int | Sequence[int], dim: int = 0) -> tuple[Symbol, ...]:
    if dim % x.array.ndim != x.array.ndim - 1:
        raise Untraceable("`split` along another axis than the features")
    if isinstance(sizes, int):
        total = x.shape[-1]
        sizes = [min(sizes, total - start) for start in range(0, total, sizes)]
    ends = np.cumsum([x.to_blocks(size) for size in sizes])
    return tuple(x.like(part) for part in np.split(x.array, ends[:-1], axis=-1))


def chunk(x: Symbol, chunks: int, dim: int = 0) -> tuple[Symbol, ...]:
    return split(x, math.ceil(x.shape[dim] / chunks), dim)


def stack(tensors: Sequence[Symbol], dim: int = 0) -> Symbol:
    if dim == -1 or dim == tensors[0].array.ndim:
        raise Untraceable("`stack` along a new last axis")
    return tensors[0].like(copied(tensors[0], np.stack([one.array for one in tensors], axis=dim)))


def copied(x: Symbol, array: np.ndarray) -> np.ndarray:
    """What torch makes anew: other tensors than those that it is made of."""
    return cast(np.ndarray, np.frompyfunc(x.tracer.copy, 1, 1)(array))


def view(x: Symbol, *shape: Any) -> Symbol:
    sizes = list(shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)
    if sizes[-1] != -1:
        sizes[-1] = x.to_blocks(sizes[-1])
    return x.like(x.array.reshape(sizes))


def total(x: Symbol, dim: Any = None, keepdim: bool = False) -> Symbol:
    """x.sum(dim), over children or gates: one axis, and not the features."""
    if not isinstance(dim, int) or dim % x.array.ndim == x.array.ndim - 1:
        raise Untraceable("`sum` over the features; expected over children")
    terms = np.moveaxis(x.array, dim, 0)
    out = functools.reduce(functools.partial(x.tracer.each, "add"), terms)
    out = copied(x, out) if len(terms) == 1 else out
    return x.like(np.expand_dims(out, dim) if keepdim else out)


def unbind(x: Symbol, dim: int = 0) -> tuple[Symbol, ...]:
    if dim % x.array.ndim == x.array.ndim - 1:
        raise Untraceable("`unbind` along the features")
    return tuple(x.like(part) for part in np.moveaxis(x.array, dim, 0))


def zeros(x: Symbol, *shape: Any, **_: Any) -> Symbol:
    """x.new_zeros(shape), or zeros of x's own shape."""
    sizes = tuple(x.shape) if not shape else tuple(shape[0] if not isinstance(shape[0], int) else shape)
    shape = (*sizes[:-1], x.to_blocks(sizes[-1]))
    return x.like(array_of([x.tracer.number(0.0) for _ in range(math.prod(shape))]).reshape(shape))


def unsqueeze(x: Symbol, dim: int) -> Symbol:
    if dim in (-1, x.array.ndim):
        raise Untraceable("`unsqueeze` of a new last axis")
    return x.like(np.expand_dims(x.array, dim if dim >= 0 else dim + 1 + x.array.ndim))


def squeeze(x: Symbol, dim: int) -> Symbol:
    if dim % x.array.ndim == x.array.ndim - 1:
        raise Untraceable("`squeeze` of the features")
    return x.like(np.squeeze(x.array, axis=dim)) if x.array.shape[dim] == 1 else x


SHAPES: dict[str, Callable[..., Any]] = {
    "split": split,
    "chunk": chunk,
    "stack": stack,
    "view": view,
    "reshape": view,
    "sum": total,
    "unbind": unbind,
    "unsqueeze": unsqueeze,
    "squeeze": squeeze,
    "getitem": getitem,
    "new_zeros": zeros,
    "zeros_like": zeros,
    "contiguous": lambda x: x,
}
"""By torch's name."""
