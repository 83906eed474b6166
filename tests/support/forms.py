"""Users' cells of many forms, each with its update written a second time for one node, and an independent loop.

In the loop each part of a state is `own`ed where the update names it: a variable that alone varies, from which on
whatever reads it counts. So dL/ds is what `retain_grad` says there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from equations import F64, graph_of, random_tree, structure_of, take
from torch import Tensor, nn

from rnn_research.cells import Cell, Hidden
from rnn_research.structures import Chain
from rnn_research.unroll import unroll

FEATURES, SIZE = 3, 4


class Pair(NamedTuple):
    hidden: Tensor
    other: Tensor


class Triple(NamedTuple):
    hidden: Tensor
    other: Tensor
    third: Tensor


class Form(NamedTuple):
    """A cell's `step`, of its projected inputs and of each previous state, and the same at one node: `own(k, value)` is
    part k of its new state."""

    state: type
    step: Callable[..., Any]
    node: Callable[..., None]


def product(cell: Any, hidden: Tensor) -> Tensor:
    return cell.weight_hh @ hidden + cell.bias_hh


def total(cell: Cell, previous: Sequence[Any], part: int, like: Tensor) -> Tensor:
    """The sum over the children; a vector, or (nodes, hidden)."""
    return sum((state[part] for state in previous), torch.zeros_like(like))


def _lag(cell, x, *previous):
    s = cell.summed(x, previous)
    return Pair(torch.tanh(x + cell.recur(s.hidden) + cell.peephole * s.other), s.hidden)


def _lag_node(cell, own, x, previous):
    h, lag = total(cell, previous, 0, x), total(cell, previous, 1, x)
    own(0, torch.tanh(x + product(cell, h) + cell.peephole * lag))
    own(1, h)


def _lags(cell, x, *previous):
    s = cell.summed(x, previous)
    return Triple(torch.tanh(x + cell.recur(s.third) + s.hidden), s.hidden, s.other)


def _lags_node(cell, own, x, previous):
    h, one, two = (total(cell, previous, k, x) for k in range(3))
    own(0, torch.tanh(x + product(cell, two) + h))
    own(1, h)
    own(2, one)


def _swapped(cell, x, *previous):
    s = cell.summed(x, previous)
    return Pair(s.other, torch.tanh(x + cell.recur(s.hidden)))


def _swapped_node(cell, own, x, previous):
    own(0, total(cell, previous, 1, x))
    own(1, torch.tanh(x + product(cell, total(cell, previous, 0, x))))


def _one(cell, x, *previous):
    s = cell.summed(x, previous)
    h = torch.tanh(x + cell.recur(s.hidden) - cell.peephole * s.other)
    return Pair(h, h)


def _one_node(cell, own, x, previous):
    h = own(0, torch.tanh(x + product(cell, total(cell, previous, 0, x)) - cell.peephole * total(cell, previous, 1, x)))
    own(1, h)


def _constant(cell, x, *previous):
    a = torch.sigmoid(cell.recur(previous[0].hidden)) if previous else x.new_zeros(x.shape)
    return Pair(torch.tanh(x + 1.5 * a + (previous[0].other if previous else 0)), a)


def _constant_node(cell, own, x, previous):
    a = own(1, torch.sigmoid(product(cell, previous[0][0])) if previous else torch.zeros_like(x))
    own(0, torch.tanh(x + 1.5 * a + (previous[0][1] if previous else 0)))


def _constants(cell, x, *previous):
    zeros = torch.zeros(len(x), cell.hidden_size, dtype=x.dtype)
    return Pair(torch.tanh(x + zeros + cell.recur(cell.summed(x, previous).hidden)), zeros)


def _constants_node(cell, own, x, previous):
    a = own(1, torch.zeros_like(x))
    own(0, torch.tanh(x + a + product(cell, total(cell, previous, 0, x))))


def _adapting(cell, x, *previous):
    s = cell.summed(x, previous)
    a = cell.rate * s.other + 0.5 * s.hidden
    return Pair(torch.tanh(x + cell.recur(s.hidden) - 1.5 * a), a)


def _adapting_node(cell, own, x, previous):
    h = total(cell, previous, 0, x)
    a = own(1, cell.rate * total(cell, previous, 1, x) + 0.5 * h)
    own(0, torch.tanh(x + product(cell, h) - 1.5 * a))


def _residual(cell, x, *previous):
    s = cell.summed(x, previous)
    u = torch.tanh(x + cell.recur(s.hidden))
    c = 0.9 * s.other + u
    return Pair(torch.tanh(c) + cell.peephole * u, c)


def _residual_node(cell, own, x, previous):
    u = torch.tanh(x + product(cell, total(cell, previous, 0, x)))
    c = own(1, 0.9 * total(cell, previous, 1, x) + u)
    own(0, torch.tanh(c) + cell.peephole * u)


def _whole(cell, x, *previous):
    s = cell.summed(x, previous)
    a = 1.0 * s.other + 0.0
    return Pair(torch.tanh(x + cell.recur(s.hidden) + a), a + cell.extra * s.hidden)


def _whole_node(cell, own, x, previous):
    h, a = total(cell, previous, 0, x), total(cell, previous, 1, x)
    own(0, torch.tanh(x + product(cell, h) + a))
    own(1, a + cell.extra * h)


def _joined(cell, x, *previous):
    s = cell.summed(x, previous)
    u = torch.tanh(x + cell.recur(s.hidden))
    a, _ = torch.cat([u, u * u], -1).chunk(2, -1)
    return Pair(a + s.other, torch.sigmoid(u) * cell.peephole)


def _joined_node(cell, own, x, previous):
    u = torch.tanh(x + product(cell, total(cell, previous, 0, x)))
    own(0, u + total(cell, previous, 1, x))
    own(1, torch.sigmoid(u) * cell.peephole)


def _cut(cell, x, *previous):
    s = cell.summed(x, previous)
    a = torch.cat([torch.tanh(x + cell.recur(s.hidden)), s.other], -1).chunk(2, -1)[0]
    return Pair(a, torch.sigmoid(a) + s.other.detach())


def _cut_node(cell, own, x, previous):
    a = own(0, torch.tanh(x + product(cell, total(cell, previous, 0, x))))
    own(1, torch.sigmoid(a) + total(cell, previous, 1, x).detach())


def _input(cell, x, *previous):
    s = cell.summed(x, previous)
    return Pair(torch.tanh(x + cell.recur(s.hidden) + cell.peephole * s.other), x)


def _input_node(cell, own, x, previous):
    h, before = total(cell, previous, 0, x), total(cell, previous, 1, x)
    own(0, torch.tanh(x + product(cell, h) + cell.peephole * before))
    own(1, x)


def _peephole(cell, x, *previous):
    s = cell.summed(x, previous)
    z = cell.recur(s.hidden)
    c = torch.sigmoid(x + cell.peephole * s.other) * s.other + torch.tanh(x + z)
    return Pair(torch.sigmoid(z + cell.peephole * c) * torch.tanh(c), c)


def _peephole_node(cell, own, x, previous):
    h, before = total(cell, previous, 0, x), total(cell, previous, 1, x)
    z = product(cell, h)
    c = own(1, torch.sigmoid(x + cell.peephole * before) * before + torch.tanh(x + z))
    own(0, torch.sigmoid(z + cell.peephole * c) * torch.tanh(c))


def _apart(cell, x, *previous):
    u = sum(
        (torch.sigmoid(s.hidden * cell.peephole + k) * s.other for k, s in enumerate(previous)), x.new_zeros(x.shape)
    )
    c = torch.tanh(x + cell.recur(cell.summed(x, previous).hidden)) + u
    return Pair(torch.tanh(c), c)


def _apart_node(cell, own, x, previous):
    u = sum((torch.sigmoid(s[0] * cell.peephole + k) * s[1] for k, s in enumerate(previous)), torch.zeros_like(x))
    c = own(1, torch.tanh(x + product(cell, total(cell, previous, 0, x))) + u)
    own(0, torch.tanh(c))


def _of_class(cell, x, *previous):
    return Hidden(type(cell).gain * torch.tanh(x + cell.recur(cell.summed(x, previous).hidden)))


def _of_class_node(cell, own, x, previous):
    own(0, type(cell).gain * torch.tanh(x + product(cell, total(cell, previous, 0, x))))


def _handed(cell, x, *previous):
    return Hidden(cell.summed(x, previous).hidden if len(previous) > 1 else x)


def _handed_node(cell, own, x, previous):
    own(0, total(cell, previous, 0, x) if len(previous) > 1 else x)


def _counting(cell, x, *previous):
    cell.calls += 1
    return _peephole(cell, x, *previous)


def _normed(cell, x, *previous):
    """Running statistics that the update itself does not read."""
    s = cell.summed(x, previous)
    cell.running.mul_(0.9).add_(0.1 * s.hidden.detach().mean(0))
    c = 0.5 * s.other + torch.tanh(x + cell.recur(s.hidden))
    return Pair(torch.tanh(c), c)


def _normed_node(cell, own, x, previous):
    c = own(1, 0.5 * total(cell, previous, 1, x) + torch.tanh(x + product(cell, total(cell, previous, 0, x))))
    own(0, torch.tanh(c))


FORMS = {
    "a lag": Form(Pair, _lag, _lag_node),
    "two lags": Form(Triple, _lags, _lags_node),
    "parts that change places": Form(Pair, _swapped, _swapped_node),
    "two parts, one tensor": Form(Pair, _one, _one_node),
    "a constant at first": Form(Pair, _constant, _constant_node),
    "a constant that torch made": Form(Pair, _constants, _constants_node),
    "zero at first": Form(Pair, _adapting, _adapting_node),
    "a sum that is one term at first": Form(Pair, _residual, _residual_node),
    "a factor of one": Form(Pair, _whole, _whole_node),
    "parts cut out of a join": Form(Pair, _joined, _joined_node),
    "a part that the other reads detached": Form(Pair, _cut, _cut_node),
    "the input handed on": Form(Pair, _input, _input_node),
    "a peephole": Form(Pair, _peephole, _peephole_node),
    "children apart": Form(Pair, _apart, _apart_node),
    "a class attribute": Form(Hidden, _of_class, _of_class_node),
    "a state handed on": Form(Hidden, _handed, _handed_node),
    "calls counted": Form(Pair, _counting, _peephole_node),
    "running statistics": Form(Pair, _normed, _normed_node),
}


class Given(Cell):
    """The cell of a form."""

    gain = 0.8

    def __init__(self, form: Form, seed: int = 0) -> None:
        super().__init__(FEATURES, SIZE, max_children=5)
        self.form, self.state_type = form, form.state  # type: ignore[misc]
        torch.manual_seed(seed)
        self.double()
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, dtype=F64) * SIZE**-0.5)

    def build(self) -> None:
        super().build()
        self.peephole = nn.Parameter(torch.empty(self.hidden_size))
        self.register_buffer("running", torch.zeros(self.hidden_size))
        self.rate, self.extra, self.calls = 0.7, 0.3, 0

    def step(self, projected: Tensor, *previous: Any) -> Any:
        return self.form.step(self, projected, *previous)


Gradients = dict[tuple[int, int, int], Tensor]
"""(nodes, hidden) by layer, part and sample."""


def weights_of(samples: Sequence[Any], parts: int, seed: int) -> list[list[Tensor]]:
    """The loss: of each sample, and of each part at its every node, the weight of each feature."""
    random = torch.Generator().manual_seed(seed)
    sizes = [len(graph_of(sample).order) for sample in samples]
    return [[torch.randn(size, SIZE, generator=random, dtype=F64) for _ in range(parts)] for size in sizes]


def loop(cell: Any, samples: Sequence[Any], inputs: Sequence[Tensor], weights: Any, cut: bool = False) -> Gradients:
    """dL/ds of every state, node by node. `cut`: nothing flows from a state to a later one."""
    found: dict[Any, Tensor] = {}
    losses = []
    for sample, (shape, values) in enumerate(zip(samples, inputs, strict=True)):
        graph, states = graph_of(shape), {}
        for node in graph.order:
            state: dict[int, Tensor] = {}

            def own(part: int, value: Tensor, state: Any = state, at: Any = (sample, node)) -> Tensor:
                value = value + torch.zeros_like(value).requires_grad_()
                value.retain_grad()
                state[part] = found[at[0], part, at[1]] = value
                return value

            previous = [states[child] for child in graph.previous[node]]
            if cut:
                previous = [[part.detach() for part in one] for one in previous]
            cell.form.node(cell, own, cell.weight_ih @ values[node] + cell.bias_ih, previous)
            states[node] = [state[part] for part in range(len(state))]
            parts = zip(weights[sample], states[node], strict=True)
            losses += [(w[node] * part).sum() + part.square().sum() / 2 for w, part in parts]
    torch.stack(losses).sum().backward()
    grads = {key: torch.zeros_like(part) if part.grad is None else part.grad for key, part in found.items()}
    return {
        (0, part, sample): torch.stack([grads[sample, part, node] for node in range(len(graph_of(shape).order))])
        for sample, shape in enumerate(samples)
        for part in range(len(cell.state_names))
    }


def unrolled(
    cell: Given, samples: Sequence[Any], inputs: Sequence[Tensor], weights: Any, engine: str, **more: Any
) -> Any:
    """The same by `unroll`."""
    structure = structure_of(samples)
    if isinstance(structure, Chain):
        placed = nn.utils.rnn.pad_sequence(list(inputs), batch_first=True)
    else:
        placed = torch.cat(list(inputs))[structure.order]
    result = unroll(cell, structure, placed, engine=engine, **more)
    losses = []
    for part, values in enumerate(result.states):
        for sample, rows in enumerate(take(structure, values)):
            losses.append((weights[sample][part] * rows).sum() + rows.square().sum() / 2)
    torch.stack(losses).sum().backward()
    return result


def by_sample(result: Any, which: str) -> Gradients:
    structure = result.top.structure
    return {
        (0, part, sample): rows
        for part, values in enumerate(getattr(result, which))
        for sample, rows in enumerate(take(structure, values))
    }


def samples_for(kind: str, seed: int) -> list[Any]:
    random = np.random.default_rng(seed)
    sizes = [int(size) for size in random.integers(1, 8, 3)]
    return sizes if kind == "chain" else [random_tree(random, size, 2 + seed % 3) for size in sizes]


# Forms at random


def random_form(seed: int) -> Form:
    """An update of one to three parts, each an expression drawn at random of the input, the product, the sums of the
    previous parts, vectors, numbers, and new parts before it."""
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 4))
    order = [int(part) for part in random.permutation(count)]
    written = {part: _expression(random, 3, count, order[:place]) for place, part in enumerate(order)}
    for part, (name, *rest) in written.items():
        if name == "new" and rest[0] > part:  # of two parts that are one tensor, the first is it
            written[part] = ("clone", (name, *rest))

    def update(cell: Any, own: Any, x: Tensor, z: Tensor, sums: Sequence[Tensor]) -> dict[int, Tensor]:
        """Whatever reads a tensor that is a part reads the part. But what was handed to the update is read as that."""
        new: dict[int, Tensor] = {}
        read: dict[int, Tensor] = {}
        products = [part for part in range(count) if written[part] == ("z",)]
        if products:
            new[products[0]] = z = own(products[0], z)
        for part in order:
            value = _value(written[part], cell, x, z, sums, read)
            if part not in new:
                new[part] = own(part, value)
            read[part] = value if written[part][0] in ("x", "z", "sum", "new") else new[part]
        return new

    def step(cell: Any, x: Tensor, *previous: Any) -> Any:
        sums = cell.summed(x, previous)
        new = update(cell, lambda _, value: value, x, cell.recur(sums[0]), sums)
        return state(*(new[part] for part in range(count)))

    def node(cell: Any, own: Any, x: Tensor, previous: Any) -> None:
        sums = [total(cell, previous, part, x) for part in range(count)]
        update(cell, own, x, product(cell, sums[0]), sums)

    state = (Hidden, Pair, Triple)[count - 1]
    return Form(state, step, node)


def _expression(random: np.random.Generator, depth: int, count: int, new: Sequence[int]) -> tuple[Any, ...]:
    """In prefix form: an operation and its operands, or a leaf and its number."""
    if depth == 0 or random.random() < 0.15:
        leaves: list[tuple[Any, ...]] = [("x",), ("z",), ("z",), ("vector",), ("number", float(random.normal()))]
        leaves += [("zeros",), *(("sum", part) for part in range(count)), *(("new", part) for part in new)]
        return leaves[random.integers(len(leaves))]
    names = ("tanh", "tanh", "sigmoid", "add", "add", "sub", "mul", "mul", "detach", "clone", "cut", "square")
    name = names[random.integers(len(names))]
    operands = 2 if name in ("add", "sub", "mul", "cut") else 1
    return (name, *(_expression(random, depth - 1, count, new) for _ in range(operands)))


def _value(written: tuple[Any, ...], cell: Any, x: Tensor, z: Tensor, sums: Any, new: dict[int, Tensor]) -> Tensor:
    name, *rest = written
    leaves: dict[str, Callable[[], Tensor]] = {
        "x": lambda: x,
        "z": lambda: z,
        "vector": lambda: x * 0 + cell.peephole,
        "number": lambda: torch.full_like(x, rest[0]),
        "zeros": lambda: torch.zeros_like(x),
        "sum": lambda: sums[rest[0]],
        "new": lambda: new[rest[0]],
    }
    if name in leaves:
        return leaves[name]()
    a, *more = (_value(one, cell, x, z, sums, new) for one in rest)
    operations: dict[str, Callable[[], Tensor]] = {
        "tanh": lambda: torch.tanh(a),
        "sigmoid": lambda: torch.sigmoid(a),
        "add": lambda: 0.5 * a + more[0],
        "sub": lambda: a - 0.7 * more[0],
        "mul": lambda: a * torch.tanh(more[0]),
        "detach": lambda: a.detach(),
        "clone": lambda: a.clone(),
        "cut": lambda: torch.cat([a, more[0]], -1).chunk(2, -1)[0],
        "square": lambda: torch.tanh(a).square(),
    }
    return operations[name]()
