"""What acts inside backpropagation, against a loop over the published equations with a hook at every node."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import cases
import numpy as np
import pytest
import torch
from equations import (
    F64,
    VARIANTS,
    assert_equal_to,
    assert_near,
    graph_of,
    inputs_for,
    marking,
    place,
    random_tree,
    samples_of,
    structure_of,
    take,
)
from torch import Tensor

from rnn_research.cells import GRU, LSTM, RNN, Cell, ChildSumTreeLSTM, Hidden
from rnn_research.structures import Chain, Forest
from rnn_research.unroll import Intervention, LossScale, Unrolled, combine, unroll

ENGINES = ("native", "reference")
SIZES = (4, 1, 6)

each_engine = pytest.mark.parametrize("engine", ENGINES)
each_cell = pytest.mark.parametrize("name", VARIANTS)
each_kind = pytest.mark.parametrize("kind", ["chain", "forest"])
PLACES = (("lstm", "chain"), ("gru_before", "chain"), ("tree_rnn", "forest"), ("child_sum", "forest"))
"""What differs in how it is acted on: two parts, two products after each other, children apart and summed."""


def rest_is_slow(name: str, kind: str) -> tuple[Any, ...]:
    """The mark of a case that is none of `PLACES`."""
    return () if (name, kind) in PLACES else (pytest.mark.slow,)


def samples(kind: str) -> list[Any]:
    return samples_of(kind, sizes=SIZES) if kind == "chain" else BINARY


def _binary() -> list[Any]:
    """Trees with at most two children: fewer updates to compile."""
    random = np.random.default_rng(0)
    return [random_tree(random, size, 2) for size in (6, 1, 7)]


BINARY = _binary()


class Case(NamedTuple):
    """Two layers of a cell on some samples, and what acts in each."""

    cells: list[Cell]
    samples: list[Any]
    inputs: list[Tensor]
    inside: list[Intervention]


def case(name: str, kind: str, **kwargs: Any) -> Case:
    cells = [VARIANTS[name].build(4 if layer else 3, 4, seed=layer, max_children=2) for layer in range(2)]
    given = samples(kind)
    return Case(cells, given, inputs_for(given, 3), [Intervention(**kwargs)] * 2)


def factors(kind: str, cell: Cell, parts: Sequence[int]) -> list[Tensor | None]:
    """Factors for these parts: half of them 0, others negative or above 1; the same for all cells."""
    structure = structure_of(samples(kind))
    random = torch.Generator().manual_seed(5)
    made = [torch.randn(structure.mask.shape, generator=random, dtype=F64) for _ in range(2)]
    made = [torch.where(one > 0, 1.5 * one, 0.0) - (one > 1).double() for one in made]
    return [made[part] if part in parts else None for part in range(len(cell.state_names))]


def loss_of(hidden: Sequence[Tensor]) -> Tensor:
    """Of all samples: every element weighs differently, and each state is read."""
    weights = [torch.arange(1, h.numel() + 1, dtype=h.dtype).cos().view_as(h) for h in hidden]
    return sum((((h * w).sum() + h.square().sum() / 2) for h, w in zip(hidden, weights, strict=True)), torch.zeros(()))


def run(given: Case, engine: str, inside: Any = ..., **kwargs: Any) -> Unrolled:
    """Unrolled, and its loss gone backward."""
    structure = structure_of(given.samples)
    inside = given.inside if inside is ... else inside
    inputs = place(structure, given.inputs).nan_to_num()
    unrolled = unroll(given.cells, structure, inputs, engine=engine, interventions=inside, **kwargs)
    loss_of(take(structure, unrolled.hidden)).backward()
    return unrolled


# Against a loop with a hook at every node


class Loop:
    """The same a node at a time. At each node stand three identities with hooks: `whole` (the adjoint), and its two
    readers, `passed` (the recurrent part) and the readout (the direct part)."""

    def __init__(self, given: Case) -> None:
        self.given, self.norms, self.factor = given, {}, {}
        self.acted: dict[Any, Tensor] = defaultdict(lambda: torch.zeros((), dtype=F64))
        self.parts: dict[Any, Tensor] = {}
        self.states: dict[Any, Any] = {}
        for sample, (shape, values) in enumerate(zip(given.samples, given.inputs, strict=True)):
            for layer, cell in enumerate(given.cells):
                self.update = VARIANTS_OF[id(cell)]
                values = self.layer((layer, sample), cell, graph_of(shape), values)
            self.states["top", sample] = torch.stack(values)
        loss_of([self.states["top", sample] for sample in range(len(given.samples))]).backward()

    def layer(self, key: tuple[int, int], cell: Cell, graph: Any, values: Any) -> list[Tensor]:
        inside, passed, read = self.given.inside[key[0]], {}, {}
        parent = {child: node for node, children in enumerate(graph.previous) for child in children}
        keep = [
            None if k is None else take(structure_of(self.given.samples), k[..., None])[key[1]] for k in inside.keep
        ]
        for node in graph.order:
            at = (*key, node)
            with marking(partial(self.mark, inside, at)):
                state = self.update(cell, values[node], [passed[child] for child in graph.previous[node]])
            for part in state:
                part.retain_grad()
            self.states[at] = state
            whole = torch.cat(state).clone()
            whole.register_hook(partial(self.adjoint, inside, at))
            onwards, out = whole.clone(), whole.clone()
            own = [None if k is None else k[node, 0] for k in keep]
            onwards.register_hook(partial(self.recurrent, inside, at, own, (*key, parent.get(node))))
            out.register_hook(lambda grad, at=at: self.parts.__setitem__(("direct", *at), grad))
            passed[node], read[node] = onwards.split(len(state[0])), out
        return [read[node][: cell.hidden_size] for node in range(len(graph.order))]

    def mark(self, inside: Intervention, at: Any, z: Tensor) -> Tensor:
        def clamp(grad: Tensor) -> Tensor:
            new = grad.clamp(-inside.max_value, inside.max_value)
            for when, value in (("before", grad), ("after", new)):
                self.acted["preactivation", when, at] = torch.hypot(self.acted["preactivation", when, at], value.norm())
            return new

        z = z.clone()
        z.register_hook(clamp)
        return z.clone()  # of a linear RNN, the state: its adjoint is not clamped

    def recurrent(self, inside: Intervention, at: Any, keep: list[Tensor | None], later: Any, grad: Tensor) -> Tensor:
        parts = list(grad.chunk(max(1, len(keep))))
        new = torch.cat([p if k is None else k * p for p, k in zip(parts, keep, strict=True)]) if keep else grad
        if new.norm() > 0:
            new = new * (self.norms[later] / new.norm()) ** inside.exponent
        self.acted["recurrent", "before", at], self.acted["recurrent", "after", at] = grad.norm(), new.norm()
        self.parts["recurrent", *at] = new
        return new

    def adjoint(self, inside: Intervention, at: Any, grad: Tensor) -> Tensor:
        norm = grad.norm()
        self.factor[at] = torch.clamp(inside.max_norm / norm, max=1.0) if norm > 0 else torch.ones_like(norm)
        self.acted["adjoint", "before", at], self.acted["adjoint", "after", at] = norm, norm * self.factor[at]
        self.norms[at] = norm * self.factor[at]
        return grad * self.factor[at]


VARIANTS_OF: dict[int, Any] = {}

ACTING: dict[str, dict[str, Any]] = {
    "clamp": {"max_value": 0.05},
    "norm": {"max_norm": True},
    "normalise": {"exponent": 1.0},
    "keep": {"keep": (0,)},
    "everything": {"keep": (0, 1), "exponent": 0.4, "max_norm": True, "max_value": 0.1},
}


def acting(name: str, kind: str, which: str) -> Case:
    """The case; its threshold of norms is the median of those there are without."""
    kwargs = dict(ACTING[which])
    if "keep" in kwargs:
        kwargs["keep"] = factors(kind, VARIANTS[name].build(1, 1), kwargs["keep"])
    if "max_norm" in kwargs:
        free = run(case(name, kind, **kwargs | {"max_norm": 1e9}), "reference").top
        kwargs["max_norm"] = float(free.norms_by_point()["adjoint"][0][free.mask].median())
    return case(name, kind, **kwargs)


@pytest.mark.parametrize(
    ("name", "kind", "which"),
    [
        pytest.param(name, kind, which, marks=() if which == "everything" else rest_is_slow(name, kind))
        for name, kind, which in itertools.product(VARIANTS, ("chain", "forest"), ACTING)
    ],
)
def test_it_equals_a_loop_with_a_hook_at_every_node(name, kind, which):
    """Gradients of parameters, adjoints and their parts, and the norms before and after each point, in two layers."""
    given = acting(name, kind, which)
    VARIANTS_OF.update({id(cell): VARIANTS[name].equations for cell in given.cells})
    loop = Loop(given)
    expected = [parameter.grad for cell in given.cells for parameter in cell.parameters()]
    assert_acts(loop, given.inside[0])
    for engine in ENGINES:
        for cell in given.cells:
            cell.zero_grad()
        unrolled = run(given, engine, record="parts")
        for grad, own in zip(expected, (p.grad for cell in given.cells for p in cell.parameters()), strict=True):
            assert_equal_to(torch.zeros_like(grad) if own is None else own, grad)
        for index, layer in enumerate(unrolled.layers):
            assert layer.engine.used == engine
            assert tuple(layer.norms_by_point()) == given.inside[index].points
            compare(loop, layer, index, given)


def compare(loop: Loop, layer: Any, index: int, given: Case) -> None:
    taken = {
        which: [take(layer.structure, part) for part in getattr(layer, which)]
        for which in ("adjoints", "direct", "recurrent")
    }
    normed = {which: [take(layer.structure, part[..., None]) for part in layer.norms(which)] for which in taken}
    acted = {
        (point, when): take(layer.structure, values[..., None])
        for point, pair in layer.norms_by_point().items()
        for when, values in zip(("before", "after"), pair, strict=True)
    }
    for sample, values in enumerate(given.inputs):
        nodes = [(index, sample, node) for node in range(len(values))]
        for part in range(len(layer.cell.state_names)):
            found = {which: parts[part][sample] for which, parts in taken.items()}
            assert_near(found["adjoints"], torch.stack([grad_of(loop.states[at][part]) for at in nodes]))
            torch.testing.assert_close(found["direct"] + found["recurrent"], found["adjoints"], rtol=0, atol=1e-12)
            for which, rows in normed.items():
                assert_near(rows[part][sample], found[which].norm(dim=-1, keepdim=True))
            if len(layer.cell.state_names) == 1:  # of two parts, one lies inside the update as well
                for which in ("direct", "recurrent"):
                    zero = torch.zeros_like(found[which][0])
                    raw = [loop.parts.get((which, *at), zero) * loop.factor[at] for at in nodes]
                    assert_near(found[which], torch.stack(raw))
        for (point, when), rows in acted.items():
            assert_near(rows[sample], torch.stack([loop.acted[point, when, at] for at in nodes])[:, None])


def grad_of(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


def assert_acts(loop: Loop, inside: Intervention) -> None:
    """At some nodes, and where there is a choice not at all of them: else the test sees half of it."""
    for point in inside.points:
        keys = [key[2] for key in loop.acted if key[:2] == (point, "before")]
        changed = [
            not math.isclose(
                float(loop.acted[point, "before", at]), float(loop.acted[point, "after", at]), rel_tol=1e-9
            )
            for at in keys
        ]
        assert any(changed)
        if point == "adjoint":
            assert not all(changed)


@each_engine
@each_kind
@each_cell
def test_with_exponent_1_no_recurrent_part_is_smaller_than_the_later_adjoint(name, kind, engine):
    """The loss of the last states alone: all norms are the last one's."""
    given = case(name, kind, exponent=1.0)
    structure = structure_of(given.samples)
    unrolled = unroll(
        given.cells[:1],
        structure,
        place(structure, given.inputs).nan_to_num(),
        engine=engine,
        interventions=given.inside[:1],
    )
    structure.terminal(unrolled.hidden).square().sum().backward()
    before, after = unrolled.top.norms_by_point()["recurrent"]
    last = structure.terminal(2 * unrolled.hidden.detach()).norm(dim=-1)[structure.sample]
    reached = before > 0
    assert reached.any()
    torch.testing.assert_close(after[reached], last[reached], rtol=1e-12, atol=0)
    assert not after[~reached].any()


