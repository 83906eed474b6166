"""A check of a trace: on random numbers it gives what the cell's own update gives, with the same gradients.

A trace is what `step` did once, on symbols. What it did because they are symbols (another branch for their device or
their type, an exception that it caught), or for so many nodes, shows in numbers; so does a function that the trace
takes for another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx

from rnn_research.cells.base import Cell, State
from rnn_research.unroll.compiled.graph import (
    CHILD,
    INPUT,
    ChildLeaf,
    Product,
    ProductLeaf,
    TensorLeaf,
    Trace,
    Untraceable,
    leaf_of,
    name_of,
    operands_of,
    tensors_of,
)
from rnn_research.unroll.compiled.operations import OPERATIONS, Value
from rnn_research.unroll.undisturbed import undisturbed
from rnn_research.unroll.update import UpdateCaller

SCALES = (1.0, 0.3, 1.0, 1.0, 4.0, 4.0)
"""Of the numbers in each row: some are to lie beyond the bounds of what is clamped."""

SLACK = {torch.float32: 2e-3, torch.float64: 1e-7}
"""How far numbers may be off, in units of the largest: the order of sums is another, and no more."""

Update = Callable[[Tensor, Sequence[State]], Sequence[Tensor]]
"""Inputs and previous states -> the parts of the new state, each a variable of its own."""


def check(cell: Cell, trace: Trace) -> None:
    """Compare a trace with the update that it is of. The cell is left as it was.

    Raises:
        Untraceable: they differ, or the update can't be run on random numbers.
    """
    traced, caller = TracedUpdate(cell, trace), UpdateCaller(cell)

    def own(inputs: Tensor, previous: Sequence[State]) -> Sequence[Tensor]:
        return caller(cell.project(inputs), *previous)

    for rows in (len(SCALES), 1):  # one may be handled as a case of its own
        with torch.inference_mode(False), torch.enable_grad(), undisturbed([cell]):
            try:
                expected = _numbers(cell, own, trace.arity, rows)
            except Exception as error:
                raise Untraceable(f"its update of random numbers ends in {type(error).__name__}: {error}") from error
            found = _numbers(cell, traced, trace.arity, rows)
        if not all(_close(one, other) for one, other in zip(found, expected, strict=True)):
            raise Untraceable(
                "the update of numbers is another one than that of the symbols which it is traced with (it looks at "
                "what it is given, or catches what a function of torch raises)"
            )


def _numbers(cell: Cell, update: Update, arity: int, rows: int) -> list[Tensor]:
    """The parts of the new state, and the gradients of a sum of them in each part, in what the update is given, and in
    the cell's tensors."""
    random = torch.Generator().manual_seed(0)
    scales, like = torch.tensor(SCALES)[:rows, None], tensors_of(cell)[0]

    def draw(features: int) -> Tensor:
        return (torch.randn(len(SCALES), features, generator=random)[:rows] * scales).to(like)

    inputs = draw(cell.input_size).requires_grad_()
    given = [[draw(cell.hidden_size).requires_grad_() for _ in cell.state_names] for _ in range(arity)]
    previous = [cell.state_type(*(part.clone() for part in one)) for one in given]  # which may be changed in place
    parts = list(update(inputs.clone(), previous))
    weights = [draw(cell.hidden_size) for _ in parts]
    leaves = [inputs, *(part for one in given for part in one), *(one for one in tensors_of(cell) if one.requires_grad)]
    total = sum(((part * weight).sum() for part, weight in zip(parts, weights, strict=True)), inputs.new_zeros(()))
    # Of one number: to be given the gradient of several, torch imports sympy, which takes as long as all of torch.
    gradients = torch.autograd.grad(total, [*parts, *leaves], allow_unused=True)
    filled = [
        torch.zeros_like(one) if grad is None else grad for grad, one in zip(gradients, [*parts, *leaves], strict=True)
    ]
    return [one.detach() for one in (*parts, *filled)]


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    slack = SLACK.get(other.dtype, SLACK[torch.float32])
    size = other[other.isfinite()].abs().max() if other.isfinite().any() else other.new_ones(())
    return torch.allclose(one, other, rtol=slack, atol=slack * float(size), equal_nan=True)


class TracedUpdate:
    """A trace's update, run by torch.

    Args:
        cell: whose tensors it reads.
        trace: of one of the cell's updates.
    """

    def __init__(self, cell: Cell, trace: Trace) -> None:
        self.trace, self.hidden, self.tensors = trace, cell.hidden_size, tensors_of(cell)

    def __call__(self, inputs: Tensor, previous: Sequence[State]) -> list[Tensor]:
        """The parts of the new state."""
        known: dict[fx.Node, Tensor] = {}

        def block(value: Value) -> Tensor:
            """(nodes, hidden)"""
            if isinstance(value, fx.Node):
                return known[value]
            return inputs.new_full((len(inputs), self.hidden), value).requires_grad_().clone()

        for node in self.trace.graph.nodes:  # each after those that it reads
            leaf = leaf_of(node)
            if isinstance(leaf, ChildLeaf):
                known[node] = previous[leaf.child][leaf.part]
            elif isinstance(leaf, TensorLeaf):
                vector = self.tensors[leaf.tensor].reshape(-1)[leaf.block * self.hidden :][: self.hidden]
                known[node] = vector.expand(len(inputs), -1)
            elif isinstance(leaf, ProductLeaf):
                known[node] = self._rows(leaf, _source(leaf.product, inputs, previous, block))
            elif node.op != "output":
                known[node] = OPERATIONS[name_of(node)].function(*map(block, operands_of(node)))
        return [known[node] for node in self.trace.outputs]

    def _rows(self, leaf: ProductLeaf, source: Tensor) -> Tensor:
        """A block of rows of a product."""
        view = leaf.product.weight
        own = self.tensors[view.tensor]
        start = own.storage_offset() + view.offset + leaf.block * self.hidden * view.row
        weight = own.as_strided((self.hidden, source.shape[-1]), (view.row, view.column), start)
        return source @ weight.T


def _source(product: Product, inputs: Tensor, previous: Sequence[State], block: Callable[[Value], Tensor]) -> Tensor:
    if product.source == INPUT:
        return inputs
    if product.source == CHILD:
        children = range(product.first, product.first + product.count)
        return torch.cat([previous[child][product.part] for child in children], -1)
    return torch.cat([block(value) for value in product.values], -1)
