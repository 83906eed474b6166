"""What torch's functions and methods do to symbols, by name: products, elementwise operations, and what those make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from rnn_research.unroll.compiled.graph import INPUT, Product, Untraceable, array_of
from rnn_research.unroll.compiled.operations import OPERATIONS
from rnn_research.unroll.compiled.shapes import SHAPES, copied
from rnn_research.unroll.compiled.symbols import Input, Symbol, Traced
from rnn_research.unroll.compiled.tracer import Tracer

PLAIN = ("shape", "dtype", "device", "ndim", "layout", "__len__", "size", "dim", "numel")
"""What a tensor without values can answer itself."""

VALUES = (
    *("item", "tolist", "numpy", "equal", "allclose", "is_nonzero"),
    *("__bool__", "__int__", "__float__", "__index__", "__array__", "__contains__", "__format__", "__repr__"),
    *("__dlpack__", "untyped_storage", "storage", "data_ptr", "_version", "grad"),
)
"""What makes numbers, or text, of the cell's tensors: the code would keep them while the tensors change."""

SYNONYMS = {
    "true_divide": "div",
    "truediv": "div",
    "divide": "div",
    "multiply": "mul",
    "subtract": "sub",
    "radd": "add",
    "rmul": "mul",
    "rtruediv": "rdiv",
}


class Tracing(TorchFunctionMode):
    """While it is entered, functions of torch on symbols are traced; on other tensors they are what they are.

    Raises:
        Untraceable: from within such a function, where it has no native form.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", str(func))
        if name == "__get__":
            name = getattr(func.__self__, "__name__", "attribute")
        if name in PLAIN:
            return func(*args, **kwargs)
        if name in ("requires_grad", "is_leaf", "grad_fn") and any(map(_traced, args)):
            raise Untraceable(f"the update asks for `{name}`, as what acts on gradients does")
        if not torch.is_grad_enabled() and any(isinstance(one, Tensor) for one in args):
            raise Untraceable("the update switches gradients off")
        if not any(map(_traced, (*args, *kwargs.values()))):
            if name in VALUES:
                raise Untraceable(f"the update reads the value of a tensor (`{name.strip('_')}`)")
            return func(*args, **kwargs)
        with self:  # what a function is composed of is traced in its turn
            return call(name, *args, **kwargs)


def _traced(argument: Any) -> bool:
    return isinstance(argument, Traced) or (isinstance(argument, tuple | list) and any(map(_traced, argument)))


def call(name: str, *args: Any, **kwargs: Any) -> Any:
    """The function or method `name` of torch on symbols.

    Raises:
        Untraceable: it has no native form, or not with these arguments.
    """
    if name.startswith("__"):
        name = name.strip("_")
    name = SYNONYMS.get(name, name)
    if kwargs.pop("inplace", False):
        raise Untraceable(f"`{name}` in place")
    for known in (SHAPES, PRODUCTS, COMPOSED):
        if name in known:
            return known[name](*args, **kwargs)
    if name in OPERATIONS and not kwargs:
        return elementwise(name, *args)
    if name in ("bool", "iter", "item", "float", "int"):
        raise Untraceable("the update looks at a tensor's values (it branches on them, or loops)")
    given = f" with {', '.join(kwargs)}" if kwargs and name in OPERATIONS else ""
    raise Untraceable(f"`{name}`{given} is no elementwise operation or product known to the compiler")


def elementwise(name: str, *operands: Any) -> Symbol:
    """An operation among `OPERATIONS` on symbols, the cell's vectors and numbers, broadcast as torch would."""
    tracer = next(one.tracer for one in operands if isinstance(one, Traced))
    arrays = [_blocks(tracer, one) for one in operands]
    sizes = {array.shape[-1] for array in arrays if isinstance(array, np.ndarray)}
    if len(sizes) > 1:
        raise Untraceable(f"`{name}` of tensors with {sorted(size * tracer.hidden for size in sizes)} features")
    return Symbol(tracer, tracer.each(name, *arrays))


def _blocks(tracer: Tracer, operand: Any) -> np.ndarray | float:
    if isinstance(operand, Symbol):
        return operand.array
    if isinstance(operand, bool) or not isinstance(operand, Tensor | int | float | np.number):
        raise Untraceable(f"an operand of type {type(operand).__name__}")
    if isinstance(operand, Traced):
        raise Untraceable("the inputs are used outside a product")
    if isinstance(operand, Tensor):
        return tracer.blocks(operand)
    return float(operand)


