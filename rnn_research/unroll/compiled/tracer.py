"""The tracer: it gathers the graph of one `step`, and knows the cell's tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, fx

from rnn_research.cells.base import Cell
from rnn_research.unroll.compiled.graph import (
    CHILD,
    VALUE,
    ChildLeaf,
    Leaf,
    Product,
    ProductLeaf,
    TensorLeaf,
    Untraceable,
    View,
    array_of,
    leaf_of,
    tensors_of,
)
from rnn_research.unroll.compiled.operations import OPERATIONS, Value, folded


class Tracer:
    """Gathers the graph of one `step`.

    A part of the new state has an adjoint of its own, so that it matters which node it is: `x + 0` is x in numbers, but
    what reads x does not read that sum. Where a state has several parts, what is folded to another node is a *copy* of
    it, that `trace` takes out again where nothing depends on it. `exact`: nothing is folded, as a number that is itself
    a part must have a node for what reads it. `handed` are the nodes of what a step is given, and may hand on.
    """

    def __init__(self, cell: Cell, exact: bool = False) -> None:
        self.exact, self.copies = exact, len(cell.state_names) > 1
        self.handed: set[Value] = set()
        self.read_through: set[fx.Node] = set()
        self.hidden, self.tensors = cell.hidden_size, tensors_of(cell)
        self.nodes = 2  # of which `trace` uses one; with two, it is seen where an update mixes nodes
        self.dtype = next((one.dtype for one in self.tensors if one.is_floating_point()), torch.get_default_dtype())
        self.graph = fx.Graph()
        self.products: list[Product] = []
        self.read: set[int] = set()
        self._leaves: dict[Leaf, fx.Node] = {}

    def leaf(self, leaf: Leaf) -> fx.Node:
        """The node of a leaf, the same each time."""
        if leaf not in self._leaves:
            node = self.graph.create_node("placeholder", f"leaf_{len(self._leaves)}")
            node.meta["leaf"] = leaf
            self._leaves[leaf] = node
        return self._leaves[leaf]

    def node(self, name: str, *operands: Value) -> fx.Node:
        """A new node for an operation on blocks."""
        node = self.graph.create_node("call_function", OPERATIONS[name].function, operands, {}, name)
        node.meta["operation"] = name
        return node

    def call(self, name: str, *operands: Value) -> Value:
        """An operation on blocks, folded where a number makes its result plain."""
        known = None if self.exact else folded(name, operands)
        return self.node(name, *operands) if known is None else self.copy(known)

    def copy(self, block: Value) -> Value:
        """The block as the result of an operation; a number is itself."""
        if not self.copies or not isinstance(block, fx.Node):
            return block
        node = self.node("identity", block)
        node.meta["copy"] = True
        return node

    def named(self, leaf: fx.Node) -> fx.Node:
        """A leaf as the result of an operation, which all that read the leaf read from now on."""
        with self.graph.inserting_after(leaf):
            node = self.node("identity", leaf)
        leaf.replace_all_uses_with(node, delete_user_cb=lambda user: user is not node)
        return node

    def number(self, value: float) -> Value:
        """A block of this number, that a part of a state may become."""
        return self.node("identity", value) if self.exact else value

    def hand(self, symbol: Any) -> None:
        """Tell that these are handed to the update."""
        self.handed.update(block for block in symbol.array.flat if isinstance(block, fx.Node))

    def copied(self, outputs: Sequence[fx.Node]) -> tuple[fx.Node, ...]:
        """The outputs, with the copies taken out that no output is; or that is what its original is read for."""
        kept = list(outputs)
        for node in [one for one in self.graph.nodes if one.meta.get("copy")]:
            (original,) = node.all_input_nodes
            if node in kept:
                if leaf_of(original) or original in self.handed or original in kept or list(original.users) != [node]:
                    continue
                kept[kept.index(node)] = original
            node.replace_all_uses_with(original)
            self.graph.erase_node(node)
        return tuple(kept)

    @staticmethod
    def _original(block: Value) -> Value:
        """What a copy is a copy of: as the children's states cut out of their concatenation."""
        while isinstance(block, fx.Node) and block.meta.get("copy"):
            (block,) = block.all_input_nodes
        return block

    def each(self, name: str, *operands: Any) -> np.ndarray:
        """An operation on arrays of blocks and numbers, broadcast over their axes."""
        apply = np.frompyfunc(lambda *blocks: self.call(name, *blocks), len(operands), 1)
        return cast(np.ndarray, apply(*operands))

    def product(self, product: Product, rows: int) -> list[fx.Node]:
        """The blocks of a new product with a weight of so many blocks of rows."""
        self.products.append(product)
        return [self.leaf(ProductLeaf(product, row)) for row in range(rows)]

    def product_of(self, blocks: Sequence[Value], weight: View, rows: int) -> Sequence[Value]:
        """The blocks of `blocks` W^T: of children's states where they are the blocks, side by side; else of values."""
        if all(block == 0.0 or (block in self.handed and cast(fx.Node, block).args == (0.0,)) for block in blocks):
            return [0.0] * rows
        originals = [self._original(block) for block in blocks]
        leaves = [leaf for block in originals if isinstance(leaf := leaf_of(block), ChildLeaf)]
        if len(leaves) == len(blocks):
            first, part, node = leaves[0].child, leaves[0].part, leaves[0].node
            if leaves == [ChildLeaf(first + k, part, node) for k in range(len(blocks))]:
                self.read_through.update(block for block in blocks if isinstance(block, fx.Node))
                return self.product(Product(CHILD, weight, part, first, len(blocks), node=node), rows)
        values = tuple(self.node("identity", block) for block in blocks)
        return self.product(Product(VALUE, weight, count=len(blocks), values=values), rows)

    def view(self, tensor: Tensor) -> View:
        """Where a 1- or 2-dimensional tensor lies among the cell's own.

        Whose view it is says autograd, not the memory: parameters that share memory have a gradient each, and what
        was detached has none.

        Raises:
            Untraceable: it is no view of one; or one of another type, or that has elements more than once.
        """
        if tensor.dtype != self.dtype:
            raise Untraceable(f"a tensor of {tensor.dtype}, expected {self.dtype}")
        steps = list(zip(tensor.stride(), tensor.shape, strict=True))
        for number, own in enumerate(self.tensors):
            offset = int(tensor.storage_offset() - own.storage_offset())
            last = offset + sum((size - 1) * step for step, size in steps)
            if _base(own) is not _base(tensor) or not own.is_contiguous() or offset < 0 or last >= own.numel():
                continue
            if _overlaps(steps):
                raise Untraceable("a tensor whose elements overlap (expanded, or strided)")
            self.read.add(number)
            return View(number, offset, *(0, *tensor.stride())[-2:])
        raise Untraceable(
            f"a tensor of shape {tuple(tensor.shape)} is not (a slice of) the cell's parameters or buffers"
        )

    def blocks(self, tensor: Tensor) -> np.ndarray:
        """A vector of the cell (a bias, a peephole) as blocks. Its axes of one row are kept.

        Raises:
            Untraceable: it is no vector of n * hidden_size elements side by side, from a multiple of hidden_size on.
        """
        if tensor.ndim == 0 or tensor.shape[-1] % self.hidden or tensor.numel() != tensor.shape[-1]:
            raise Untraceable(f"a tensor of shape {tuple(tensor.shape)}, expected a vector of n * hidden_size elements")
        view = self.view(tensor.reshape(-1))
        if view.column != 1 or view.offset % self.hidden:
            raise Untraceable("a vector that is no slice of n * hidden_size elements")
        first, count = view.offset // self.hidden, tensor.numel() // self.hidden
        out = array_of([self.leaf(TensorLeaf(view.tensor, first + block)) for block in range(count)])
        return out.reshape(*(1 for _ in range(tensor.ndim - 1)), count)


def _base(tensor: Tensor) -> Tensor:
    return tensor if tensor._base is None else tensor._base


def _overlaps(steps: Iterable[tuple[int, int]]) -> bool:
    """Whether an element is met twice, for strides and sizes (as far as can be told from them one by one)."""
    reach = 0
    for step, size in sorted(steps):
        if size > 1 and step <= reach:
            return True
        reach += step * (size - 1)
    return False
