"""What a cell's `step` computes, found by running it once on symbols.

A symbol stands for a tensor of shape (nodes, ..., features) and is an array of *blocks*, each `hidden_size` wide. What
acts on shapes (chunk, cat, stack, view, ...) rearranges blocks; products with the cell's weights and elementwise
operations are written into a `torch.fx.Graph`, one node a block. What is neither raises `Untraceable`, which says what
it was. (`torch.fx.symbolic_trace` itself can't see through `len`, shapes or slices of features, and knows no blocks.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from rnn_research.cells.base import Cell

INPUT, CHILD, VALUE = range(3)


class Untraceable(Exception):
    """The cell's update has no native form: says what stopped it."""


@dataclass(frozen=True)
class View:
    """A weight's place: number of the cell's tensor, offset in it, and strides of rows and columns."""

    tensor: int
    offset: int
    row: int
    column: int


@dataclass(eq=False)
class Product:
    """`source` W^T for the W at `weight`. The source is the node's input, the h (or other part) of `count` children
    from `first` on, or values that the update computed."""

    source: int
    weight: View
    part: int = 0
    first: int = 0
    count: int = 0
    values: tuple[fx.Node, ...] = ()


@dataclass(frozen=True)
class Trace:
    """The update with `arity` previous states. A node's `meta["leaf"]` is ("product", Product, row block),
    ("child", child, part) or ("tensor", number, block); `outputs` has a node for each part of the new state."""

    arity: int
    graph: fx.Graph
    outputs: tuple[fx.Node, ...]
    products: tuple[Product, ...]


class Tracer:
    """Gathers the graph of one `step`."""

    def __init__(self, cell: Cell) -> None:
        self.hidden, self.nodes, self.dtype = cell.hidden_size, 1, next(cell.parameters()).dtype
        self.graph = fx.Graph()
        self.products: list[Product] = []
        self.tensors = tensors_of(cell)
        self._leaves: dict[Any, fx.Node] = {}

    def leaf(self, *what: Any) -> fx.Node:
        if what not in self._leaves:
            node = self.graph.create_node("placeholder", f"{what[0]}_{len(self._leaves)}")
            node.meta["leaf"] = what
            self._leaves[what] = node
        return self._leaves[what]

    def call(self, name: str, *operands: fx.Node | float) -> fx.Node | float:
        """One elementwise operation on blocks; numbers are folded where they are neutral."""
        folded = _fold(name, operands)
        if folded is not None:
            return folded
        return self.node(name, *operands)

    def node(self, name: str, *operands: fx.Node | float) -> fx.Node:
        node = self.graph.create_node("call_function", FUNCTIONS[name], operands, {}, name)
        node.meta["operation"] = name
        return node

    def view(self, tensor: Tensor) -> View:
        """Where a 1- or 2-dimensional tensor lies among the cell's own.

        Raises:
            Untraceable: it is no view of one.
        """
        for number, own in enumerate(self.tensors):
            if own.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr():
                offset = tensor.storage_offset() - own.storage_offset()
                strides = (0, *tensor.stride())[-2:]
                last = offset + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
                if own.is_contiguous() and offset >= 0 and last < own.numel():
                    return View(number, offset, *strides)
        raise Untraceable(
            f"a tensor of shape {tuple(tensor.shape)} is not (a slice of) the cell's parameters or buffers"
        )

    def blocks(self, tensor: Tensor) -> np.ndarray:
        """A vector of the cell as blocks: a bias, a peephole."""
        if tensor.ndim == 0 or tensor.shape[-1] % self.hidden or tensor.numel() != tensor.shape[-1]:
            raise Untraceable(f"a tensor of shape {tuple(tensor.shape)}, expected a vector of n * hidden_size elements")
        view = self.view(tensor.reshape(-1))
        if view.column != 1 or view.offset % self.hidden:
            raise Untraceable("a vector that is no slice of n * hidden_size elements")
        first, count = view.offset // self.hidden, tensor.numel() // self.hidden
        out = np.empty((*(1 for _ in range(tensor.ndim - 1)), count), object)
        out.reshape(-1)[:] = [self.leaf("tensor", view.tensor, first + block) for block in range(count)]
        return out