@pytest.mark.parametrize("make", [LSTM, ChildSumTreeLSTM])
@each_engine
def test_cutting_h_and_keeping_c_equals_detaching_h(make, engine):
    """h-detach (Kanuparthi et al. 2019): the update reads h without its gradient at some steps, c with it."""
    torch.manual_seed(0)
    cell, chain = make(3, 4).double(), Chain(torch.tensor([6, 3]))
    inputs, cut = torch.randn(2, 6, 3, dtype=F64), torch.rand(2, 6) < 0.5
    unrolled = unroll(cell, chain, inputs, engine=engine, interventions=[Intervention(keep=[(~cut).float(), None])])
    found = torch.autograd.grad(chain.terminal(unrolled.hidden).square().sum(), list(cell.parameters()))
    total = torch.zeros((), dtype=F64)
    for sample, length in enumerate([6, 3]):
        previous: tuple[Any, ...] = ()
        for step in range(length):
            state = cell(inputs[sample, step][None], *previous)
            total = total + (state.hidden.square().sum() if step == length - 1 else 0)
            previous = (type(state)(state.hidden.detach() if cut[sample, step] else state.hidden, state.cell),)
    for ours, theirs in zip(found, torch.autograd.grad(total, list(cell.parameters())), strict=True):
        assert_equal_to(ours, theirs)


