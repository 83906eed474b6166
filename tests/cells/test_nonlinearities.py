"""What is said of each nonlinearity is what autograd finds."""

from __future__ import annotations

import pytest
import torch

from rnn_research.cells import GRU, LSTM, RNN
from rnn_research.cells.nonlinearities import NONLINEARITIES, nonlinearity_of

each = pytest.mark.parametrize("name", NONLINEARITIES)
POINTS = torch.cat([torch.linspace(-9, 9, 31), torch.tensor([0.0, -0.0, 1e-9, -60.0, 60.0])]).double()


@each
def test_both_derivatives_are_autograds(name: str) -> None:
    f = NONLINEARITIES[name]
    a = POINTS.clone().requires_grad_()
    value = f.apply(a)
    gradient = torch.randn_like(value)
    (expected,) = torch.autograd.grad(value, a, gradient)
    out = torch.empty_like(gradient)
    f.backward(gradient, value.detach(), out)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(gradient * f.derivative(value.detach()), expected, rtol=1e-12, atol=1e-15)


@each
def test_in_place_it_is_the_same(name: str) -> None:
    f, a = NONLINEARITIES[name], POINTS.clone()
    f.apply_in_place(a)
    assert torch.equal(a, f.apply(POINTS.clone()))


@each
def test_values_lie_within_the_interval_and_reach_its_ends(name: str) -> None:
    f = NONLINEARITIES[name]
    values = f.apply(POINTS.clone())
    if f.interval is None:
        assert values.max() == POINTS.max()
    else:
        assert (float(values.min()), float(values.max())) == pytest.approx(f.interval, abs=1e-12)


@each
def test_a_cells_f_is_found(name: str) -> None:
    cell = RNN(2, 3, nonlinearity=name)
    assert nonlinearity_of(cell.f) is NONLINEARITIES[name]
    assert cell.bounds == ({} if NONLINEARITIES[name].interval is None else {"hidden": NONLINEARITIES[name].interval})
    assert nonlinearity_of(torch.sin) is None


def test_gates_have_the_intervals_of_their_nonlinearities() -> None:
    assert LSTM.bounds == {"i": (0.0, 1.0), "f": (0.0, 1.0), "g": (-1.0, 1.0), "o": (0.0, 1.0)}
    assert GRU.bounds == {"r": (0.0, 1.0), "z": (0.0, 1.0), "n": (-1.0, 1.0)}