def tensors_of(cell: Cell) -> list[Tensor]:
    """The cell's parameters, then its buffers: what a trace's tensor numbers count."""
    return [*cell.parameters(), *cell.buffers()]


def trace(cell: Cell, arity: int) -> Trace:
    """The update `cell.step(cell.project(x), *previous)` with `arity` previous states.

    Raises:
        Untraceable: it does something other than products with its weights and elementwise operations.
    """
    tracer = Tracer(cell)
    parts = range(len(cell.state_names))
    previous = [
        cell.state_type(*(Symbol(tracer, _array([tracer.leaf("child", child, part)])) for part in parts))
        for child in range(arity)
    ]
    try:
        with torch.no_grad():
            state = cell.step(cell.project(Input(tracer, cell.input_size)), *previous)  # type: ignore[arg-type]
    except Untraceable:
        raise
    except Exception as error:
        raise Untraceable(f"{type(error).__name__}: {error}") from error
    if not isinstance(state, tuple) or len(state) != len(parts):
        raise Untraceable(f"step returned {type(state).__name__}, expected a state of {len(parts)} parts")
    outputs: list[fx.Node] = []
    for part in state:
        if not isinstance(part, Symbol) or part.array.size != 1:
            raise Untraceable("step returned a part that is not (nodes, hidden)")
        node = part.array.flat[0]
        if not isinstance(node, fx.Node) or "leaf" in node.meta or node in outputs:  # each part has a node of its own
            node = tracer.node("identity", node)
        outputs.append(node)
    tracer.graph.output(tuple(outputs))
    return Trace(arity, tracer.graph, tuple(outputs), tuple(tracer.products))


def _array(nodes: Sequence[Any]) -> np.ndarray:
    out = np.empty((1, len(nodes)), object)
    out[0, :] = nodes
    return out


class Traced(Tensor):
    """A tensor of the trace: it has a shape, but what is done to it is looked up by name."""

    tracer: Tracer

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", str(func))
        if name == "__get__":
            name = getattr(func.__self__, "__name__", "attribute")
        if name in PLAIN:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))
        return call(name, *args, **(kwargs or {}))


PLAIN = ("shape", "dtype", "device", "ndim", "layout", "requires_grad", "is_leaf", "__len__", "size", "dim", "numel")
"""What a tensor without values can answer itself."""


class Input(Traced):
    """The inputs x: only products read them."""

    @staticmethod
    def __new__(cls, tracer: Tracer, size: int) -> Input:
        made = torch.empty(tracer.nodes, size, dtype=tracer.dtype, device="meta").as_subclass(cls)
        made.tracer = tracer
        return made

    def __init__(self, tracer: Tracer, size: int) -> None:
        super().__init__()


class Symbol(Traced):
    """An array of blocks: axes as the tensor's, the last one counting blocks of `hidden_size` features."""

    array: np.ndarray

    @staticmethod
    def __new__(cls, tracer: Tracer, array: np.ndarray) -> Symbol:
        shape = (*array.shape[:-1], array.shape[-1] * tracer.hidden)
        made = torch.empty(shape, dtype=tracer.dtype, device="meta").as_subclass(cls)
        made.tracer, made.array = tracer, array
        return made

    def __init__(self, tracer: Tracer, array: np.ndarray) -> None:
        super().__init__()

    def like(self, array: np.ndarray) -> Symbol:
        return Symbol(self.tracer, array)

    def to_blocks(self, features: int | None) -> int | None:
        if features is not None and features % self.tracer.hidden:
            raise Untraceable(f"{features} features are cut off, expected multiples of hidden_size")
        return None if features is None else features // self.tracer.hidden


