"""What a cell's `step` computes, found by running it once on symbols.

What acts on shapes (chunk, cat, stack, view, ...) rearranges blocks; products with the cell's weights and elementwise
operations are written into a graph. What is neither raises `Untraceable`, which says what it was.
(`torch.fx.symbolic_trace` itself can't see through `len`, shapes or slices of features, and knows no blocks.)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from rnn_research.cells.base import Cell, marking, telling_previous
from rnn_research.unroll.compiled.functions import Tracing, elementwise
from rnn_research.unroll.compiled.graph import (
    ChildLeaf,
    ProductLeaf,
    Trace,
    Untraceable,
    array_of,
    closure,
    leaf_of,
    name_of,
    operands_of,
)
from rnn_research.unroll.compiled.named import unsteady
from rnn_research.unroll.compiled.operations import Value
from rnn_research.unroll.compiled.seen import seen
from rnn_research.unroll.compiled.symbols import Input, Symbol
from rnn_research.unroll.compiled.tracer import Tracer
from rnn_research.unroll.undisturbed import draws, undisturbed
from rnn_research.unroll.update import of_this_package

__all__ = ["Untraceable", "trace"]


def trace(cell: Cell, arity: int, marks: bool = False) -> Trace:
    """The update `cell.step(cell.project(x), *previous)` with `arity` previous states.

    `marks`: pre-activations that the cell marks are nodes of their own; else they leave no trace.

    Raises:
        Untraceable: it does something other than products with its weights and elementwise operations.
    """
    if named := unsteady(cell):
        raise Untraceable(f"the update's code names `{named}`, which gives another answer at another time")
    with torch.inference_mode(False), undisturbed([cell]):
        before, drawn = seen(cell), draws()
        tracer, blocks = _traced(cell, arity, marks)
        if draws() != drawn:
            raise Untraceable("the update draws random numbers")
        if seen(cell) != before:
            raise Untraceable("the update changes what it reads (an attribute of the cell, a global)")
        if not of_this_package(cell) and _code(_traced(cell, arity, marks)) != _code((tracer, blocks)):
            raise Untraceable("the update is another one each time (random numbers, the time, what it keeps)")
    outputs: list[fx.Node] = []
    for block in blocks:
        # Each part has a node, and so an adjoint, of its own: what is handed on and another part are copied. A product
        # that is a part is read as that part.
        if isinstance(block, fx.Node) and isinstance(leaf_of(block), ProductLeaf) and block not in tracer.handed:
            block = tracer.named(block)
        elif not isinstance(block, fx.Node) or leaf_of(block) or block in tracer.handed or block in outputs:
            block = tracer.node("identity", block)
        outputs.append(block)
    outputs = list(tracer.copied(outputs))
    fed = closure(value for product in tracer.products for value in product.values)
    if (fed | {node for node in tracer.read_through if node.meta.get("copy")}) & set(outputs):
        raise Untraceable("a part of the new state feeds a product of the same update")  # its adjoint would come late
    tracer.graph.output(tuple(outputs))
    products = tuple(product for product in tracer.products if product.node == 0)
    return Trace(arity, tracer.graph, tuple(outputs), products, frozenset(tracer.read))


def _traced(cell: Cell, arity: int, marks: bool) -> tuple[Tracer, list[Value]]:
    tracer = Tracer(cell)
    blocks = _outputs(tracer, cell, arity, marks)
    if len(blocks) > 1 and not all(isinstance(block, fx.Node) for block in blocks):
        tracer = Tracer(cell, exact=True)
        blocks = _outputs(tracer, cell, arity, marks)
    return tracer, blocks


def _code(traced: tuple[Tracer, list[Value]]) -> list[Any]:
    """The operations in order, to be compared with another trace's."""
    tracer, blocks = traced
    number = {node: place for place, node in enumerate(tracer.graph.nodes)}
    code = [
        (None if leaf_of(node) else name_of(node), *(number.get(one, one) for one in operands_of(node)))  # type: ignore[call-overload]
        for node in tracer.graph.nodes
    ]
    return [*code, [number.get(block, block) for block in blocks], tracer.read]  # type: ignore[call-overload]


def _outputs(tracer: Tracer, cell: Cell, arity: int, marks: bool) -> list[Value]:
    """The block of each part of the new state."""
    parts = range(len(cell.state_names))
    inputs: Any = Input(tracer, cell.input_size)
    previous = [cell.state_type(*(_child(tracer, child, part) for part in parts)) for child in range(arity)]
    versions = [tensor._version for tensor in tracer.tensors]
    mark = marking(_mark if marks else None)
    try:
        # With gradients enabled, what is detached can be told.
        with torch.enable_grad(), Tracing(), mark, telling_previous(tracer.hand):
            projected = cell.project(inputs)
            if isinstance(projected, Symbol):
                tracer.hand(projected)
            state = cell.step(projected, *previous)
    except Untraceable:
        raise
    except Exception as error:
        raise Untraceable(f"{type(error).__name__}: {error}") from error
    if [tensor._version for tensor in tracer.tensors] != versions:
        raise Untraceable("the update changes the cell's tensors")
    if not isinstance(state, tuple) or len(state) != len(parts):
        raise Untraceable(f"step returned {type(state).__name__}, expected a state of {len(parts)} parts")
    for part in state:
        if not isinstance(part, Symbol) or part.array.shape != (tracer.nodes, 1):
            raise Untraceable("step returned a part that is not (nodes, hidden)")
        if any(not _read(block) <= {number} for number, block in enumerate(part.array.flat)):
            raise Untraceable("a node's state depends on other nodes than its children")
    return [part.array.flat[0] for part in state]


def _mark(z: Any) -> Symbol:
    return elementwise("mark", z)


def _child(tracer: Tracer, child: int, part: int) -> Symbol:
    blocks = [tracer.leaf(ChildLeaf(child, part, node)) for node in range(tracer.nodes)]
    return Symbol(tracer, array_of(blocks)[:, None])


def _read(block: Value) -> set[int]:
    """The nodes whose inputs or children a block depends on."""
    if not isinstance(block, fx.Node):
        return set()
    found: set[int] = set()
    front, seen = [block], set[fx.Node]()
    while front:
        nodes = closure(front) - seen
        seen |= nodes
        front = []
        for leaf in map(leaf_of, nodes):
            if isinstance(leaf, ChildLeaf):
                found.add(leaf.node)
            elif isinstance(leaf, ProductLeaf):
                found |= set() if leaf.product.values else {leaf.product.node}
                front += leaf.product.values
    return found
