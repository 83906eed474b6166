"""Laws of every cell: it agrees with torch's own and with its published equations, gradients included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from equations import (
    F64,
    VARIANTS,
    assert_equal_to,
    fold,
    graph_of,
    inputs_for,
    place,
    samples_of,
    structure_of,
    take,
)
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnn_research.cells import GRU, LSTM, RNN, Cell, ChildSumTreeLSTM, HiddenCell, NaryTreeLSTM, TreeRNN
from rnn_research.structures import Chain, Forest, Tree
from rnn_research.structures.tree import unary
from rnn_research.unroll import unroll

TORCH = {"rnn": nn.RNN, "relu_rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
SHAPES = {  # input, hidden, lengths
    "batch of one": (3, 4, [6]),
    "hidden of one": (2, 1, [3, 5, 1]),
    "all of length one": (2, 3, [1, 1]),
    "equal lengths": (3, 2, [4, 4, 4]),
}
for shape_seed in range(2):
    drawn = np.random.default_rng(shape_seed)
    SHAPES[f"random {shape_seed}"] = (
        int(drawn.integers(1, 8)),
        int(drawn.integers(2, 8)),
        [1, *drawn.integers(1, 12, size=drawn.integers(2, 6)).tolist(), 2],
    )
ONE_CHILD = {  # a tree cell, and the sequence cell whose weights it loads
    "tree_rnn": "rnn",
    "shared_tree_rnn": "rnn",
    "child_sum": "lstm",
    "nary": "lstm",
}


def torch_module(name: str, input_size: int, hidden_size: int, layers: int) -> Any:
    kwargs = {"nonlinearity": "relu"} if name == "relu_rnn" else {}
    return TORCH[name](input_size, hidden_size, layers, batch_first=True, dtype=F64, **kwargs)


def loaded(name: str, module: Any) -> list[Cell]:
    """Our cells with the weights of torch's layers."""
    cells = []
    for layer in range(module.num_layers):
        cell = VARIANTS[name].build(module.input_size if layer == 0 else module.hidden_size, module.hidden_size)
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        cell.load_state_dict({key: getattr(module, f"{key}_l{layer}").detach() for key in names})
        cells.append(cell)
    return cells


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("layers", "given"), [(1, True), (2, True), (3, False)])
@pytest.mark.parametrize("name", TORCH)
def test_a_cell_along_a_chain_equals_torchs_module(name, layers, given, shape):
    """Outputs, final states, and the gradients of parameters, inputs and initial states."""
    torch.manual_seed(0)
    input_size, hidden_size, lengths = SHAPES[shape]
    module = torch_module(name, input_size, hidden_size, layers)
    cells = loaded(name, module)
    chain = Chain(torch.tensor(lengths))
    parts = len(cells[0].state_names)
    inputs = torch.randn(len(lengths), max(lengths), input_size, dtype=F64, requires_grad=True)
    starts = torch.randn(parts, layers, len(lengths), hidden_size, dtype=F64, requires_grad=given)
    readout = torch.randn(len(lengths), max(lengths), hidden_size, dtype=F64)

    packed = pack_padded_sequence(inputs, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    start = tuple(starts) if parts == 2 else starts[0]
    output, final = module(packed, *([start] if given else []))
    output = pad_packed_sequence(output, batch_first=True)[0]
    final = torch.stack(final) if parts == 2 else final[None]

    initial = [cells[0].state_type(*starts[:, layer]) for layer in range(layers)] if given else None
    unrolled = unroll(cells, chain, inputs, initial=initial)
    finals = [torch.stack([chain.terminal(part) for part in layer.states]) for layer in unrolled.layers]
    our_final = torch.stack(finals, 1)

    assert_equal_to(unrolled.hidden, output)
    assert_equal_to(our_final, final)
    of = [inputs, *([starts] if given else [])]
    loss, ours = (
        (out * readout).sum() + last.square().sum() for out, last in ((output, final), (unrolled.hidden, our_final))
    )
    expected = torch.autograd.grad(loss, [*of, *module.parameters()])
    found = torch.autograd.grad(ours, [*of, *(weight for cell in cells for weight in cell.parameters())])
    for theirs, mine in zip(expected, found, strict=True):
        assert_equal_to(mine, theirs)


def gradients(loss: Tensor, cell: Cell) -> list[Tensor]:
    """Of every parameter; zero where the loss does not read it (no node has children: nothing reads U)."""
    parameters = list(cell.parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    pairs = zip(found, parameters, strict=True)
    return [torch.zeros_like(weight) if grad is None else grad for grad, weight in pairs]


SAMPLES = {
    "sequences": [5, 1, 9, 3],
    "random trees": samples_of("forest", 1, (9, 1, 14, 6)),
    "wide trees": [Tree(np.array([-1, 0, 0, 0, 0, 0])), *samples_of("forest", 2, (12, 2))],
    "single nodes": [unary(1), unary(1)],
    "a deep tree": [unary(100)],
}


@pytest.mark.parametrize(
    ("kind", "bias"), [*((kind, True) for kind in SAMPLES), ("sequences", False), ("random trees", False)]
)
@pytest.mark.parametrize("name", VARIANTS)
def test_a_cell_obeys_its_published_equations(name, kind, bias):
    """States and parameter gradients; on a tree a sequence cell reads the sum of the children's states."""
    variant = VARIANTS[name]
    cell = variant.build(3, 4, bias=bias)
    samples = SAMPLES[kind]
    structure = structure_of(samples)
    inputs = inputs_for(samples, 3)
    found = unroll(cell, structure, place(structure, inputs)).states
    found = [torch.cat(take(structure, part)) for part in found]
    folded = [fold(variant.update(cell), graph_of(s), x) for s, x in zip(samples, inputs, strict=True)]
    expected = [torch.stack(part) for part in zip(*(state for states in folded for state in states), strict=True)]
    readout = torch.randn_like(expected[0])
    for ours, theirs in zip(found, expected, strict=True):
        assert_equal_to(ours, theirs)
    losses = [sum((readout * part).sum() + part.square().sum() for part in parts) for parts in (found, expected)]
    for ours, theirs in zip(*(gradients(loss, cell) for loss in losses), strict=True):
        assert_equal_to(ours, theirs)


@pytest.mark.parametrize("name", ONE_CHILD)
def test_with_one_child_a_tree_cell_is_the_sequence_cell(name):
    """Its weights load, and a sequence, as a chain or as a tree without branches, gives the same numbers."""
    sequence_cell = VARIANTS[ONE_CHILD[name]].build(3, 4)
    tree_cell = VARIANTS[name].build(3, 4, seed=1, max_children=1)
    tree_cell.load_state_dict(sequence_cell.state_dict())
    lengths = [6, 1, 11]
    chain, forest = structure_of(lengths), structure_of([unary(length) for length in lengths])
    inputs = inputs_for(lengths, 3)
    backwards = [x.flip(0) for x in inputs]  # a tree's node 0 is its root, which a sequence reaches last
    runs = [
        (cell, structure, unroll(cell, structure, place(structure, values)))
        for cell in (sequence_cell, tree_cell)
        for structure, values in ((chain, inputs), (forest, backwards))
    ]
    results = []
    for cell, structure, unrolled in runs:
        structure.terminal(unrolled.hidden).square().sum().backward()
        values = [take(structure, part) for state in (unrolled.states, unrolled.adjoints) for part in state]
        if structure is forest:
            values = [[rows.flip(0) for rows in part] for part in values]
        results.append([*(torch.cat(part) for part in values), *(p.grad for p in cell.parameters())])
        cell.zero_grad()
    for result in results[1:]:
        for found, expected in zip(result, results[0], strict=True):
            assert_equal_to(found, expected)


@pytest.mark.parametrize(
    ("cell", "torch_cell"),
    [
        (RNN(3, 4), nn.RNNCell(3, 4)),
        (TreeRNN(3, 4), nn.RNNCell(3, 4)),
        (TreeRNN(3, 4, shared=True), nn.RNNCell(3, 4)),
        (GRU(3, 4), nn.GRUCell(3, 4)),
        (LSTM(3, 4), nn.LSTMCell(3, 4)),
        (ChildSumTreeLSTM(3, 4), nn.LSTMCell(3, 4)),
        (NaryTreeLSTM(3, 4), nn.LSTMCell(3, 4)),
    ],
    ids=lambda cell: type(cell).__name__,
)
def test_the_state_dict_of_torchs_cell_loads(cell, torch_cell):
    cell, torch_cell = cell.double(), torch_cell.double()
    cell.load_state_dict(torch_cell.state_dict())
    x, h, c = torch.randn(3, 5, 4, dtype=F64).unbind(0)
    parts = (h, c)[: len(cell.state_names)]
    expected = torch_cell(x[:, :3], parts if len(parts) == 2 else h)
    found = cell(x[:, :3], cell.state_type(*parts))
    for ours, theirs in zip(found, expected if len(parts) == 2 else (expected,), strict=True):
        assert_equal_to(ours, theirs)


@pytest.mark.parametrize("name", VARIANTS)
def test_only_the_cells_with_a_block_a_child_see_the_children_s_order(name):
    cell = VARIANTS[name].build(3, 4)
    x = torch.randn(6, 3, dtype=F64)
    children = [cell(torch.randn(6, 3, dtype=F64)) for _ in range(4)]
    forwards, backwards = cell(x, *children), cell(x, *reversed(children))
    if name in ("tree_rnn", "nary"):
        assert not torch.allclose(forwards.hidden, backwards.hidden, rtol=1e-3)
    else:
        for one, other in zip(forwards, backwards, strict=True):
            assert_equal_to(one, other)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_missing_child_contributes_nothing(name):
    """A child whose state is zero is as none, up to its forget gate, which has nothing to forget."""
    cell = VARIANTS[name].build(3, 4)
    x = torch.randn(6, 3, dtype=F64)
    child = cell(torch.randn(6, 3, dtype=F64))
    for fewer, more in (((), (cell.initial_state(6),)), ((child,), (child, cell.initial_state(6)))):
        for one, other in zip(cell(x, *fewer), cell(x, *more), strict=True):
            assert_equal_to(one, other)


@pytest.mark.parametrize("children", [0, 1, 3])
@pytest.mark.parametrize("name", VARIANTS)
def test_activations_lie_in_their_bounds_and_make_the_state(name, children):
    cell = VARIANTS[name].build(3, 4)
    previous = [cell(torch.randn(6, 3, dtype=F64)) for _ in range(children)]
    projected = cell.project(torch.randn(6, 3, dtype=F64))
    state, gate = cell.step(projected, *previous), cell.activations(projected, *previous)
    assert set(gate) <= set(cell.bounds)
    for key, values in gate.items():
        low, high = cell.bounds[key]
        assert ((low < values) & (values < high)).all()
        assert values.min() < (low + high) / 2 < values.max() or "sigmoid" in name
    if isinstance(state, HiddenCell):
        assert_equal_to(state.hidden, gate["o"] * torch.tanh(state.cell))
    elif "z" in gate:
        assert_equal_to(state.hidden, (1 - gate["z"]) * gate["n"] + gate["z"] * sum(p.hidden for p in previous))
    elif cell.bounds:
        assert torch.equal(gate["hidden"], state.hidden)


@pytest.mark.parametrize("name", ["tree_rnn", "nary"])
def test_too_many_children_are_named(name):
    cell = VARIANTS[name].build(3, 4, max_children=2)
    forest = Forest.of([Tree(np.array([-1, 0, 0, 0]))])
    with pytest.raises(ValueError, match=r"12 features .* serve 8.* larger max_children"):
        unroll(cell, forest, torch.zeros(4, 3, dtype=F64))


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: RNN(0, 4), "input_size: given 0"),
        (lambda: LSTM(3, 0), "hidden_size: given 0"),
        (lambda: NaryTreeLSTM(3, 4, max_children=0), "max_children: given 0"),
        (lambda: RNN(3, 4, nonlinearity="tan"), "did you mean tanh"),
        (lambda: TreeRNN(3, 4, nonlinearity="softmax"), "nonlinearity: given 'softmax'"),
    ],
)
def test_bad_values_are_named(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()