# Functions by name: torch's functions and tensors' methods alike


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


def call(name: str, *args: Any, **kwargs: Any) -> Any:
    """The function or method `name` of torch on symbols."""
    if name.startswith("__"):
        name = name.strip("_")
    name = SYNONYMS.get(name, name)
    if name in SHAPES:
        return SHAPES[name](*args, **kwargs)
    if name in COMPOSED:
        return COMPOSED[name](*args, **kwargs)
    if name in FUNCTIONS and not kwargs:
        return elementwise(name, *args)
    if name in ("bool", "iter", "item", "float", "int"):
        raise Untraceable("the update looks at a tensor's values (it branches on them, or loops)")
    given = f" with {', '.join(kwargs)}" if kwargs and name in FUNCTIONS else ""
    raise Untraceable(f"`{name}`{given} is no elementwise operation or product known to the compiler")


def elementwise(name: str, *operands: Any) -> Symbol:
    tracer = next(one.tracer for one in operands if isinstance(one, Traced))
    arrays = [_blocks(tracer, one) for one in operands]
    sizes = {array.shape[-1] for array in arrays if isinstance(array, np.ndarray)}
    if len(sizes) > 1:
        raise Untraceable(f"`{name}` of tensors with {sorted(size * tracer.hidden for size in sizes)} features")
    out = np.frompyfunc(lambda *nodes: tracer.call(name, *nodes), len(arrays), 1)(*arrays)
    return Symbol(tracer, out)


def _blocks(tracer: Tracer, operand: Any) -> Any:
    if isinstance(operand, Symbol):
        return operand.array
    if isinstance(operand, bool) or not isinstance(operand, Tensor | int | float | np.number):
        raise Untraceable(f"an operand of type {type(operand).__name__}")
    if isinstance(operand, Traced):
        raise Untraceable("the inputs are used outside a product")
    if isinstance(operand, Tensor):
        return tracer.blocks(operand)
    return float(operand)


def _getitem(x: Symbol, index: Any) -> Symbol:
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
            if axis == x.array.ndim - 1:
                if not isinstance(one, slice):
                    raise Untraceable("a single feature is picked, expected slices of hidden_size features")
                one = slice(*(x.to_blocks(end) for end in (one.start, one.stop)), one.step)
            axis += 1
        out.append(one)
    return x.like(x.array[tuple(out)])


def _linear(x: Any, weight: Tensor, bias: Tensor | None = None) -> Symbol:
    tracer: Tracer = x.tracer
    if (
        isinstance(weight, Traced)
        or not isinstance(weight, Tensor)
        or weight.ndim != 2
        or weight.shape[0] % tracer.hidden
    ):
        raise Untraceable(
            f"a product with {getattr(weight, 'shape', type(weight).__name__)}, expected (n * hidden, ...)"
        )
    if x.shape[-1] != weight.shape[1]:
        raise Untraceable(f"a product of {x.shape[-1]} features with a weight for {weight.shape[1]}")
    rows = weight.shape[0] // tracer.hidden
    view = tracer.view(weight)
    if isinstance(x, Input):
        out = np.empty((1, rows), object)
        out[0, :] = _product(tracer, Product(INPUT, view), rows)
    else:
        lead = x.array.shape[:-1]
        flat = x.array.reshape(-1, x.array.shape[-1])
        out = np.empty((len(flat), rows), object)
        for place, nodes in zip(out, flat, strict=True):
            place[:] = _product_of(tracer, list(nodes), view, rows)
        out = out.reshape(*lead, rows)
    found = Symbol(tracer, out)
    return found if bias is None else elementwise("add", found, bias)


def _product(tracer: Tracer, product: Product, rows: int) -> list[fx.Node]:
    tracer.products.append(product)
    return [tracer.leaf("product", product, row) for row in range(rows)]