# Laws


@each_engine
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=rest_is_slow(name, kind))
        for name, kind in itertools.product(VARIANTS, ("chain", "forest"))
    ],
)
def test_infinite_thresholds_are_the_same_bits_as_none(name, kind, engine):
    given = case(name, kind)
    results = []
    for inside in (None, [None, None], given.inside, [Intervention(unit=LossScale(3.0)), None]):
        for cell in given.cells:
            cell.zero_grad()
        unrolled = run(given, engine, inside, record="parts")
        parameters = [parameter.grad for cell in given.cells for parameter in cell.parameters()]
        results.append([*parameters, *(part for layer in unrolled.layers for part in (*layer.adjoints, *layer.direct))])
        assert unrolled.top.norms_by_point() == {}
    for other in results[1:]:
        assert all(a is b or torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("seed", [22, 23, 24, 25, 26, 27, 17, 29, 30, 31, 32])  # each cell once
def test_engines_agree_on_random_cases_with_everything_on(seed):
    given = cases.case(seed, arity=2)
    random = torch.Generator().manual_seed(seed)
    inside = []
    for cell in given.layers:
        kept = [torch.rand(given.structure.mask.shape, generator=random) + 0.5 for _ in cell.state_names]
        kept = [torch.where(one < 0.6, 0.0, one) for one in kept]
        kept[-1] = None if seed % 3 else kept[-1]
        inside.append(Intervention(kept, exponent=0.5, max_norm=1.0, max_value=0.2, unit=LossScale(0.5)))
    native, reference = (cases.results(given, engine, F64, inside) for engine in ENGINES)
    assert any("preactivation" in name for name in native)
    for name, expected in reference.items():
        assert float((native[name] - expected).norm()) <= 1e-11 * float(expected.norm()), f"{given.name}: {name}"


@each_engine
def test_thresholds_are_in_units_of_a_samples_own_loss(engine):
    """A mean over a batch, or a scaled loss, with its unit: each sample's adjoints are what they are alone."""
    given = case("lstm", "chain", max_norm=0.3, max_value=0.02)
    alone = [run(given._replace(samples=[s], inputs=[x]), engine) for s, x in zip(SIZES, given.inputs, strict=True)]
    unit = LossScale()
    inside = [Intervention(max_norm=0.3, max_value=0.02, unit=unit)] * 2
    structure = structure_of(given.samples)
    unrolled = unroll(
        given.cells, structure, place(structure, given.inputs).nan_to_num(), engine=engine, interventions=inside
    )
    losses = [loss_of([hidden]) for hidden in take(structure, unrolled.hidden)]
    unit.value = 5.0 / 3
    (5 * torch.stack(losses).mean()).backward()
    for sample, own in enumerate(alone):
        for ours, theirs in zip(unrolled.adjoints, own.adjoints, strict=True):
            assert_near(take(structure, ours)[sample], theirs[0] * 5 / 3)
    assert not torch.equal(*unrolled.top.norms_by_point()["adjoint"])
    unit.value = 1.0  # read at the time of the pass: what is worked out later is not another
    for part, (a, b) in enumerate(zip(unrolled.direct, unrolled.recurrent, strict=True)):
        torch.testing.assert_close(a + b, unrolled.adjoints[part], rtol=1e-12, atol=1e-14)


@each_engine
@each_kind
def test_adjoints_of_another_loss_are_those_of_its_own_pass_and_leave_no_record(kind, engine):
    given = acting("child_sum", kind, "everything")
    expected = run(given, engine)
    structure = structure_of(given.samples)
    inputs = place(structure, given.inputs).nan_to_num()
    unrolled = unroll(given.cells, structure, inputs, engine=engine, interventions=given.inside)
    with pytest.raises(RuntimeError, match="norms_by_point: no backward pass"):
        unrolled.top.norms_by_point()
    every, last = loss_of(take(structure, unrolled.hidden)), structure.terminal(unrolled.hidden).sum()
    last.backward(retain_graph=True)
    before = [one.clone() for layer in unrolled.layers for pair in layer.norms_by_point().values() for one in pair]
    for layer, own in zip(unrolled.layers, expected.layers, strict=True):
        for ours, theirs in zip(layer.adjoints_of(every), own.adjoints, strict=True):
            assert_equal_to(ours, theirs)
    after = [one for layer in unrolled.layers for pair in layer.norms_by_point().values() for one in pair]
    assert all(map(torch.equal, before, after))


@each_engine
def test_passes_add_up(engine):
    """Two backward passes, each with its own thresholds: adjoints, parts and norms are the sums of theirs."""
    given = acting("gru_before", "chain", "everything")
    structure = structure_of(given.samples)
    inputs = place(structure, given.inputs).nan_to_num()

    def found(*wanted: str) -> list[Tensor]:
        unrolled = unroll(given.cells, structure, inputs, engine=engine, interventions=given.inside)
        losses = {"every": loss_of(take(structure, unrolled.hidden)), "last": unrolled.hidden[:, -1].sum()}
        for name in wanted:
            losses[name].backward(retain_graph=True)
        parts = [part for layer in unrolled.layers for part in (*layer.adjoints, *layer.direct, *layer.recurrent)]
        return [*parts, *(one for layer in unrolled.layers for pair in layer.norms_by_point().values() for one in pair)]

    for both, one, other in zip(found("every", "last"), found("every"), found("last"), strict=True):
        torch.testing.assert_close(both, one + other, rtol=1e-12, atol=1e-14)


@each_engine
@pytest.mark.parametrize("record", [False, True, "parts"])
def test_what_acted_is_there_whatever_is_recorded_and_zero_at_padding(record, engine):
    given = acting("lstm", "chain", "everything")
    unrolled, expected = run(given, engine, record=record), run(given, "reference")
    for layer, own in zip(unrolled.layers, expected.layers, strict=True):
        for point, pair in own.norms_by_point().items():
            for ours, theirs in zip(layer.norms_by_point()[point], pair, strict=True):
                assert ours.dtype == F64
                torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-15)
                assert not ours[~layer.mask].any()


