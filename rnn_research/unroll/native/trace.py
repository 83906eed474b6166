"""What a cell's `step` computes, found by running it once on symbols.

What acts on shapes (chunk, cat, stack, view, ...) rearranges blocks; products with the cell's weights and elementwise
operations are written into a graph. What is neither raises `Untraceable`, which says what it was.
(`torch.fx.symbolic_trace` itself can't see through `len`, shapes or slices of features, and knows no blocks.)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from rnn_research.cells.base import Cell
from rnn_research.unroll.native.functions import Tracing
from rnn_research.unroll.native.graph import ChildLeaf, Trace, Tracer, Untraceable, array_of, leaf_of
from rnn_research.unroll.native.symbols import Input, Symbol

__all__ = ["Untraceable", "trace"]


def trace(cell: Cell, arity: int) -> Trace:
    """The update `cell.step(cell.project(x), *previous)` with `arity` previous states.

    Raises:
        Untraceable: it does something other than products with its weights and elementwise operations.
    """
    tracer = Tracer(cell)
    parts = range(len(cell.state_names))
    inputs: Any = Input(tracer, cell.input_size)
    previous = [
        cell.state_type(*(Symbol(tracer, array_of([tracer.leaf(ChildLeaf(child, part))])[None]) for part in parts))
        for child in range(arity)
    ]
    try:
        with torch.no_grad(), Tracing():
            state = cell.step(cell.project(inputs), *previous)
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
        if not isinstance(node, fx.Node) or leaf_of(node) or node in outputs:  # each part has a node of its own
            node = tracer.node("identity", node)
        outputs.append(node)
    tracer.graph.output(tuple(outputs))
    return Trace(arity, tracer.graph, tuple(outputs), tuple(tracer.products))
