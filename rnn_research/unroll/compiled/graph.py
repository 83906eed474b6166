"""What a trace is made of: a graph of blocks, its leaves, and the products that it reads.

A *block* is a vector of `hidden_size` features of one node: a node of a `torch.fx.Graph`, or a number where every
feature is that number. A leaf is a block that the update did not compute elementwise: part of a product with a weight,
a child's state, or a slice of a vector among the cell's tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from torch import Tensor, fx

from rnn_research.cells.base import Cell
from rnn_research.unroll.compiled.operations import Value

INPUT, CHILD, VALUE = range(3)
"""The sources of a product, as kernel.c numbers them."""


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
    node: int = 0
    """Which of the nodes that the update is traced with (`Tracer.nodes`) has this source."""


@dataclass(frozen=True)
class ProductLeaf:
    """`hidden_size` rows of a product, from row `block * hidden_size` of its weight on."""

    product: Product
    block: int


@dataclass(frozen=True)
class ChildLeaf:
    """A part of a child's state: 0 is its h. `node` is whose child it is, as in `Product`."""

    child: int
    part: int
    node: int = 0


@dataclass(frozen=True)
class TensorLeaf:
    """`hidden_size` elements of one of the cell's tensors, from element `block * hidden_size` on."""

    tensor: int
    block: int


@dataclass(eq=False)
class Accumulator:
    """Row blocks of products, and blocks of the cell's vectors, that are only summed."""

    products: list[tuple[Product, int]]
    vectors: list[TensorLeaf]


Leaf = ProductLeaf | ChildLeaf | TensorLeaf


def leaf_of(node: Value) -> Leaf | None:
    """What a leaf stands for; None for what is computed, and for numbers."""
    return node.meta.get("leaf") if isinstance(node, fx.Node) else None


def name_of(node: fx.Node) -> str:
    """The operation, a name among `OPERATIONS`, of a node that is no leaf."""
    return node.meta["operation"]


def operands_of(node: fx.Node) -> tuple[Value, ...]:
    """What a node is computed from, in order."""
    return cast(tuple[Value, ...], node.args)


def closure(nodes: Iterable[fx.Node], stop: Iterable[fx.Node] = ()) -> set[fx.Node]:
    """The nodes and what they are computed from, down to leaves and to the nodes of `stop`."""
    stop = set(stop)
    found: set[fx.Node] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            if node not in stop:
                stack += node.all_input_nodes
    return found


@dataclass(frozen=True)
class Trace:
    """The update with `arity` previous states: `outputs` has a node for each part of the new state, and `products`
    are in the order in which they were made, so that one that reads values comes after those they depend on. `tensors`
    are the numbers of the cell's tensors that were read, those included that only met a zero: their gradient is 0."""

    arity: int
    graph: fx.Graph
    outputs: tuple[fx.Node, ...]
    products: tuple[Product, ...]
    tensors: frozenset[int]


def tensors_of(cell: Cell) -> list[Tensor]:
    """The cell's parameters, then its buffers, each once: what a trace's tensor numbers count."""
    if cell._modules:
        return [*cell.parameters(), *cell.buffers()]
    own = (*cell._parameters.values(), *cell._buffers.values())  # the same, ten times as quickly
    return list({id(tensor): tensor for tensor in own if tensor is not None}.values())


def array_of(blocks: Sequence[Value]) -> np.ndarray:
    """An array (blocks,) of them; numpy itself would look into a node for items."""
    out = np.empty(len(blocks), object)
    out[:] = list(blocks)
    return out
