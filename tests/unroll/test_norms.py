"""Norms of gradients whose squares are out of range."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rnn_research.cells import LSTM
from rnn_research.clipping.base import global_norm
from rnn_research.structures import Chain
from rnn_research.unroll import Intervention, unroll
from rnn_research.unroll.norms import norm

SIZES = [1e-310, 1e-200, 1e-160, 1.0, 1e160, 1e200, 1e300]


def right(part: Tensor) -> Tensor:
    """In units of the largest element of each row."""
    unit = part.abs().amax(-1, keepdim=True)
    unit = torch.where(unit > 0, unit, 1.0)
    return torch.linalg.vector_norm(part / unit, dim=-1) * unit[..., 0]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("engine", "acting"),
    [("native", False), ("native", True), ("torch", False), ("reference", False), ("reference", True)],
)
def test_norms_in_float64_are_right_at_any_size_on_every_engine(engine: str, acting: bool, size: float) -> None:
    torch.manual_seed(0)
    cell, chain = LSTM(2, 7).double(), Chain(torch.tensor([5, 3]))
    inside = [Intervention(max_norm=1e305, max_value=1e305)] if acting else None
    inputs = torch.randn(2, 5, 2, dtype=torch.float64)
    unrolled = unroll(cell, chain, inputs, engine=engine, record="parts", interventions=inside)
    chain.terminal(unrolled.hidden).sum().backward(torch.tensor(size, dtype=torch.float64))
    tolerance = {"rtol": 1e-12, "atol": 0.0} if size > 1e-300 else {"rtol": 1e-6, "atol": 1e-315}
    for which in ("adjoints", "direct", "recurrent"):
        for part, found in zip(getattr(unrolled, which), unrolled.top.norms(which), strict=True):
            torch.testing.assert_close(found, right(part), **tolerance)
    if acting:
        both = right(torch.cat(list(unrolled.adjoints), -1))
        for found in (unrolled.top.norms_by_point() or {})["adjoint"]:
            assert ((found > 0) == (both > 0)).all()
        for found in (unrolled.top.norms_by_point() or {})["preactivation"]:
            assert (found[chain.mask] > 0).all()


@pytest.mark.parametrize("size", SIZES)
def test_so_is_the_norm_over_all_parameters(size: float) -> None:
    cell = LSTM(2, 3).double()
    for parameter in cell.parameters():
        parameter.grad = torch.full_like(parameter, size)
    count = sum(parameter.numel() for parameter in cell.parameters())
    assert float(global_norm(cell.parameters())) == pytest.approx(count**0.5 * size, rel=1e-9)


def test_what_is_not_finite_or_zero_stays_so() -> None:
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0], [float("inf"), 1.0], [float("nan"), 1e-200]], dtype=torch.float64)
    assert str(norm(rows, -1).tolist()) == "[0.0, 5.0, inf, nan]"
