"""Laws of unrolling: the adjoint of every state, against autograd on the oracle and against closed forms."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from equations import (
    F64,
    VARIANTS,
    assert_equal_to,
    assert_near,
    fold,
    graph_of,
    inputs_for,
    place,
    samples_of,
    structure_of,
    take,
)
from torch import Tensor
from torch.autograd import gradcheck

from rnn_research.cells import GRU, LSTM, RNN, Cell, Hidden, HiddenCell, TreeRNN
from rnn_research.cells.initialisation import identity, orthogonal
from rnn_research.structures import Chain, Forest, Tree, balanced
from rnn_research.structures.tree import unary
from rnn_research.unroll import Intervention, Unrolled, unroll

WITH_MEMORY = [name for name in VARIANTS if VARIANTS[name].build(1, 1).state_type is HiddenCell]
GRADIENTS = ("adjoints", "direct", "recurrent")

each_cell = pytest.mark.parametrize("name", VARIANTS)
each_kind = pytest.mark.parametrize("kind", ["chain", "forest"])
PLACES = [
    *(("rnn", "chain"), ("lstm", "chain"), ("gru", "chain"), ("gru_before", "chain"), ("nary", "chain")),
    *(("rnn", "forest"), ("lstm", "forest"), ("tree_rnn", "forest"), ("child_sum", "forest"), ("nary", "forest")),
]
"""Each form of an update, where the others add but another nonlinearity or another structure."""
each_place = pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=() if (name, kind) in PLACES else pytest.mark.slow)
        for name in VARIANTS
        for kind in ("chain", "forest")
    ],
)
"""Every cell on both, most of them slow: for laws of what is done with an update, whatever it computes."""

Sample = int | Tree
Gradients = dict[tuple[int, int, int], Tensor]
"""(nodes, hidden) of a layer, a part of its state, and a sample."""
Loss = Callable[[Sequence[Tensor], int], Tensor]
"""A sample's loss, of the parts of its states, (nodes, hidden) each, and the number of its last node."""


