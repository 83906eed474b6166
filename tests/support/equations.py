"""The oracle: the published equations of every cell, a node at a time, on the raw weights. It shares no code
with the package, which it knows only by the names and the layout of the parameters.

An `Update` maps a node's input and its previous states to its state, a tuple of vectors: (h,) or (h, c).
`fold` walks a `Graph`; `graph_of`, `place` and `take` go between samples and a batch on a structure.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rnn_research.cells import GRU, LSTM, RNN, Cell, ChildSumTreeLSTM, NaryTreeLSTM, TreeRNN
from rnn_research.structures import Chain, Forest, Tree

State = tuple[Tensor, ...]
Update = Callable[..., State]

F64 = torch.float64


_mark: list[Callable[[Tensor], Tensor]] = [lambda z: z]


@contextlib.contextmanager
def marking(mark: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Within it, each gate's pre-activation z is what `mark` makes of it."""
    _mark.append(mark)
    try:
        yield
    finally:
        _mark.pop()


def pre(z: Tensor) -> Tensor:
    """z, the argument of a gate's nonlinearity."""
    return _mark[-1](z)


def sigma(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def weights(cell: Cell, gates: str) -> tuple[dict, dict, dict, dict]:
    """W, U, b_ih and b_hh of each gate; absent biases are zero."""
    size = cell.hidden_size

    def cut(matrix: Tensor | None) -> dict[str, Tensor]:
        if matrix is None:
            matrix = cell.weight_ih.new_zeros(len(gates) * size)
        return {gate: matrix[k * size : (k + 1) * size] for k, gate in enumerate(gates)}

    return cut(cell.weight_ih), cut(cell.weight_hh), cut(cell.bias_ih), cut(cell.bias_hh)


def total(cell: Cell, previous: Sequence[State], part: int = 0) -> Tensor:
    """The sum over the children."""
    return sum((state[part] for state in previous), cell.weight_ih.new_zeros(cell.hidden_size))


def rnn(f: Callable, cell: Cell, x: Tensor, previous: Sequence[State]) -> State:
    """Elman 1990: h = f(W x + U h' + b)."""
    W, U, b, d = weights(cell, "h")
    return (f(pre(W["h"] @ x + b["h"] + U["h"] @ total(cell, previous) + d["h"])),)


def tree_rnn(f: Callable, cell: Cell, x: Tensor, previous: Sequence[State]) -> State:
    """Socher et al. 2011: h = f(W x + sum_k U_k h_k + b)."""
    W, U, b, d = weights(cell, "h")
    size = cell.hidden_size
    children = [U["h"][:, k * size : (k + 1) * size] @ h for k, (h,) in enumerate(previous)]
    return (f(pre(W["h"] @ x + b["h"] + d["h"] + sum(children))),)


def lstm(cell: Cell, x: Tensor, previous: Sequence[State]) -> State:
    """Gers et al. 2000: c = f c' + i g, h = o tanh(c)."""
    W, U, b, d = weights(cell, "ifgo")
    h, c = total(cell, previous, 0), total(cell, previous, 1)
    i, f, g, o = (pre(W[gate] @ x + U[gate] @ h + b[gate] + d[gate]) for gate in "ifgo")
    c = sigma(f) * c + sigma(i) * torch.tanh(g)
    return sigma(o) * torch.tanh(c), c


def gru(reset_after: bool, cell: Cell, x: Tensor, previous: Sequence[State]) -> State:
    """Cho et al. 2014: h = z h' + (1 - z) n; r before the product with U_n, or after it as cuDNN has it."""
    W, U, b, d = weights(cell, "rzn")
    h = total(cell, previous)
    r = sigma(pre(W["r"] @ x + b["r"] + U["r"] @ h + d["r"]))
    z = sigma(pre(W["z"] @ x + b["z"] + U["z"] @ h + d["z"]))
    from_h = r * (U["n"] @ h + d["n"]) if reset_after else U["n"] @ (r * h) + d["n"]
    return (z * h + (1 - z) * torch.tanh(pre(W["n"] @ x + b["n"] + from_h)),)


def child_sum(cell: Cell, x: Tensor, previous: Sequence[State]) -> State:
    """Tai et al. 2015, equations 2 to 8 (their u is g)."""
    W, U, b, d = weights(cell, "ifgo")
    h = total(cell, previous)
    i, g, o = (pre(W[gate] @ x + U[gate] @ h + b[gate] + d[gate]) for gate in "igo")
    f = [sigma(pre(W["f"] @ x + U["f"] @ h_k + b["f"] + d["f"])) for h_k, _ in previous]
    c = sigma(i) * torch.tanh(g) + sum(f_k * c_k for f_k, (_, c_k) in zip(f, previous, strict=True))
    return sigma(o) * torch.tanh(c), c


def nary(cell: Cell, x: Tensor, previous: Sequence[State]) -> State:
    """Tai et al. 2015, equations 9 to 14. U: a row of blocks for i, each f_k, g and o; a column a child."""
    W, _, b, d = weights(cell, "ifgo")
    size, most = cell.hidden_size, cell.max_children

    def recurrent(row: int) -> Any:
        return sum(
            cell.weight_hh[row * size : (row + 1) * size, k * size : (k + 1) * size] @ h
            for k, (h, _) in enumerate(previous)
        )

    i = sigma(pre(W["i"] @ x + b["i"] + d["i"] + recurrent(0)))
    g = torch.tanh(pre(W["g"] @ x + b["g"] + d["g"] + recurrent(most + 1)))
    o = sigma(pre(W["o"] @ x + b["o"] + d["o"] + recurrent(most + 2)))
    c = i * g
    for k, (_, c_k) in enumerate(previous):
        c = c + sigma(pre(W["f"] @ x + b["f"] + d["f"] + recurrent(1 + k))) * c_k
    return o * torch.tanh(c), c


def relu(x: Tensor) -> Tensor:
    return x * (x > 0)


class Variant(NamedTuple):
    """A cell, by what makes it from input_size, hidden_size and more keywords, and its equations."""

    make: Callable[..., Cell]
    equations: Callable[..., State]

    def build(self, input_size: int, hidden_size: int, seed: int = 0, **kwargs: Any) -> Cell:
        """In float64, with weights large enough for every gate to matter."""
        torch.manual_seed(seed)
        kwargs = {"max_children": 5, **kwargs}
        cell = self.make(input_size, hidden_size, **kwargs).to(F64)
        with torch.no_grad():
            for parameter in cell.parameters():
                parameter.copy_(torch.randn(parameter.shape, dtype=F64) * hidden_size**-0.5)
        return cell

    def update(self, cell: Cell) -> Update:
        return partial(self.equations, cell)


VARIANTS = {
    "rnn": Variant(RNN, partial(rnn, torch.tanh)),
    "relu_rnn": Variant(partial(RNN, nonlinearity="relu"), partial(rnn, relu)),
    "sigmoid_rnn": Variant(partial(RNN, nonlinearity="sigmoid"), partial(rnn, sigma)),
    "linear_rnn": Variant(partial(RNN, nonlinearity="identity"), partial(rnn, lambda x: x)),
    "lstm": Variant(LSTM, lstm),
    "gru": Variant(GRU, partial(gru, True)),
    "gru_before": Variant(partial(GRU, reset_after=False), partial(gru, False)),
    "tree_rnn": Variant(TreeRNN, partial(tree_rnn, torch.tanh)),
    "shared_tree_rnn": Variant(partial(TreeRNN, shared=True), partial(rnn, torch.tanh)),
    "child_sum": Variant(ChildSumTreeLSTM, child_sum),
    "nary": Variant(NaryTreeLSTM, nary),
}


class Graph(NamedTuple):
    """The previous nodes of each node, and an order in which they come first."""

    previous: list[list[int]]
    order: list[int]

    @property
    def last(self) -> int:
        return self.order[-1]


def graph_of(sample: int | Tree) -> Graph:
    """A sequence of so many steps, or a tree in its own numbering."""
    if isinstance(sample, int):
        return Graph([[t - 1] if t else [] for t in range(sample)], list(range(sample)))
    previous = [np.flatnonzero(sample.parent == node).tolist() for node in range(len(sample))]
    return Graph(previous, list(reversed(range(len(sample)))))


def same(node: int, state: State) -> State:
    return state


def fold(
    update: Update, graph: Graph, inputs: Iterable[Tensor], initial: State | None = None, passed: Any = same
) -> list[State]:
    """The state at each node, keeping its gradients; `passed` acts on what the next update reads of it."""
    inputs = list(inputs)
    states: list[Any] = [None] * len(inputs)
    for node in graph.order:
        previous = [passed(child, states[child]) for child in graph.previous[node]]
        if not previous and initial is not None:
            previous = [initial]
        states[node] = update(inputs[node], previous)
        for part in states[node]:
            if part.requires_grad:
                part.retain_grad()
    return states


def structure_of(samples: Sequence[int | Tree]) -> Chain | Forest:
    if isinstance(samples[0], int):
        return Chain(torch.tensor(samples))
    return Forest.of(samples)  # type: ignore[arg-type]


def place(structure: Chain | Forest, values: Sequence[Tensor]) -> Tensor:
    """Samples' values, (nodes, features) each, at the structure's positions; padding, read by none: NaN."""
    if isinstance(structure, Forest):
        return torch.cat(list(values))[structure.order]
    return pad_sequence(list(values), batch_first=True, padding_value=torch.nan)


def take(structure: Chain | Forest, values: Tensor) -> list[Tensor]:
    """The inverse of `place`."""
    if isinstance(structure, Forest):
        own = torch.empty_like(values)
        own[structure.order] = values
        return list(own.split(structure.sample.bincount().tolist()))
    return [row[:length] for row, length in zip(values, structure.lengths.tolist(), strict=True)]


def random_tree(random: np.random.Generator, nodes: int, arity: int = 5) -> Tree:
    """A tree of so many nodes, none with more than `arity` children."""
    parents, free = [-1], [0] * arity
    for node in range(1, nodes):
        parents.append(free.pop(int(random.integers(len(free)))))
        free += [node] * arity
    return Tree.of(parents)[0]


def samples_of(kind: str, seed: int = 0, sizes: Sequence[int] = (4, 1, 7, 5)) -> list[Any]:
    """Sequences or random trees of these sizes."""
    if kind == "chain":
        return list(sizes)
    random = np.random.default_rng(seed)
    return [random_tree(random, size) for size in sizes]


def inputs_for(samples: Sequence[int | Tree], features: int, seed: int = 0) -> list[Tensor]:
    random = torch.Generator().manual_seed(seed)
    sizes = [sample if isinstance(sample, int) else len(sample) for sample in samples]
    return [torch.randn(size, features, dtype=F64, generator=random) for size in sizes]


def assert_near(found: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    """Equal to `tolerance`, relative to each row's norm: rows differ by orders of magnitude where a gradient
    vanishes. A row of zeros must be zeros."""
    assert found.shape == expected.shape
    assert torch.isfinite(found).all()
    error = torch.linalg.vector_norm(found - expected, dim=-1)
    size = torch.linalg.vector_norm(expected, dim=-1)
    assert (error <= tolerance * size).all(), f"relative error {(error / size).nan_to_num().max():.1e}"


def assert_equal_to(found: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    """Equal to `tolerance`, relative to the largest element: sums whose terms cancel in some elements."""
    assert_near(found.flatten(), expected.flatten(), tolerance)