@each_engine
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_what_is_not_finite(dtype, engine):
    """A factor of 0 cuts it, and what scales by a norm leaves it."""
    cell = RNN(1, 2, nonlinearity="identity").to(dtype)
    with torch.no_grad():
        cell.weight_hh.copy_(torch.eye(2))
    chain, inputs = Chain(torch.tensor([4])), torch.zeros(1, 4, 1, dtype=dtype)
    gradient = torch.zeros(1, 4, 2, dtype=dtype)
    gradient[0, 3] = torch.tensor([math.inf, math.nan])
    gradient[0, 0] = torch.tensor([3.0, 4.0])

    def adjoints(**kwargs: Any) -> Tensor:
        unrolled = unroll(cell, chain, inputs, engine=engine, interventions=[Intervention(**kwargs)])
        unrolled.hidden.backward(gradient)
        return unrolled.adjoints.hidden[0]

    cut = adjoints(keep=[torch.tensor([[1.0, 0.0, 1.0, 1.0]])], max_norm=1.0)
    torch.testing.assert_close(cut[0], torch.tensor([0.6, 0.8], dtype=dtype))
    assert not cut[1].any()
    assert not cut[2].isfinite().any()
    assert not adjoints(max_norm=1.0, exponent=1.0)[2].isfinite().any()


