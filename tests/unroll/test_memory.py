"""Memory that is not what it seems: replaced or changed by `.data`, negated only in name, or beyond a row's end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from rnn_research.cells import GRU, LSTM, RNN, Cell
from rnn_research.structures import Chain
from rnn_research.unroll import Intervention, Unrolled, unroll

CHAIN = Chain(torch.tensor([6, 4]))


class Normalised(NamedTuple):
    hidden: Tensor
    cell: Tensor
    normaliser: Tensor


class ExponentialGate(Cell):
    """h = c / n, as in an sLSTM (Beck et al. 2024, eq. 8-15)."""

    state_type = Normalised

    def step(self, projected: Tensor, *previous: Any) -> Normalised:
        state = self.summed(projected, previous)
        z = self.preactivation(projected + self.recur(state.hidden))
        n = 0.9 * state.normaliser + torch.exp(z)
        c = 0.9 * state.cell + torch.exp(z) * torch.tanh(projected)
        return Normalised(c / n, c, n)


def made(kind: type[Cell], size: int = 5, dtype: torch.dtype = torch.float64) -> Cell:
    torch.manual_seed(0)
    return kind(3, size).to(dtype)


def inputs(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(2, 6, 3, dtype=dtype, generator=torch.Generator().manual_seed(1))


def passed(cell: Cell, given: Tensor, engine: str, **more: Any) -> Unrolled:
    found = unroll(cell, CHAIN, given, engine=engine, **more)
    sum(part.square().sum() for part in found.states).backward()  # type: ignore[union-attr]
    return found


@pytest.mark.parametrize("record", [True, "parts"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 5, 20])
def test_a_norm_is_of_a_row_and_of_nothing_beyond_its_end(size: int, dtype: torch.dtype, record: Any) -> None:
    """Where it fills no vector: 0 / 0 is no number there."""
    cell = made(ExponentialGate, size, dtype)
    found = passed(cell, inputs(dtype), "native", record=record)
    for which in ("adjoints", "direct", "recurrent"):
        for part, norms in zip(getattr(found, which), found.top.norms(which), strict=True):
            expected = torch.linalg.vector_norm(part, dim=-1, dtype=torch.float64)
            torch.testing.assert_close(norms, expected, rtol=1e-5 if dtype == torch.float32 else 1e-12, atol=1e-30)


def test_so_are_the_norms_where_something_acts() -> None:
    points = []
    for engine in ("native", "reference"):
        acting = Intervention(max_norm=0.5, max_value=0.01)
        points.append(passed(made(ExponentialGate), inputs(), engine, interventions=[acting]).top.norms_by_point())
    ours, plain = points
    assert set(ours) == {"adjoint", "preactivation"}
    for point, pair in plain.items():
        for one, other in zip(ours[point], pair, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


REPLACED: dict[str, Callable[[Cell], Any]] = {
    "float": lambda cell: cell.float(),
    "smaller": lambda cell: setattr(cell.weight_hh, "data", torch.zeros(1, dtype=torch.float64)),
    "larger": lambda cell: setattr(cell.weight_hh, "data", torch.zeros(40, 40, dtype=torch.float64)),
}


@pytest.mark.parametrize("how", REPLACED)
@pytest.mark.parametrize("kind", [RNN, LSTM, GRU])
def test_weights_of_another_size_are_refused_by_the_backward_pass(kind: type[Cell], how: str) -> None:
    """The kernel would read what lies beyond them."""
    cell = made(kind)
    found = unroll(cell, CHAIN, inputs(), engine="native")
    REPLACED[how](cell)
    with pytest.raises(RuntimeError, match=r"other shapes or another type than at the unroll"):
        found.hidden.square().sum().backward()


@pytest.mark.parametrize("how", [*REPLACED, "step"])
@pytest.mark.parametrize("engine", ["native", "torch"])
@pytest.mark.parametrize("kind", [RNN, LSTM, GRU])
def test_a_part_that_is_read_after_the_weights_have_changed_unseen_is_right_or_refused(
    kind: type[Cell], engine: str, how: str
) -> None:
    """`.data` tells nobody. A step by hand, `p.data.add_(-rate * p.grad)`, is such a change."""
    expected = passed(made(kind), inputs(), "reference").recurrent.hidden
    cell = made(kind)
    found = passed(cell, inputs(), engine)
    if how == "step":
        for parameter in cell.parameters():
            assert parameter.grad is not None
            parameter.data.add_(parameter.grad, alpha=-1e-3)
    else:
        REPLACED[how](cell)
    try:
        recurrent = found.recurrent.hidden
    except RuntimeError:
        assert engine == "native" or kind is not RNN
    else:
        torch.testing.assert_close(recurrent, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("which", ["inputs", "weights", "gradient"])
@pytest.mark.parametrize("kind", [RNN, LSTM])
def test_what_torch_has_negated_in_name_alone_counts_as_negated(kind: type[Cell], which: str) -> None:
    """As the imaginary part of a conjugate: its sign is a bit of the tensor, and not in memory."""

    def negated(tensor: Tensor) -> Tensor:
        made = torch.complex(tensor, -tensor).conj().imag
        assert made.is_neg()
        return made

    results = []
    for engine in ("native", "reference"):
        cell, given = made(kind), inputs()
        if which == "weights":
            cell.weight_hh.data = negated(cell.weight_hh.data)
        found = unroll(cell, CHAIN, negated(given) if which == "inputs" else given, engine=engine)
        gradient = torch.linspace(-1, 1, found.hidden.numel(), dtype=torch.float64).view_as(found.hidden)
        found.hidden.backward(negated(gradient) if which == "gradient" else gradient)
        results.append([found.hidden.detach(), found.adjoints.hidden, cell.weight_hh.grad, cell.weight_ih.grad])
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
