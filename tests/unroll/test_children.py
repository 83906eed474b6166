"""Nodes with many children: code for cells that treat children alike does not grow with their number; where it would,
engine=auto takes another, with its reason, at once."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from equations import VARIANTS, samples_of, structure_of
from torch.nn.functional import linear

from rnn_research.cells import Cell, Hidden
from rnn_research.cells.tree_lstm import ChildSumTreeLSTM
from rnn_research.structures import Forest, Tree
from rnn_research.unroll import Intervention, unroll
from rnn_research.unroll.compiled import updates
from rnn_research.unroll.compiled.source import source
from rnn_research.unroll.compiled.trace import Untraceable, trace
from rnn_research.unroll.compiled.update_plan import UpdatePlan
from rnn_research.unroll.compiled.updates import compile_updates


class Attending(Cell):
    """Children weigh by a share of a sum over all of them: a sum below another."""

    def step(self, projected: Any, *previous: Any) -> Hidden:
        if not previous:
            return Hidden(torch.tanh(projected))
        shares = [torch.exp(torch.tanh(self.recur(state.hidden))) for state in previous]
        whole = sum(shares)
        return Hidden(torch.tanh(projected + sum(a / whole * s.hidden for a, s in zip(shares, previous, strict=True))))


class ResetEach(Cell):
    """A reset gate for each child, and a product of what it lets through."""

    gates = ("r", "n")

    def step(self, projected: Any, *previous: Any) -> Hidden:
        size = self.hidden_size
        into, candidate = projected.chunk(2, -1)
        total = torch.tanh(candidate)
        for state in previous:
            r = torch.sigmoid(into + linear(state.hidden, self.weight_hh[:size]))
            total = torch.tanh(linear(r * state.hidden, self.weight_hh[size:])) * r + total
        return Hidden(0.5 * total)


class Gathering(Cell):
    """All of a sum's terms go into one product, and a child's state is read beside."""

    def step(self, projected: Any, *previous: Any) -> Hidden:
        h = self.summed(projected, previous).hidden
        inner = [linear(torch.tanh(state.hidden * h), self.weight_hh) for state in previous]
        return Hidden(torch.tanh(self.preactivation(sum(inner, projected))) - 0.1 * h)


class Ordered(Cell):
    """The first child is read apart, the others are folded one after the other: no loop stands for these."""

    def step(self, projected: Any, *previous: Any) -> Hidden:
        total = torch.tanh(projected)
        for state in previous:
            total = torch.tanh(total * 0.5 + self.recur(state.hidden))
        return Hidden(total)


FORMS = {"attending": Attending, "reset each": ResetEach, "gathering": Gathering, "ordered": Ordered}


def gradients(cell: Cell, forest: Forest, engine: str, inside: Intervention | None = None) -> list[torch.Tensor]:
    torch.manual_seed(1)
    inputs = torch.randn(forest.nodes, cell.input_size, dtype=torch.float64)
    cell.zero_grad()
    layers = None if inside is None else [inside]
    unrolled = unroll(cell, forest, inputs, engine=engine, record="parts", interventions=layers)
    unrolled.hidden.square().sum().backward()
    acted = [norms for pair in (unrolled.top.norms_by_point() or {}).values() for norms in pair]
    found = [*unrolled.states, *unrolled.adjoints, *unrolled.direct, *unrolled.recurrent, *unrolled.top.norms("direct")]
    return [*found, *acted, *(parameter.grad for parameter in cell.parameters() if parameter.grad is not None)]


def assert_equals_reference(cell: Cell, forest: Forest, inside: Intervention | None = None) -> None:
    pairs = zip(*(gradients(cell, forest, engine, inside) for engine in ("native", "reference")), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12)


def star(*children: int) -> Forest:
    return Forest.of([Tree(np.array([-1, *[0] * count])) for count in children])


def own(form: str) -> Cell:
    torch.manual_seed(0)
    return FORMS[form](3, 5).double()


@pytest.mark.parametrize("name", VARIANTS)
def test_the_code_is_the_same_for_any_number_of_children(name: str) -> None:
    cell = VARIANTS[name].build(3, 4, max_children=40)
    texts = [
        source(UpdatePlan(trace(cell, children, marks)), marks) for marks in (False, True) for children in (2, 3, 40)
    ]
    assert len(set(texts)) <= 2


@pytest.mark.parametrize("form", ["attending", "reset each", "gathering"])
def test_so_is_a_users_that_treats_them_alike(form: str) -> None:
    assert len({source(UpdatePlan(trace(own(form), children))) for children in (2, 3, 40)}) == 1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("inside", [None, Intervention(max_norm=0.5, max_value=0.01)], ids=["plain", "acting"])
def test_such_a_cell_equals_itself_under_autograd(form: str, inside: Intervention | None) -> None:
    if inside is not None and form != "gathering":  # the others mark nothing
        inside = Intervention(max_norm=0.5)
    structure = structure_of(samples_of("forest", sizes=(4, 1, 9, 12)))
    assert isinstance(structure, Forest)
    assert_equals_reference(own(form), structure, inside)


@pytest.mark.parametrize("name", ["lstm", "gru_before", "shared_tree_rnn", "child_sum", "nary"])
def test_a_node_with_hundreds_of_children_is_right(name: str) -> None:
    cell = VARIANTS[name].build(3, 4, max_children=200)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.mul_(0.1)
    assert_equals_reference(cell, star(200, 199, 2))


def test_code_that_would_grow_with_the_children_is_refused_at_once_with_the_reason() -> None:
    cell, forest = own("ordered"), star(500)
    start = time.process_time()
    with pytest.raises(Untraceable, match="its code grows with the children of a node"):
        compile_updates(cell, (0, 10**7), torch.float64)
    assert time.process_time() - start < 1
    unrolled = unroll(cell, forest, torch.randn(forest.nodes, 3, dtype=torch.float64))
    assert unrolled.top.engine.used == "reference"
    assert "its code grows with the children of a node" in unrolled.top.engine.why


def test_a_trace_takes_time_in_proportion_to_the_children() -> None:
    cell = ChildSumTreeLSTM(3, 4)

    def seconds(children: int) -> float:
        start = time.process_time()
        UpdatePlan(trace(cell, children))
        return time.process_time() - start

    seconds(100)
    assert seconds(800) < 10 * seconds(200)


@pytest.mark.parametrize("make", [VARIANTS["child_sum"].build, lambda *sizes: own("attending")])
def test_an_update_is_traced_once_for_each_number_of_children(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever numbers stand together in a batch of trees."""
    traced: list[int] = []

    def noted(cell: Cell, arity: int, marks: bool) -> Any:
        traced.append(arity)
        return trace(cell, arity, marks)

    monkeypatch.setattr(updates, "trace", noted)
    cell = make(3, 6)
    for forest in (star(2), star(3), star(2, 3), star(3, 2, 5)):
        assert_equals_reference(cell, forest)
    assert sorted(traced) == [0, 2, 3, 5]