@pytest.fixture(autouse=True, params=["native", "torch", "reference"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every law here is one of every engine."""
    monkeypatch.setitem(globals(), "unroll", partial(unroll, engine=request.param))
    return request.param


def weigh(values: Tensor) -> Tensor:
    """A loss that weighs every element differently, and bends."""
    weights = torch.arange(1, values.numel() + 1, dtype=values.dtype, device=values.device).cos()
    return (values.flatten() * weights).sum() + values.square().sum() / 2


LOSSES: dict[str, Loss] = {
    "last": lambda parts, last: weigh(parts[0][last]),
    "every": lambda parts, last: weigh(parts[0]),
    "every, of the memory too": lambda parts, last: weigh(torch.stack(list(parts))),
}
MOST = {name: "every, of the memory too" if name in WITH_MEMORY else "every" for name in VARIANTS}
"""By cell, the loss that reads all of its states."""


def layers_of(name: str, count: int = 2) -> list[Cell]:
    return [VARIANTS[name].build(4 if layer else 3, 4, seed=layer) for layer in range(count)]


def loss_of(unrolled: Unrolled, samples: Sequence[Sample], loss: Loss) -> Tensor:
    parts = zip(*(take(unrolled.top.structure, part) for part in unrolled.states), strict=True)
    losses = [loss(part, graph_of(sample).last) for part, sample in zip(parts, samples, strict=True)]
    return torch.stack(losses).sum()


def run(cells: Any, samples: Sequence[Sample], inputs: Sequence[Tensor], loss: Loss, **kwargs: Any) -> Unrolled:
    """Unrolled, and its loss gone backward."""
    structure = structure_of(samples)
    unrolled = unroll(cells, structure, place(structure, inputs), **kwargs)
    loss_of(unrolled, samples, loss).backward()
    return unrolled


@functools.cache
def found_once(engine: str, name: str, kind: str, loss: str, which: str) -> Gradients:
    """Of `layers_of` the name, on `samples_of` the kind: several tests compare with it."""
    return by_sample(_run_once(engine, name, kind, loss), which)


@functools.cache
def _run_once(engine: str, name: str, kind: str, loss: str) -> Unrolled:
    samples = samples_of(kind)
    return run(layers_of(name), samples, inputs_for(samples, 3), LOSSES[loss], engine=engine)


def assert_all_near(found: Gradients, expected: Gradients, tolerance: float = 1e-12) -> None:
    """`assert_near` of each, all at once."""
    assert found.keys() == expected.keys()
    assert all(found[key].shape == rows.shape for key, rows in expected.items())
    assert_near(torch.cat([found[key] for key in expected]), torch.cat([*expected.values()]), tolerance)


def by_sample(unrolled: Unrolled, which: str = "adjoints") -> Gradients:
    return {
        (index, part, sample): rows
        for index, layer in enumerate(unrolled.layers)
        for part, values in enumerate(getattr(layer, which))
        for sample, rows in enumerate(take(layer.structure, values))
    }


def oracle(
    name: str,
    cells: Sequence[Cell],
    samples: Sequence[Sample],
    inputs: Sequence[Tensor],
    loss: Loss,
    recurrence: Any = lambda layer, node, state: state,
    readout: Any = lambda layer, node, state: state,
) -> Gradients:
    """Adjoints by `retain_grad` in a loop over the published equations. `recurrence` acts on what a state
    passes on to the next update, `readout` on what it passes on to the layer above or the loss."""
    states, losses = {}, []
    for sample, (shape, values) in enumerate(zip(samples, inputs, strict=True)):
        graph, out = graph_of(shape), []
        for layer, cell in enumerate(cells):
            found = fold(VARIANTS[name].update(cell), graph, values, passed=partial(recurrence, layer))
            states |= {(layer, part, sample): list(nodes) for part, nodes in enumerate(zip(*found, strict=True))}
            out = [readout(layer, node, state) for node, state in enumerate(found)]
            values = [state[0] for state in out]
        losses.append(loss([torch.stack(part) for part in zip(*out, strict=True)], graph.last))
    torch.stack(losses).sum().backward()
    return {
        key: torch.stack([torch.zeros_like(part) if part.grad is None else part.grad for part in nodes])
        for key, nodes in states.items()
    }


def cut(state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(part.detach() for part in state)


# Against the oracle


@pytest.mark.parametrize(
    ("name", "losses"),
    [
        *((name, losses) for name in VARIANTS for losses in ("last", MOST[name])),
        *(pytest.param(name, "every", marks=pytest.mark.slow) for name in WITH_MEMORY),
    ],
)
@each_kind
def test_adjoints_and_their_direct_part_equal_retain_grad_on_a_loop(name, kind, losses, engine):
    """In every layer. The direct part is the adjoint where the layer's states pass nothing on to later ones:
    cut there, and only there."""
    found, direct, recurrent = (found_once(engine, name, kind, losses, which) for which in GRADIENTS)
    whole, alone = of_a_loop(name, kind, losses)
    assert_all_near(found, whole)
    assert_all_near({key: direct[key] + recurrent[key] for key in whole}, whole)
    assert_all_near(direct, {key: alone[key[0]][key] for key in whole})


@functools.cache
def of_a_loop(name: str, kind: str, losses: str) -> tuple[Gradients, list[Gradients]]:
    """The same for every engine: all of it, and where one layer passes nothing on to later states."""
    cells, samples = layers_of(name), samples_of(kind)
    given = name, cells, samples, inputs_for(samples, 3), LOSSES[losses]
    alone = [
        oracle(*given, recurrence=lambda layer, node, state, own=own: cut(state) if layer == own else state)
        for own in range(len(cells))
    ]
    return oracle(*given), alone


@each_place
def test_the_recurrent_part_is_what_is_left_where_a_state_is_not_read_out(name, kind):
    """A state at a time, the others read out as ever. At a last state, which is not passed on, it is zero."""
    cells, samples = layers_of(name), samples_of(kind, sizes=(4, 2))
    inputs, loss = inputs_for(samples, 3), LOSSES["every, of the memory too"]
    found = by_sample(run(cells, samples, inputs, loss), "recurrent")
    for (own, node), alone in of_a_loop_without_a_readout(name, kind).items():
        there = [key for key, rows in alone.items() if key[0] == own and node < len(rows)]
        assert_all_near(*({key: one[key][node : node + 1] for key in there} for one in (found, alone)))
    for (_, _, sample), rows in found.items():
        assert not rows[graph_of(samples[sample]).last].any()


@functools.cache
def of_a_loop_without_a_readout(name: str, kind: str) -> dict[tuple[int, int], Gradients]:
    """The same for every engine: where a layer's state at a node is not read out, by layer and node."""
    cells, samples = layers_of(name), samples_of(kind, sizes=(4, 2))
    given = name, cells, samples, inputs_for(samples, 3), LOSSES["every, of the memory too"]
    return {
        (own, node): oracle(
            *given, readout=lambda layer, v, state, at=(own, node): cut(state) if (layer, v) == at else state
        )
        for own in range(len(cells))
        for node in range(4)
    }


def hardly_passing_on(name: str) -> Cell:
    cell = VARIANTS[name].build(3, 4)
    with torch.no_grad():
        cell.weight_hh.mul_(1e-25)
        for gate, ours, theirs in cell.bias_blocks():
            if gate in "fz":  # the gates that let a state through: 1e-26
                ours.fill_(-60)
                theirs.zero_()
    return cell


@functools.cache
def of_a_loop_that_hardly_passes_a_state_on(name: str, kind: str) -> list[Gradients]:
    """The same for every engine: where the state at a node is not read out, by node."""
    samples = samples_of(kind)
    given = name, [hardly_passing_on(name)], samples, inputs_for(samples, 3), LOSSES["every"]
    return [
        oracle(*given, readout=lambda layer, v, state, node=node: cut(state) if v == node else state)
        for node in range(7)
    ]


@each_place
def test_a_recurrent_part_of_1e_25_of_the_direct_one_keeps_its_digits(name, kind):
    """It is not what is left of the total when the direct part is taken away."""
    cell, samples = hardly_passing_on(name), samples_of(kind)
    unrolled = run(cell, samples, inputs_for(samples, 3), LOSSES["every"])
    direct, recurrent = by_sample(unrolled, "direct"), by_sample(unrolled, "recurrent")
    for node, alone in enumerate(of_a_loop_that_hardly_passes_a_state_on(name, kind)):
        there = [key for key, rows in alone.items() if node < len(rows)]
        assert_all_near(*({key: one[key][node : node + 1] for key in there} for one in (recurrent, alone)), 1e-11)
    largest = max(rows.norm(dim=-1).max() for rows in recurrent.values())
    assert 1e-40 < largest < 1e-20 < min(rows.norm(dim=-1).min() for rows in direct.values())


@each_place
def test_adjoints_are_a_samples_own_whatever_batch_it_is_in(name, kind, engine):
    """Alone or with others, in any order, beside any padding; padding has no adjoint and no distance."""
    cells, samples = layers_of(name), samples_of(kind)
    inputs, loss = inputs_for(samples, 3), "every, of the memory too"
    among_all = found_once(engine, name, kind, loss, "adjoints")
    for batch in ([0], [1], [2], [3, 1, 0], [1, 0, 1]):
        unrolled = run(cells, [samples[b] for b in batch], [inputs[b] for b in batch], LOSSES[loss])
        found = by_sample(unrolled)
        assert_all_near(found, {key: among_all[*key[:2], batch[key[2]]] for key in found})
        for layer in unrolled.layers:
            sizes = [len(inputs[b]) for b in batch]
            assert int(layer.mask.sum()) == sum(sizes)
            assert ((layer.distance >= 0) == layer.mask).all()
            for which in ("states", *GRADIENTS):
                for values in getattr(layer, which):
                    assert not values[~layer.mask].any()


@each_place
def test_adjoints_of_one_loss_leave_no_trace_in_those_of_another(name, kind, engine):
    for when in ("before backward", "after backward"):
        leaves_no_trace(name, kind, engine, when)


def leaves_no_trace(name: str, kind: str, engine: str, when: str) -> None:
    cells, samples = layers_of(name), samples_of(kind)
    structure, inputs = structure_of(samples), inputs_for(samples, 3)
    unrolled = unroll(cells, structure, place(structure, inputs))
    last, every = (loss_of(unrolled, samples, LOSSES[which]) for which in ("last", "every"))
    if when == "after backward":
        every.backward(retain_graph=True)
    before = [parameter.grad for cell in cells for parameter in cell.parameters()]
    found = {
        (index, part, sample): rows
        for index, layer in enumerate(unrolled.layers)
        for part, values in enumerate(layer.adjoints_of(last))
        for sample, rows in enumerate(take(structure, values))
    }
    assert_all_near(found, found_once(engine, name, kind, "last", "adjoints"))
    assert all(
        one is other for one, other in zip(before, (p.grad for cell in cells for p in cell.parameters()), strict=True)
    )
    if when == "before backward":
        every.backward()
    for which in GRADIENTS:
        found = by_sample(unrolled, which)
        for key, rows in found_once(engine, name, kind, "every", which).items():
            assert torch.equal(found[key], rows)


def test_adjoints_of_need_no_record():
    samples = samples_of("forest")
    inputs, structure = inputs_for(samples, 3), structure_of(samples)
    cell = VARIANTS["nary"].build(3, 4)
    unrolled = unroll(cell, structure, place(structure, inputs), record=False)
    found = unrolled.top.adjoints_of(loss_of(unrolled, samples, LOSSES["last"]))
    expected = run(cell, samples, inputs, LOSSES["last"]).adjoints
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


# Closed forms


def linear(gain: float, hidden_size: int = 8, make: Any = RNN, **kwargs: Any) -> Any:
    """The linear cell with U = gain * Q (each child's), Q orthogonal to the last digit of a float64."""
    torch.manual_seed(0)
    cell = make(3, hidden_size, nonlinearity="identity", **kwargs).double()
    with torch.no_grad():
        orthogonal(cell, gain)
    return cell


def last_state_read(parts: Sequence[Tensor], last: int) -> Tensor:
    return parts[0][last].sum()


@pytest.mark.parametrize("gain", [0.5, 0.9, 1.0, 1.1])
def test_a_linear_cell_scales_the_adjoint_by_its_gain_each_step(gain):
    lengths = [200, 1, 73]
    unrolled = run(linear(gain), lengths, inputs_for(lengths, 3), last_state_read)
    norms = unrolled.adjoints.hidden.norm(dim=-1)[unrolled.mask]
    distance = unrolled.distance[unrolled.mask].double()
    assert int(distance.max()) == 199
    torch.testing.assert_close(norms, math.sqrt(8) * gain**distance, rtol=1e-12, atol=0)


@pytest.mark.parametrize("layers", [1, 3])
@each_kind
def test_distance_is_the_number_of_cell_applications_on_every_path_to_the_last_state(kind, layers):
    """With U = W = g I the adjoint is g^d a path, and there are (d choose layers above) paths."""
    cells = [RNN(3 if layer == 0 else 4, 4, nonlinearity="identity").double() for layer in range(layers)]
    with torch.no_grad():
        for cell in cells:
            for _, block in (
                *cell.recurrent_blocks(),
                *(cell.input_blocks() if cell.input_size == 4 else ()),
            ):
                block.copy_(0.7 * torch.eye(4, dtype=F64))
    samples = samples_of(kind, sizes=(9, 1, 6))
    unrolled = run(cells, samples, inputs_for(samples, 3), last_state_read)
    for index, layer in enumerate(unrolled.layers):
        distance, above = layer.distance[layer.mask].double(), layers - 1 - index
        assert int(distance.min()) == above
        paths = torch.tensor([math.comb(d, above) for d in distance.int().tolist()], dtype=F64)
        found = layer.adjoints.hidden[layer.mask]
        assert_near(found, (paths * 0.7**distance)[:, None].expand(-1, 4))


def test_on_a_tree_each_edge_scales_the_adjoint_by_its_childs_gain():
    gains = torch.tensor([0.5, 0.9, 1.0, 1.1, 1.3], dtype=F64)
    cell = linear(1.0, make=TreeRNN, max_children=5)
    with torch.no_grad():
        for gain, (_, block) in zip(gains, cell.recurrent_blocks(), strict=True):
            block.mul_(gain)
    samples = samples_of("forest", sizes=(60, 1, 30))
    found = by_sample(run(cell, samples, inputs_for(samples, 3), last_state_read))
    for sample, tree in enumerate(samples):
        norms = found[0, 0, sample].norm(dim=-1)
        for node, children in enumerate(graph_of(tree).previous):
            torch.testing.assert_close(norms[children], norms[node] * gains[: len(children)], rtol=1e-12, atol=0)


@pytest.mark.parametrize("make", [RNN, TreeRNN], ids=["sum", "apart"])
def test_on_a_balanced_tree_the_adjoint_falls_with_depth_alone(make):
    cell, tree = linear(0.8, make=make, max_children=2), balanced(300)
    unrolled = run(cell, [tree], inputs_for([tree], 3), last_state_read)
    expected = math.sqrt(8) * 0.8 ** unrolled.distance.double()
    torch.testing.assert_close(unrolled.adjoints.hidden.norm(dim=-1), expected, rtol=1e-12, atol=0)


def test_float32_adjoints_are_not_lost_down_to_1e_30():
    cell = linear(0.5).float()
    unrolled = unroll(cell, Chain(torch.tensor([101])), torch.randn(1, 101, 3))
    unrolled.hidden[:, -1].sum().backward()
    norms = torch.linalg.vector_norm(unrolled.adjoints.hidden[0], dim=-1, dtype=F64)
    torch.testing.assert_close(norms, math.sqrt(8) * 0.5 ** unrolled.distance[0].double(), rtol=1e-4, atol=0)
    assert 1e-31 < norms[0] < 1e-29


def test_a_loss_on_every_step_adds_up_along_an_identity_recurrence():
    """U = I: the adjoint at t is the sum of the readouts' gradients at t and later."""
    cell = linear(1.0)
    with torch.no_grad():
        cell.weight_hh.copy_(torch.eye(8))
    readouts = torch.randn(12, 8, dtype=F64)
    unrolled = run(cell, [12], inputs_for([12], 3), lambda parts, last: (parts[0] * readouts).sum())
    assert_near(unrolled.adjoints.hidden[0], readouts.flip(0).cumsum(0).flip(0))
    assert_near(unrolled.direct.hidden[0], readouts)


@pytest.mark.parametrize("gain", [0.5, 0.9, 1.1])
def test_a_loss_on_every_step_makes_a_geometric_sum(gain):
    """U = g Q, the same readout w at every step: sum_k (g Q^T)^k w, k = 0..d, by its closed form."""
    cell = linear(gain)
    step, eye = cell.weight_hh.detach().T, torch.eye(8, dtype=F64)
    unrolled = run(cell, [40], inputs_for([40], 3), lambda parts, last: parts[0].sum())
    for found, d in zip(unrolled.adjoints.hidden[0], unrolled.distance[0].tolist(), strict=True):
        power = torch.linalg.matrix_power(step, d + 1)
        expected = torch.linalg.solve(eye - step, (eye - power).sum(1))
        torch.testing.assert_close(found.norm(), expected.norm(), rtol=1e-12, atol=0)


def test_an_irnn_with_all_units_active_passes_the_adjoint_on_untouched():
    cell = RNN(3, 4, nonlinearity="relu", initialise=(identity,)).double()
    with torch.no_grad():
        cell.weight_ih.abs_()
    inputs = [x.abs() for x in inputs_for([50], 3)]
    unrolled = run(cell, [50], inputs, LOSSES["last"])
    assert (unrolled.hidden > 0).all()
    assert (unrolled.adjoints.hidden == unrolled.adjoints.hidden[:, -1:]).all()


@pytest.mark.parametrize("bias", ["open", "part open"])
def test_an_lstm_without_recurrence_through_h_passes_the_memorys_adjoint_through_its_forget_gates(bias):
    """U = 0 and W_f = 0: dL/dc shrinks by sigmoid(b_f) a step; with a gate of 1 not at all, to the bit."""
    torch.manual_seed(0)
    cell = LSTM(3, 4).double()
    forget = torch.full((4,), 1000.0, dtype=F64) if bias == "open" else torch.randn(4, dtype=F64)
    with torch.no_grad():
        cell.weight_hh.zero_()
        dict(cell.input_blocks())["f"].zero_()
        for gate, ours, theirs in cell.bias_blocks():
            if gate == "f":
                ours.copy_(forget)
                theirs.zero_()
    unrolled = run(cell, [60], inputs_for([60], 3), LOSSES["last"])
    found = unrolled.adjoints.cell[0]
    powers = torch.sigmoid(forget) ** unrolled.distance[0][:, None]
    assert_near(found, powers * found[-1])
    assert found[-1].all()
    assert bias != "open" or (found == found[-1]).all()
    assert_near(found[-1:], unrolled.direct.cell[0, -1:])
    assert not unrolled.adjoints.hidden[0, :-1].any()


# Recording, and what it needs


@each_place
def test_recording_changes_no_bit_of_outputs_and_gradients(name, kind):
    samples = samples_of(kind)
    results = []
    for record in (True, False):
        cells, inputs = layers_of(name), [x.requires_grad_() for x in inputs_for(samples, 3)]
        unrolled = run(cells, samples, inputs, LOSSES["every, of the memory too"], record=record)
        parameters = [parameter.grad for cell in cells for parameter in cell.parameters()]
        results.append([*unrolled.states, *parameters, *(x.grad for x in inputs)])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


@each_place
def test_frozen_parameters_have_the_same_adjoints(name, kind, engine):
    cells, samples = [cell.requires_grad_(False) for cell in layers_of(name)], samples_of(kind)
    frozen = run(cells, samples, inputs_for(samples, 3), LOSSES["every"])
    for which in GRADIENTS:
        assert_all_near(by_sample(frozen, which), found_once(engine, name, kind, "every", which), 1e-14)


@each_place
def test_updates_replay_every_update_once(name, kind):
    samples = samples_of(kind)
    inputs = [x.requires_grad_() for x in inputs_for(samples, 3)]
    unrolled = run(layers_of(name), samples, inputs, LOSSES["last"])
    for layer in unrolled.layers:
        places = []
        for positions, projected, previous in layer.updates():
            assert not any(t.requires_grad for t in (projected, *(part for state in previous for part in state)))
            replayed = layer.cell.step(projected, *previous)
            for found, expected in zip(replayed, layer.states, strict=True):
                assert_near(found, expected.flatten(end_dim=-2)[positions], 1e-14)
            places += positions.tolist()
        assert sorted(places) == layer.mask.flatten().nonzero().flatten().tolist()


@each_place
def test_without_gradients_the_states_are_the_same(name, kind):
    cells, samples = layers_of(name), samples_of(kind)
    structure = structure_of(samples)
    inputs = place(structure, inputs_for(samples, 3))
    expected = unroll(cells, structure, inputs).states
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            found = unroll(cells, structure, inputs)
        for one, other in zip(found.states, expected, strict=True):
            assert torch.equal(one, other)
        with pytest.raises(RuntimeError, match="call backward"):
            _ = found.adjoints


@each_kind
@each_cell
def test_the_gradient_is_the_numerical_one(name, kind):
    """Of every input and parameter: each element of the equations' numerical Jacobian; and of what is computed here,
    along directions that have a part in each of their elements."""
    samples = samples_of(kind, sizes=SIZES_SMALL[kind])
    cell, structure = VARIANTS[name].build(2, 2, max_children=3), structure_of(samples)
    given = [*(x.requires_grad_() for x in inputs_for(samples, 2)), *cell.parameters()]

    def states(*arguments: Tensor) -> tuple[Tensor, ...]:
        found = unroll(cell, structure, place(structure, arguments[: len(samples)])).states
        return tuple(torch.cat(take(structure, part)) for part in found)

    assert gradcheck(states, given, fast_mode=True)
    found = torch.cat([part.flatten() for part in states(*given)])
    expected, jacobian = of_the_equations(name, kind)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for row, one in zip(jacobian, found, strict=True):
        gradients = torch.autograd.grad(one, given, retain_graph=True, materialize_grads=True)
        assert_equal_to(torch.cat([gradient.flatten() for gradient in gradients]), row, 1e-7)


SIZES_SMALL = {"chain": (3, 1), "forest": (4, 1)}


@functools.cache
def of_the_equations(name: str, kind: str) -> tuple[Tensor, Tensor]:
    """The states of small samples, and how each depends on each element of the inputs and the parameters, by central
    differences. The same for every engine."""
    samples = samples_of(kind, sizes=SIZES_SMALL[kind])
    cell = VARIANTS[name].build(2, 2, max_children=3)
    names = [one for one, _ in cell.named_parameters()]
    given = [*inputs_for(samples, 2), *(parameter.detach() for parameter in cell.parameters())]

    def states(flat: Tensor) -> Tensor:
        parts = flat.split([one.numel() for one in given])
        values = [part.view(one.shape) for part, one in zip(parts, given, strict=True)]
        inputs, parameters = values[: len(samples)], dict(zip(names, values[len(samples) :], strict=True))
        alike = SimpleNamespace(hidden_size=2, max_children=3, **parameters)
        found = [
            state
            for sample, x in zip(samples, inputs, strict=True)
            for state in fold(VARIANTS[name].update(alike), graph_of(sample), x.unbind())
        ]
        return torch.cat([torch.cat(part) for part in zip(*found, strict=True)])

    flat = torch.cat([one.flatten() for one in given])
    step = 1e-5 * torch.eye(len(flat), dtype=F64)
    after, before = (torch.vmap(states)(flat + by) for by in (step, -step))
    return states(flat), ((after - before) / 2e-5).T


def test_what_stands_between_layers_acts_on_what_one_hands_to_the_next():
    """And on nothing else: not on the inputs, and not on the top layer's states."""
    cells, samples = layers_of("gru", 3), samples_of("chain")
    inputs = inputs_for(samples, 3)
    handed = []

    def halve(hidden: Tensor) -> Tensor:
        handed.append(hidden)
        return hidden / 2

    found = run(cells, samples, inputs, LOSSES["every"], between=halve)
    halved = [cells[0], *layers_of("gru", 3)[1:]]
    with torch.no_grad():
        for cell in halved[1:]:
            cell.weight_ih.div_(2)
    expected = run(halved, samples, inputs, LOSSES["every"])
    assert [hidden is layer.hidden for hidden, layer in zip(handed, found.layers[:2], strict=True)] == [True] * 2
    for key, rows in by_sample(expected).items():
        assert_near(by_sample(found)[key], rows)


def test_adjoints_before_they_are_there_are_refused():
    cell = VARIANTS["lstm"].build(3, 4)
    chain, inputs = Chain(torch.tensor([3])), torch.randn(1, 3, 3, dtype=F64)
    for which in GRADIENTS:
        with pytest.raises(RuntimeError, match=r"no backward pass .* call backward"):
            getattr(unroll(cell, chain, inputs), which)
        unrolled = unroll(cell, chain, inputs, record=False)
        unrolled.hidden.sum().backward()
        with pytest.raises(RuntimeError, match=r"recorded none; call unroll\(\.\.\., record=True\)"):
            getattr(unrolled, which)


def test_parts_of_an_lstms_adjoints_are_refused_once_its_parameters_have_changed():
    """They are found by running each update again."""
    cell = VARIANTS["lstm"].build(3, 4)
    unrolled = run(cell, [3], inputs_for([3], 3), LOSSES["every"])
    _ = unrolled.direct
    torch.optim.SGD(cell.parameters(), lr=0.1).step()
    _ = unrolled.direct, unrolled.adjoints
    with pytest.raises(RuntimeError, match=r"parameters have changed .* before the optimiser's step"):
        _ = unrolled.recurrent


def zeros(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=F64)


@pytest.mark.parametrize(
    ("structure", "inputs", "initial", "complaint"),
    [
        (Chain(torch.tensor([2, 5])), zeros(2, 4, 3), None, r"given shape \(2, 4, 3\), expected \(2, 5, 3\)"),
        (Chain(torch.tensor([2, 5])), zeros(2, 5, 4), None, r"given shape \(2, 5, 4\), expected \(2, 5, 3\)"),
        (Chain(torch.tensor([2, 5])), zeros(5, 3), None, r"given shape \(5, 3\), expected \(2, 5, 3\)"),
        (Forest.of([unary(3)]), zeros(1, 3, 3), None, r"given shape \(1, 3, 3\), expected \(3, 3\)"),
        (Forest.of([unary(3)]), zeros(3, 3), [Hidden(zeros(1, 4))], "given for a forest, expected none"),
        (
            Chain(torch.tensor([2, 2])),
            zeros(2, 2, 3),
            [Hidden(zeros(1, 4))],
            r"\[\(\(1, 4\),\)\], expected \[\(\(2, 4",
        ),
        (Chain(torch.tensor([2, 2])), zeros(2, 2, 3), [], r"given shapes \[\], expected \[\(\(2, 4\),\)\]"),
        (
            Chain(torch.tensor([2, 2])),
            zeros(2, 2, 3),
            [HiddenCell(zeros(2, 4), zeros(2, 4))],
            r"given shapes \[\(\(2, 4\), \(2, 4\)\)\], expected",
        ),
    ],
)
def test_what_does_not_fit_is_refused_naming_what_was_given_and_expected(structure, inputs, initial, complaint):
    cell = RNN(3, 4).double()
    with pytest.raises(ValueError, match=complaint):
        unroll(cell, structure, inputs, initial=initial)


def test_no_layers_are_refused():
    with pytest.raises(ValueError, match="given no layers, expected at least one cell"):
        unroll([], Chain(torch.tensor([1])), zeros(1, 1, 3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@each_kind
@each_cell
def test_a_gpu_gives_the_processors_numbers(name, kind):
    samples = samples_of(kind)
    inputs, results = inputs_for(samples, 3), []
    for device in ("cpu", "cuda"):
        cells = [cell.to(device) for cell in layers_of(name)]
        structure = structure_of(samples).to(device)
        unrolled = unroll(cells, structure, place(structure, [x.to(device) for x in inputs]))
        of_last = unrolled.layers[0].adjoints_of(loss_of(unrolled, samples, LOSSES["last"]))
        loss_of(unrolled, samples, LOSSES["every"]).backward()
        states = [getattr(layer, which) for layer in unrolled.layers for which in ("states", *GRADIENTS)]
        parts = [part for state in (*states, of_last) for part in state]
        results.append([*parts, *(parameter.grad for cell in cells for parameter in cell.parameters())])
    for on_cpu, on_gpu in zip(*results, strict=True):
        assert on_gpu.is_cuda
        assert_equal_to(on_gpu.cpu(), on_cpu)


def test_the_trees_here_have_every_arity():
    """What the laws above are tested on: no child to several, with siblings of different arity."""
    arity = np.concatenate([tree.arity for tree in samples_of("forest")])
    assert {0, 1, 2} <= set(arity.tolist())


@pytest.mark.parametrize("acts", [False, True])
@pytest.mark.parametrize("initial", [False, True])
def test_gates_that_were_kept_are_the_activations(initial: bool, acts: bool) -> None:
    """On sequences of several lengths; of the first updates, which read a zero state, nothing is kept."""
    torch.manual_seed(0)
    chain, cell = Chain(torch.tensor([3, 5, 1, 5])), LSTM(2, 3).double()
    inputs = torch.randn(4, 5, 2, dtype=torch.float64)
    state = cell.state_type(*torch.randn(2, 4, 3, dtype=torch.float64)) if initial else None
    inside = [Intervention(max_value=1e9)] if acts else None
    unrolled = unroll(
        cell, chain, inputs, initial=None if state is None else [state], engine="native", interventions=inside
    )
    kept = unrolled.top.kept()
    assert kept is not None
    states = [part.detach() for part in unrolled.states]
    starts = [part[:, 0] * 0 for part in states] if state is None else state
    before = [torch.cat([start[:, None], part[:, :-1]], 1) for start, part in zip(starts, states, strict=True)]
    here = chain.mask if initial else chain.mask & (torch.arange(5) > 0)
    assert torch.equal(kept.place >= 0, here)
    expected = cell.activations(cell.project(inputs[here]), cell.state_type(*(part[here] for part in before)))
    for gate, slot in zip(cell.gates, kept.slot, strict=True):
        torch.testing.assert_close(kept.values[kept.place[here], slot], expected[gate].detach(), rtol=1e-12, atol=0)


def test_an_engine_that_keeps_no_gates_says_so() -> None:
    chain, inputs = Chain(torch.tensor([3, 2])), torch.randn(2, 3, 2)
    assert unroll(LSTM(2, 3), chain, inputs, engine="reference").top.kept() is None
    assert unroll(GRU(2, 3), chain, inputs, engine="native").top.kept() is None
    assert unroll(LSTM(2, 3), chain, inputs, engine="native", record=False).top.kept() is None


@pytest.mark.parametrize("make", [LSTM, GRU, RNN])
def test_under_autocast_the_parts_are_those_of_single_precision_up_to_rounding(make: type[Cell]) -> None:
    """Updates are replayed, outside autocast, in the precision of the forward pass."""
    torch.manual_seed(0)
    chain, cell, inputs = Chain(torch.tensor([4, 2, 5])), make(2, 8), torch.randn(3, 5, 2)
    found = []
    for mixed in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            unrolled = unroll(cell, chain, inputs, interventions=[Intervention(max_value=1e9)], engine="reference")
        chain.terminal(unrolled.hidden).float().sum().backward()
        found.append([getattr(unrolled, part) for part in ("adjoints", "direct", "recurrent")])
    for exact, rounded in zip(*found, strict=True):
        for one, other in zip(exact, rounded, strict=True):
            torch.testing.assert_close(other.float(), one, rtol=0, atol=0.05)