def _product_of(tracer: Tracer, nodes: list[Any], view: View, rows: int) -> list[Any]:
    if all(node == 0.0 for node in nodes):
        return [0.0] * rows
    leaves = [node.meta.get("leaf", ("",)) if isinstance(node, fx.Node) else ("",) for node in nodes]
    if all(leaf[0] == "child" for leaf in leaves):
        (_, first, part), children = leaves[0], [leaf[1] for leaf in leaves]
        if children == list(range(first, first + len(nodes))) and {leaf[2] for leaf in leaves} == {part}:
            return _product(tracer, Product(CHILD, view, part, first, len(nodes)), rows)
    values = tuple(tracer.node("identity", node) for node in nodes)
    return _product(tracer, Product(VALUE, view, count=len(nodes), values=values), rows)


def _matmul(x: Any, other: Any) -> Symbol:
    if isinstance(other, Traced) or not isinstance(x, Traced) or other.ndim != 2:
        raise Untraceable("`matmul` of two tensors of the update, expected one with a weight")
    return _linear(x, other.T)


def _split(x: Symbol, sizes: Any, dim: int = 0) -> tuple[Symbol, ...]:
    if dim % x.array.ndim != x.array.ndim - 1:
        raise Untraceable("`split` along another axis than the features")
    if isinstance(sizes, int):
        total = x.shape[-1]
        sizes = [min(sizes, total - start) for start in range(0, total, sizes)]
    ends = np.cumsum([x.to_blocks(size) for size in sizes])
    return tuple(x.like(part) for part in np.split(x.array, ends[:-1], axis=-1))


def _chunk(x: Symbol, chunks: int, dim: int = 0) -> tuple[Symbol, ...]:
    return _split(x, math.ceil(x.shape[dim] / chunks), dim)


def _cat(tensors: Sequence[Symbol], dim: int = 0) -> Symbol:
    arrays = [_blocks(tensors[0].tracer, one) for one in tensors]
    return tensors[0].like(np.concatenate(arrays, axis=dim))


def _stack(tensors: Sequence[Symbol], dim: int = 0) -> Symbol:
    if dim == -1 or dim == tensors[0].array.ndim:
        raise Untraceable("`stack` along a new last axis")
    return tensors[0].like(np.stack([one.array for one in tensors], axis=dim))


def _view(x: Symbol, *shape: Any) -> Symbol:
    sizes = list(shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)
    if sizes[-1] != -1:
        sizes[-1] = x.to_blocks(sizes[-1])
    return x.like(x.array.reshape(sizes))


def _sum(x: Symbol, dim: Any = None, keepdim: bool = False) -> Symbol:
    if not isinstance(dim, int) or dim % x.array.ndim == x.array.ndim - 1:
        raise Untraceable("`sum` over the features; expected over children")
    out = np.add.reduce(np.frompyfunc(lambda node: _Addend(x.tracer, node), 1, 1)(x.array), axis=dim, keepdims=keepdim)
    return x.like(np.frompyfunc(lambda addend: addend.node, 1, 1)(out))


@dataclass(frozen=True)
class _Addend:
    tracer: Tracer
    node: Any

    def __add__(self, other: _Addend) -> _Addend:
        return _Addend(self.tracer, self.tracer.call("add", self.node, other.node))


def _unbind(x: Symbol, dim: int = 0) -> tuple[Symbol, ...]:
    if dim % x.array.ndim == x.array.ndim - 1:
        raise Untraceable("`unbind` along the features")
    return tuple(x.like(part) for part in np.moveaxis(x.array, dim, 0))


def _zeros(x: Symbol, *shape: Any, **kwargs: Any) -> Symbol:
    sizes = tuple(x.shape) if not shape else tuple(shape[0] if not isinstance(shape[0], int) else shape)
    out = np.empty((*sizes[:-1], x.to_blocks(sizes[-1])), object)
    out[...] = 0.0
    return x.like(out)