@each_engine
def test_a_clamp_keeps_nan_and_bounds_infinity(engine):
    cell = RNN(2, 2, nonlinearity="identity").double()
    gradient = torch.tensor([[math.inf, math.nan]], dtype=F64)
    inputs = torch.ones(1, 1, 2, dtype=F64)
    unrolled = unroll(
        cell, Chain(torch.tensor([1])), inputs, engine=engine, interventions=[Intervention(max_value=0.5)]
    )
    unrolled.hidden.backward(gradient[None])
    assert cell.weight_ih.grad[0].tolist() == [0.5, 0.5]
    assert cell.weight_ih.grad[1].isnan().all()


# A user's own


class Unmarked(Cell):
    def step(self, projected: Any, *previous: Any) -> Hidden:
        return Hidden(torch.tanh(projected + self.recur(self.summed(projected, previous).hidden)))


class Marked(Cell):
    def step(self, projected: Any, *previous: Any) -> Hidden:
        z = self.preactivation(projected + self.recur(self.summed(projected, previous).hidden))
        return Hidden(0.5 * torch.tanh(z))


@pytest.mark.parametrize("engine", ["auto", *ENGINES])
def test_a_cell_that_marks_nothing_is_refused_a_clamp_and_nothing_else(engine):
    chain, inputs = Chain(torch.tensor([3])), torch.randn(1, 3, 2)
    with pytest.raises(ValueError, match=r"max_value: given for Unmarked, .* write self.preactivation\(z\)"):
        unroll(Unmarked(2, 3), chain, inputs, engine=engine, interventions=[Intervention(max_value=1.0)])
    unroll(Unmarked(2, 3), chain, inputs, engine=engine, interventions=[Intervention(max_norm=1.0)])
    unroll(Marked(2, 3), chain, inputs, engine=engine, interventions=[Intervention(max_value=1.0)])