def linear(x: Input | Symbol, weight: Tensor, bias: Tensor | None = None) -> Symbol:
    """x W^T + b, for a W (n * hidden, features of x) among the cell's tensors."""
    tracer = x.tracer
    if not isinstance(weight, Tensor) or isinstance(weight, Traced) or weight.ndim != 2:
        raise Untraceable(f"a product with {_shape(weight)}, expected (n * hidden, ...)")
    if weight.shape[0] % tracer.hidden:
        raise Untraceable(f"a product with {_shape(weight)}, expected (n * hidden, ...)")
    if x.shape[-1] != weight.shape[1]:
        raise Untraceable(f"a product of {x.shape[-1]} features with a weight for {weight.shape[1]}")
    rows, view = weight.shape[0] // tracer.hidden, tracer.view(weight)
    if isinstance(x, Input):
        made = [array_of(tracer.product(Product(INPUT, view, node=node), rows)) for node in range(tracer.nodes)]
        out = np.stack(made)
    else:
        flat = x.array.reshape(-1, x.array.shape[-1])
        made = [array_of(tracer.product_of(list(blocks), view, rows)) for blocks in flat]
        out = np.stack(made).reshape(*x.array.shape[:-1], rows)
    found = Symbol(tracer, out)
    return found if bias is None else elementwise("add", found, bias)


def _shape(tensor: Any) -> Any:
    return getattr(tensor, "shape", type(tensor).__name__)


def _matmul(x: Any, other: Any) -> Symbol:
    if isinstance(other, Traced) or not isinstance(x, Traced) or other.ndim != 2:
        raise Untraceable("`matmul` of two tensors of the update, expected one with a weight")
    return linear(x, other.T)  # type: ignore[arg-type]


def _cat(tensors: Sequence[Symbol], dim: int = 0) -> Symbol:
    arrays = [_blocks(tensors[0].tracer, one) for one in tensors]
    return tensors[0].like(copied(tensors[0], np.concatenate(arrays, axis=dim)))  # type: ignore[arg-type]


def _clamp(x: Any, low: float | None, high: float | None) -> Any:
    x = x if low is None else elementwise("clamp_min", x, low)
    return x if high is None else elementwise("clamp_max", x, high)


def _power(x: Any, power: Any) -> Any:
    if power not in (1, 2, 3):
        raise Untraceable(f"`pow` with exponent {power}, expected 1, 2 or 3")
    return x if power == 1 else x * x if power == 2 else x * x * x


PRODUCTS: dict[str, Callable[..., Any]] = {
    "linear": linear,
    "matmul": _matmul,
    "mm": _matmul,
    "addmm": lambda bias, x, weight: elementwise("add", _matmul(x, weight), bias),
    "cat": _cat,
    "concat": _cat,
}

COMPOSED: dict[str, Callable[..., Any]] = {
    "rsub": lambda a, b: elementwise("sub", b, a),
    "rdiv": lambda a, b: elementwise("div", b, a),
    "square": lambda x: elementwise("mul", x, x),
    "reciprocal": lambda x: elementwise("div", 1.0, x),
    "lerp": lambda a, b, w: a + w * (b - a),
    "addcmul": lambda a, b, c, value=1: a + value * (b * c),
    "silu": lambda x: x * call("sigmoid", x),
    "softplus": lambda x: call("maximum", x, 0.0) + call("log1p", call("exp", -call("abs", x))),
    "log_sigmoid": lambda x: -call("softplus", -x),
    "softsign": lambda x: x / (1 + call("abs", x)),
    "clamp": lambda x, min=None, max=None: _clamp(x, min, max),
    "hardtanh": lambda x, min_val=-1.0, max_val=1.0: elementwise("below", elementwise("above", x, min_val), max_val),
    "relu": lambda x: elementwise("relu", x),
    "clone": lambda x: elementwise("identity", x),  # a state of its own, with an adjoint of its own
    "leaky_relu": lambda x, negative_slope=0.01: negative_slope * x + (1 - negative_slope) * call("relu", x),
    "pow": lambda x, power: _power(x, power),
}
"""Functions made of `OPERATIONS`."""
