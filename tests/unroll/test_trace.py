"""Special cases of a traced update: it is compiled and equals plain autograd, or it is left to another engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from equations import samples_of, structure_of
from torch import Tensor, nn

from rnn_research.cells import GRU, LSTM, RNN, Cell, Hidden, HiddenCell
from rnn_research.structures import Chain
from rnn_research.unroll import unroll
from rnn_research.unroll.compiled.trace import Untraceable, trace

Update = Callable[[Any, Tensor, Tensor], Tensor]


class Given(Cell):
    """h = f(the cell, W x + b, h')."""

    def __init__(self, f: Update, **arguments: Any) -> None:
        super().__init__(3, 5, **arguments)
        self.f = f

    def build(self) -> None:
        super().build()
        self.peephole = nn.Parameter(torch.empty(self.hidden_size))
        self.register_buffer("constant", torch.linspace(-1, 1, self.hidden_size))
        self.register_buffer("count", torch.arange(self.hidden_size))
        self.rate = 0.5
        self.flag = True

    def step(self, projected: Tensor, *previous: Any) -> Hidden:
        return Hidden(self.f(self, projected, self.summed(projected, previous).hidden))


class Both(Cell):
    """h and c from one function."""

    state_type = HiddenCell

    def __init__(self, f: Callable[[Any, Tensor, Any], tuple[Any, Any]], **arguments: Any) -> None:
        super().__init__(3, 5, **arguments)
        self.f = f

    def step(self, projected: Tensor, *previous: Any) -> HiddenCell:
        return HiddenCell(*self.f(self, projected, self.summed(projected, previous)))


def results(cell: Cell, kind: str, engine: str) -> dict[str, Tensor]:
    structure = structure_of(samples_of(kind))
    torch.manual_seed(1)
    inputs = torch.randn(*structure.mask.shape, 3, dtype=torch.float64, requires_grad=True)
    cell.zero_grad()
    unrolled = unroll(cell, structure, inputs, engine=engine, record="parts")
    sum((k + 1) * part.square().sum() for k, part in enumerate(unrolled.states)).backward()  # type: ignore[union-attr]
    found = {f"state {k}": part.detach() for k, part in enumerate(unrolled.states)}
    for which in ("adjoints", "direct", "recurrent"):
        found |= {f"{which} {k}": part for k, part in enumerate(getattr(unrolled, which))}
    gradients = {name: one.grad for name, one in cell.named_parameters()} | {"inputs": inputs.grad}
    return found | {name: torch.zeros(()) if one is None else one for name, one in gradients.items()}


def check(cell: Cell, kind: str) -> dict[str, Tensor]:
    native, reference = results(cell, kind, "native"), results(cell, kind, "reference")
    for name, expected in reference.items():
        ours = native[name] if native[name].ndim else native[name].expand_as(expected)  # no gradient is a zero one
        expected = expected if expected.ndim else expected.expand_as(ours)
        torch.testing.assert_close(
            ours, expected.to(ours.dtype), rtol=1e-12, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}"
        )
    return native


def seeded(make: Callable[..., Cell], *arguments: Any, **named: Any) -> Cell:
    torch.manual_seed(0)
    return make(*arguments, max_children=5, **named).double()


def rnn(cell: Any, x: Tensor, h: Tensor) -> Tensor:
    return torch.tanh(x + cell.recur(h))


def with_view_of_weight(cell: Any, x: Tensor, h: Tensor) -> Tensor:
    with torch.no_grad():
        weight = cell.weight_hh.T
    return torch.tanh(x + h @ weight)