def test_the_torch_engine_refuses_and_auto_goes_on():
    cell, chain, inputs = LSTM(2, 3), Chain(torch.tensor([3])), torch.randn(1, 3, 2)
    with pytest.raises(ValueError, match="engine: given torch, but nothing can act inside"):
        unroll(cell, chain, inputs, engine="torch", interventions=[Intervention(max_norm=1.0)])
    assert unroll(cell, chain, inputs, engine="torch", interventions=[Intervention()]).top.engine.used == "torch"
    assert unroll(cell, chain, inputs, interventions=[Intervention(max_norm=1.0)]).top.engine.used == "native"
    own = Intervention(on_adjoint=lambda parts: parts)
    with pytest.raises(ValueError, match="engine: given native, but on_adjoint is Python"):
        unroll(cell, chain, inputs, engine="native", interventions=[own])
    found = unroll(cell, chain, inputs, interventions=[own]).top.engine
    assert found.used == "reference"
    assert "on_adjoint is Python" in found.why


def test_callables_act_after_what_acts_at_their_point():
    """Each is written out as what the description itself can say; they see (nodes, hidden) of all parts."""
    given = case("lstm", "chain")
    half = [torch.full((len(SIZES), max(SIZES)), 0.5, dtype=F64)] * 2
    pairs = [
        (Intervention(on_recurrent=lambda parts: tuple(part / 2 for part in parts)), Intervention(keep=half)),
        (Intervention(on_preactivation=lambda grad: grad.clamp(-0.1, 0.1)), Intervention(max_value=0.1)),
        (Intervention(max_norm=2.0, on_adjoint=clipped), Intervention(max_norm=0.5)),
    ]
    for own, built_in in pairs:
        found = []
        for inside in (own, built_in):
            for cell in given.cells:
                cell.zero_grad()
            unrolled = run(given, "auto", [inside] * 2)
            grads = [parameter.grad for cell in given.cells for parameter in cell.parameters()]
            found.append([*grads, *unrolled.adjoints, unrolled.top.norms_by_point()[inside.points[0]][1]])
        for ours, theirs in zip(*found, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


def clipped(parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    norms = torch.cat(parts, -1).norm(dim=-1, keepdim=True)
    assert norms.max() <= 2.0 + 1e-12
    return tuple(part * (0.5 / norms).clamp(max=1.0) for part in parts)


def test_two_derivatives_are_refused():
    cell, chain = RNN(2, 3), Chain(torch.tensor([3]))
    unrolled = unroll(cell, chain, torch.randn(1, 3, 2), engine="reference", interventions=[Intervention(max_norm=1.0)])
    with pytest.raises(RuntimeError, match=r"interventions: .* leave interventions out"):
        torch.autograd.grad(unrolled.hidden.sum(), cell.weight_hh, create_graph=True)


def test_several_at_once():
    a, b = torch.tensor([2.0, 0.0]), torch.tensor([3.0, 5.0])
    unit = LossScale()
    both = combine(
        [
            None,
            Intervention([a, None]),
            Intervention([b, b], max_norm=2.0, unit=unit),
            Intervention(max_value=1.0, unit=unit),
        ]
    )
    assert both is not None
    assert [one.tolist() for one in both.keep if one is not None] == [[6, 0], [3, 5]]
    assert (both.max_norm, both.max_value, both.unit) == (2.0, 1.0, unit)
    assert combine([None, Intervention()]) is None
    chained = combine([Intervention(on_adjoint=lambda x: x + 1), Intervention(on_adjoint=lambda x: x * 2)])  # type: ignore[operator]
    assert chained is not None
    assert chained.on_adjoint is not None
    assert chained.on_adjoint(3) == 8  # type: ignore[arg-type]
    for message, pair in {
        "max_norm: given 1 and 2 at one point": (
            Intervention(max_norm=1.0, unit=unit),
            Intervention(max_norm=2.0, unit=unit),
        ),
        "exponent: given 1 and 0.5 at one point": (Intervention(exponent=1.0), Intervention(exponent=0.5)),
        "unit: given two units": (Intervention(max_norm=1.0), Intervention(max_value=2.0)),
        "keep: given .* factors": (Intervention([a]), Intervention([a, b])),
    }.items():
        with pytest.raises(ValueError, match=message):
            combine(pair)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Intervention(max_norm=0.0), "max_norm: given 0.0, expected a number > 0"),
        (lambda: Intervention(max_value=math.nan), "max_value: given nan"),
        (lambda: Intervention(exponent=-1.0), "exponent: given -1.0, expected a number >= 0"),
        (
            lambda: Intervention(keep=[torch.ones(1, 3) * 1j, None]),
            "keep: given .*expected None or a tensor of real factors",
        ),
        (lambda: acts([Intervention(), Intervention()]), "interventions: given 2, expected 1"),
        (lambda: acts([Intervention(keep=[torch.ones(1, 3)])]), r"keep: given shapes .*each part \(hidden, cell\)"),
        (lambda: acts([Intervention(keep=[torch.ones(3), None])]), r"expected None or \(1, 3\)"),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def acts(inside: list[Intervention]) -> None:
    unroll(LSTM(2, 3), Chain(torch.tensor([3])), torch.randn(1, 3, 2), interventions=inside)


# Truncated backpropagation through time


def windows(given: Case, k1: int, k2: int, every: bool, initial: Any = None) -> tuple[list[Tensor], dict[Any, Tensor]]:
    """Each window on its own: states run without gradients to its start, run on from there. Adds up the gradients."""
    adjoints: dict[Any, Tensor] = {}
    for sample, values in enumerate(given.inputs):
        for end in range(k1, len(values) + k1, k1):
            start, stop = max(0, end - k2), min(end, len(values))
            previous = [
                None if initial is None else [part[sample] for part in state] for state in initial or [None] * 2
            ]
            losses = []
            for step in range(stop):
                x = values[step]
                for layer, cell in enumerate(given.cells):
                    with torch.set_grad_enabled(step >= start):
                        before = previous[layer]
                        state = VARIANTS_OF[id(cell)](cell, x, [] if before is None else [before])
                    previous[layer] = state
                    if step >= start:
                        adjoints[layer, sample, step, end] = state  # type: ignore[assignment]
                        for part in state:
                            part.retain_grad()
                    x = state[0]
                if step >= end - k1 and (every or step == len(values) - 1):
                    losses.append(step_loss(x, step))
            if losses:
                torch.stack(losses).sum().backward()
    sums: dict[Any, Tensor] = {}
    for (layer, sample, step, _), state in adjoints.items():
        for part, value in enumerate(state):
            if value.grad is not None:
                key = (layer, sample, step, part)
                sums[key] = sums.get(key, torch.zeros_like(value)) + value.grad
    return [parameter.grad for cell in given.cells for parameter in cell.parameters()], sums


def step_loss(h: Tensor, step: int) -> Tensor:
    weights = torch.arange(1, h.numel() + 1, dtype=h.dtype) + step
    return (h * weights.cos()).sum() + h.square().sum() / 2


def backward(given: Case, unrolled: Unrolled, every: bool) -> None:
    hidden = take(unrolled.top.structure, unrolled.hidden)
    losses = [step_loss(h, s) for rows in hidden for s, h in enumerate(rows) if every or s == len(rows) - 1]
    torch.stack(losses).sum().backward()


@pytest.mark.parametrize("every", [True, False], ids=["every step", "terminal"])
@pytest.mark.parametrize(
    ("name", "k"),
    [
        *(("lstm", k) for k in [(1, 1), (3, 3), (2, 4), (2, 5), (4, 99)]),
        ("rnn", (2, 5)),
        *(pytest.param("rnn", k, marks=pytest.mark.slow) for k in [(1, 1), (3, 3), (2, 4), (4, 99)]),
    ],
    ids=str,
)
def test_truncation_equals_windows_run_one_by_one(name, k, every):
    """Two layers, unequal lengths; k2 a multiple of k1 or not."""
    cells = [VARIANTS[name].build(4 if layer else 3, 4, seed=layer, max_children=2) for layer in range(2)]
    lengths = [9, 1, 6]
    given = Case(cells, lengths, inputs_for(lengths, 3), [])
    VARIANTS_OF.update({id(cell): VARIANTS[name].equations for cell in cells})
    expected, adjoints = windows(given, *k, every)
    for engine in ENGINES:
        for cell in cells:
            cell.zero_grad()
        structure = structure_of(lengths)
        inputs = place(structure, given.inputs).nan_to_num()
        unrolled = unroll(cells, structure, inputs, engine=engine, truncate=k)
        backward(given, unrolled, every)
        for ours, theirs in zip([p.grad for cell in cells for p in cell.parameters()], expected, strict=True):
            assert_equal_to(ours, theirs)
        plain = unroll(cells, structure, inputs, engine=engine)
        for ours, theirs in zip(unrolled.states, plain.states, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-15)
        for index, layer in enumerate(unrolled.layers):
            for part, values in enumerate(layer.adjoints):
                for sample, rows in enumerate(take(structure, values)):
                    keys = [(index, sample, step, part) for step in range(len(rows))]
                    known = torch.stack([adjoints.get(key, torch.zeros_like(rows[0])) for key in keys])
                    torch.testing.assert_close(rows, known, rtol=1e-12, atol=1e-14)
                total = layer.direct[part] + layer.recurrent[part]
                torch.testing.assert_close(total, values, rtol=1e-12, atol=1e-13)


@each_engine
def test_truncation_reaches_an_initial_state_from_the_first_windows_alone(engine):
    cells = [VARIANTS["lstm"].build(3, 4, max_children=2)]
    VARIANTS_OF[id(cells[0])] = VARIANTS["lstm"].equations
    given = Case(cells, [7, 4], inputs_for([7, 4], 3), [])
    structure = structure_of([7, 4])

    def first() -> Any:
        torch.manual_seed(0)
        return cells[0].state_type(*(torch.randn(2, 4, dtype=F64).requires_grad_() for _ in range(2)))

    ours, theirs = first(), first()
    inputs = place(structure, given.inputs).nan_to_num()
    backward(given, unroll(cells, structure, inputs, initial=[ours], engine=engine, truncate=(2, 4)), True)
    windows(given, 2, 4, True, [theirs])
    for own, other in zip(ours, theirs, strict=True):
        assert_equal_to(own.grad, other.grad)


@each_engine
def test_truncation_with_what_acts_inside(engine):
    """A class's pass is one with the cuts among its factors. What acted adds up."""
    given = acting("lstm", "chain", "everything")
    structure = structure_of(given.samples)
    inputs = place(structure, given.inputs).nan_to_num()
    unrolled = unroll(given.cells, structure, inputs, interventions=given.inside, engine=engine, truncate=(2, 4))
    weights = torch.randn(unrolled.hidden.shape, dtype=F64) * structure.mask[..., None]
    unrolled.hidden.backward(weights)
    total: list[Any] = []
    for number in range(2):
        cut = Intervention([keep_for(number, structure.time).expand(len(SIZES), -1)] * 2)
        one = unroll(
            given.cells,
            structure,
            inputs,
            engine=engine,
            interventions=[combine([own, cut]) for own in given.inside],
        )
        mine = (torch.arange(structure.time) // 2 % 2 == number)[:, None]
        one.hidden.backward(weights * mine)
        total.append(
            [*one.adjoints, *one.direct, *one.recurrent, *(v for p in one.top.norms_by_point().values() for v in p)]
        )
    own = [*unrolled.adjoints, *unrolled.direct, *unrolled.recurrent]
    own += [value for pair in unrolled.top.norms_by_point().values() for value in pair]
    for found, *parts in zip(own, *total, strict=True):
        torch.testing.assert_close(found, parts[0] + parts[1], rtol=1e-12, atol=1e-13)


def keep_for(number: int, time: int) -> Tensor:
    """(k1, k2) = (2, 4): windows of class 0 start their spans at 2, 6, ..., of class 1 at 0, 4, ..."""
    starts = [start for start in ((2, 6) if number == 0 else (4, 8)) if start < time]
    keep = torch.ones(time)
    keep[[start - 1 for start in starts]] = 0
    return keep


def test_every_class_draws_the_same_dropout():
    torch.manual_seed(0)
    cells = [LSTM(3, 4).double(), LSTM(4, 4).double()]
    chain, inputs = Chain(torch.tensor([9, 5])), torch.randn(2, 9, 3, dtype=F64)
    found = []
    for truncate in (None, (2, 6)):
        torch.manual_seed(1)
        unrolled = unroll(cells, chain, inputs, between=torch.nn.functional.dropout, truncate=truncate)
        found.append((unrolled.hidden, torch.rand(3)))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-13, atol=1e-15)
    assert torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("truncate", [(0, 1), (3, 2), (True, 2)])
def test_windows_that_are_none(truncate):
    with pytest.raises(ValueError, match="truncate: "):
        unroll(GRU(2, 3), Chain(torch.tensor([3])), torch.randn(1, 3, 2), truncate=truncate)


def test_a_forest_has_no_windows():
    forest = structure_of(BINARY)
    assert isinstance(forest, Forest)
    with pytest.raises(ValueError, match="truncate: given for a forest"):
        unroll(RNN(2, 3), forest, torch.randn(forest.nodes, 2), truncate=(1, 1))


def test_the_arguments_former_name_is_answered_with_the_new_one() -> None:
    arguments: dict[str, Any] = {"inside": [Intervention(max_norm=1.0)]}
    with pytest.raises(TypeError, match=r"^unroll: given inside, expected interventions: write unroll\("):
        unroll(LSTM(2, 3), Chain(torch.tensor([3])), torch.randn(1, 3, 2), **arguments)