def _unsqueeze(x: Symbol, dim: int) -> Symbol:
    if dim in (-1, x.array.ndim):
        raise Untraceable("`unsqueeze` of a new last axis")
    return x.like(np.expand_dims(x.array, dim if dim >= 0 else dim + 1 + x.array.ndim))


def _squeeze(x: Symbol, dim: int) -> Symbol:
    return x.like(np.squeeze(x.array, axis=dim))


SHAPES: dict[str, Callable[..., Any]] = {
    "linear": _linear,
    "matmul": _matmul,
    "mm": _matmul,
    "addmm": lambda bias, x, weight: elementwise("add", _matmul(x, weight), bias),
    "split": _split,
    "chunk": _chunk,
    "cat": _cat,
    "concat": _cat,
    "stack": _stack,
    "view": _view,
    "reshape": _view,
    "sum": _sum,
    "unbind": _unbind,
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    "getitem": _getitem,
    "new_zeros": _zeros,
    "zeros_like": _zeros,
    "contiguous": lambda x: x,
    "clone": lambda x: x,
}

COMPOSED: dict[str, Callable[..., Any]] = {
    "rsub": lambda a, b: elementwise("sub", b, a),
    "rdiv": lambda a, b: elementwise("div", b, a),
    "square": lambda x: elementwise("mul", x, x),
    "reciprocal": lambda x: elementwise("div", 1.0, x),
    "lerp": lambda a, b, w: a + w * (b - a),
    "addcmul": lambda a, b, c, value=1: a + value * (b * c),
    "silu": lambda x, inplace=False: x * call("sigmoid", x),
    "softplus": lambda x: call("maximum", x, 0.0) + call("log1p", call("exp", -call("abs", x))),
    "logsigmoid": lambda x: -call("softplus", -x),
    "softsign": lambda x: x / (1 + call("abs", x)),
    "clamp": lambda x, min=None, max=None: _clamp(x, min, max),
    "hardtanh": lambda x, min_val=-1.0, max_val=1.0, inplace=False: _clamp(x, min_val, max_val),
    "relu": lambda x, inplace=False: elementwise("relu", x),
    "leaky_relu": lambda x, negative_slope=0.01, inplace=False: (
        call("maximum", x, 0.0) + negative_slope * call("minimum", x, 0.0)
    ),
    "pow": lambda x, power: _power(x, power),
}


def _clamp(x: Any, low: float | None, high: float | None) -> Any:
    x = x if low is None else call("maximum", x, low)
    return x if high is None else call("minimum", x, high)


def _power(x: Any, power: Any) -> Any:
    if power not in (1, 2, 3):
        raise Untraceable(f"`pow` with exponent {power}, expected 1, 2 or 3")
    return x if power == 1 else x * x if power == 2 else x * x * x


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "identity": torch.clone,
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "neg": torch.neg,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "log": torch.log,
    "log1p": torch.log1p,
    "sqrt": torch.sqrt,
    "sin": torch.sin,
    "cos": torch.cos,
    "erf": torch.erf,
    "abs": torch.abs,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
}
"""Elementwise operations that have a native form (`source.OPERATIONS`), by torch's name."""


def _fold(name: str, operands: Sequence[Any]) -> Any:
    """The result where a number makes it plain: of numbers alone, or with a 0 or 1."""
    numbers = [one for one in operands if isinstance(one, float)]
    if len(numbers) == len(operands):
        return float(FUNCTIONS[name](*(torch.tensor(one, dtype=torch.float64) for one in operands)))
    if len(operands) != 2 or not numbers:
        return None
    a, b = operands
    if name == "add":
        return b if a == 0.0 else a if b == 0.0 else None
    if name == "sub":
        return a if b == 0.0 else None
    if name == "mul":
        return 0.0 if 0.0 in numbers else b if a == 1.0 else a if b == 1.0 else None
    return a if name == "div" and b == 1.0 else None