COMPILED: dict[str, Update] = {
    "a buffer read elementwise": lambda cell, x, h: torch.tanh(x + cell.recur(h) * cell.constant),
    "a buffer in a sum": lambda cell, x, h: torch.tanh(x + cell.recur(h) + cell.constant),
    "the state handed on": lambda cell, x, h: h,
    "a constant zero": lambda cell, x, h: h.new_zeros(h.shape),
    "a vector alone": lambda cell, x, h: cell.peephole + 0 * h,
    "a weight's row as a vector": lambda cell, x, h: torch.tanh(x + cell.recur(h) * cell.weight_hh[2]),
    "a weight's row in a sum": lambda cell, x, h: torch.tanh(x + cell.recur(h) + cell.weight_hh[1]),
    "one weight twice": lambda cell, x, h: torch.tanh(x + cell.recur(h) * torch.sigmoid(cell.recur(h * h))),
    "one product twice": lambda cell, x, h: torch.tanh(x + cell.recur(h)) * torch.sigmoid(cell.recur(h)),
    "a weight and its transpose": lambda cell, x, h: torch.tanh(x + h @ cell.weight_hh.T + h @ cell.weight_hh),
    "a sum read twice": lambda cell, x, h: (lambda u: torch.tanh(x + u) + u)(cell.recur(h)),
    "a sum doubled": lambda cell, x, h: (lambda u: torch.tanh(u + u))(x + cell.recur(h)),
    "a sum with a number": lambda cell, x, h: torch.tanh(x + 1 + cell.recur(h)),
    "two vectors first": lambda cell, x, h: torch.tanh(0 * h + cell.peephole + cell.constant + x + cell.recur(h)),
    "a vector twice": lambda cell, x, h: torch.tanh(x + cell.peephole + cell.recur(h) + cell.peephole),
    "no state": lambda cell, x, h: torch.tanh(x),
    "no input": lambda cell, x, h: torch.tanh(cell.recur(h) + cell.peephole),
    "x itself": lambda cell, x, h: x,
    "leaky at 0": lambda cell, x, h: nn.functional.leaky_relu(rnn(cell, x, h) * cell.constant, 0.2),
    "clamped at the bound": lambda cell, x, h: torch.clamp(rnn(cell, x, h) * cell.constant, 0.0, 0.3),
    "hard at the bound": lambda cell, x, h: nn.functional.hardtanh(rnn(cell, x, h) * cell.constant, 0.0, 0.3),
}
REST = (("chain", False), ("forest", True))


@pytest.mark.parametrize(
    ("kind", "bias"),
    [("chain", True), ("forest", False), *(pytest.param(*one, marks=pytest.mark.slow) for one in REST)],
)
@pytest.mark.parametrize("name", COMPILED)
def test_is_compiled_and_equals_autograd(name: str, bias: bool, kind: str) -> None:
    check(seeded(Given, COMPILED[name], bias=bias), kind)


@pytest.mark.parametrize("kind", ["chain", "forest"])
@pytest.mark.parametrize("make", [RNN, LSTM, GRU])
def test_without_biases(make: type[Cell], kind: str) -> None:
    check(seeded(make, 3, 5, bias=False), kind)


@pytest.mark.parametrize("kind", ["chain", "forest"])
@pytest.mark.parametrize(
    "f",
    [
        lambda cell, x, s: (torch.tanh(x + cell.recur(s.hidden)), s.hidden.clone()),
        lambda cell, x, s: (s.cell, torch.tanh(x + cell.recur(s.hidden))),
        lambda cell, x, s: (torch.tanh(x + cell.recur(s.cell)), x.new_zeros(x.shape)),
        lambda cell, x, s: (lambda h: (h, h.clone()))(torch.tanh(x + cell.recur(s.hidden))),
        lambda cell, x, s: (lambda u: (u, torch.tanh(u)))(x + cell.recur(s.hidden)),
    ],
    ids=["c is the last h", "h is the last c", "c is zero", "h is c", "h is a sum"],
)
def test_states_that_are_no_results_of_their_own(f: Any, kind: str) -> None:
    check(seeded(Both, f), kind)


@pytest.mark.parametrize("kind", ["chain", "forest"])
def test_parameters_that_share_memory_have_a_gradient_each(kind: str) -> None:
    def step(cell: Any, x: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(x + cell.recur(h)) * torch.sigmoid(nn.functional.linear(h, cell.other))

    cell = seeded(Given, step)
    cell.other = nn.Parameter(cell.weight_hh.data)
    native = check(cell, kind)
    assert not torch.equal(native["other"], native["weight_hh"])


@pytest.mark.parametrize("kind", ["chain", "forest"])
def test_parameters_that_become_one_are_seen(kind: str) -> None:
    def step(cell: Any, x: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(x + nn.functional.linear(h, cell.other)) * torch.sigmoid(cell.recur(h)) * cell.peephole

    cell = seeded(Given, step)
    cell.other = nn.Parameter(torch.randn(5, 5, dtype=torch.float64))
    check(cell, kind)
    cell.other = cell.weight_hh
    assert "other" not in check(cell, kind)
    cell.weight_hh.requires_grad_(False)
    check(cell, kind)


@pytest.mark.parametrize(
    ("f", "name", "value"),
    [
        (lambda cell, x, h: cell.rate * rnn(cell, x, h), "rate", 0.25),
        (lambda cell, x, h: rnn(cell, x, h) if cell.flag else torch.sigmoid(x + cell.recur(h)), "flag", False),
        (lambda cell, x, h: cell.act(x + cell.recur(h)), "act", torch.sigmoid),
        (lambda cell, x, h: cell.act[0] * rnn(cell, x, h), "act", (0.25,)),
        (lambda cell, x, h: cell.act[0] * rnn(cell, x, h), "act", [0.25]),
        (lambda cell, x, h: cell.act["rate"] * rnn(cell, x, h), "act", {"rate": 0.25}),
        (lambda cell, x, h: cell.act(x + cell.recur(h)), "act", nn.LeakyReLU(0.3)),
    ],
)
def test_an_attribute_that_changes_is_traced_again(f: Update, name: str, value: Any) -> None:
    cell: Any = seeded(Given, f)
    cell.act = {list: [0.5], tuple: (0.5,), dict: {"rate": 0.5}, nn.LeakyReLU: nn.LeakyReLU(0.1)}.get(
        type(value), torch.tanh
    )
    before = check(cell, "chain")
    setattr(cell, name, value)
    assert not torch.equal(check(cell, "chain")["state 0"], before["state 0"])
    if isinstance(value, nn.Module):
        value.negative_slope = 0.9  # within a module of the cell's
        check(cell, "chain")


def without_gradient(cell: Any, x: Tensor, h: Tensor) -> Tensor:
    with torch.no_grad():
        gate = torch.sigmoid(cell.recur(h))
    return gate * torch.tanh(x)


LEFT: dict[str, tuple[Update, str]] = {
    "a sum over nodes": (lambda cell, x, h: rnn(cell, x, h) - h.sum(0), "node"),
    "the first node": (lambda cell, x, h: rnn(cell, x, h) + h[:1], "node"),
    "the nodes reversed": (lambda cell, x, h: torch.cat([h[1:], h[:1]]), "node"),
    "one feature": (lambda cell, x, h: rnn(cell, x, h[:, 1]), "single feature"),
    "every other feature": (lambda cell, x, h: rnn(cell, x, torch.cat([h, h], -1)[:, ::2]), "step"),
    "gradients switched off": (without_gradient, "gradient"),
    "a weight's view made without gradients": (with_view_of_weight, "gradient"),
    "a weight detached": (lambda cell, x, h: torch.tanh(x + h @ cell.weight_hh.detach()), "slice of"),
    "a state detached": (lambda cell, x, h: rnn(cell, x, h.detach()), "detach"),
    "whole numbers": (lambda cell, x, h: rnn(cell, x, h) * cell.count, "int64"),
    "an overlapping weight": (lambda cell, x, h: torch.tanh(x + h @ cell.peephole.expand(5, 5)), "overlap"),
    "a vector of one number": (lambda cell, x, h: rnn(cell, x, h) * cell.peephole[:1], "vector"),
    "a number out of a tensor": (lambda cell, x, h: rnn(cell, x, h) * cell.peephole[0].item(), "value"),
    "a branch on a tensor": (lambda cell, x, h: rnn(cell, x, h) if cell.peephole[0] > 0 else h, "value"),
    "a computed weight": (lambda cell, x, h: torch.tanh(x + h @ torch.tanh(cell.weight_hh)), "slice of"),
}


@pytest.mark.parametrize("name", LEFT)
def test_is_left_to_another_engine(name: str) -> None:
    f, why = LEFT[name]
    with pytest.raises(Untraceable, match=why):
        trace(seeded(Given, f), 1)


def test_a_step_that_changes_the_cells_tensors_is_left_to_another_engine() -> None:
    def step(cell: Any, x: Tensor, h: Tensor) -> Tensor:
        cell.count += 1
        return rnn(cell, x, h)

    with pytest.raises(Untraceable, match="changes"):
        trace(seeded(Given, step), 1)


def test_a_cell_traced_where_there_are_no_gradients_has_them_later() -> None:
    cell = seeded(Given, rnn)
    with torch.inference_mode():
        unroll(cell, Chain(torch.tensor([3])), torch.randn(1, 3, 3).double(), engine="native")
    check(cell, "chain")
