"""Lyapunov exponents against a loop over Jacobians, and against linear cells."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from equations import F64, VARIANTS
from torch import Tensor

from rnn_research.cells import RNN, Cell
from rnn_research.jacobians.lyapunov import lyapunov_exponents


def exponents_by_loop(cell: Cell, inputs: Tensor, length: int, k: int, interval: int, warm_up: int) -> np.ndarray:
    """One sample's, in numpy, with the whole Jacobian of each step."""

    def advance(x: Tensor, state: Tensor) -> Tensor:
        parts = cell.state_type(*(part[None] for part in state.split(cell.hidden_size)))
        return torch.cat([part[0] for part in cell(x[None], parts)])

    state = torch.zeros(len(cell.state_names) * cell.hidden_size, dtype=F64)
    drawn = torch.randn(len(state), k, dtype=F64, generator=torch.Generator().manual_seed(0))
    Q, total = np.linalg.qr(drawn.numpy())[0], np.zeros(k)
    for t in range(length):
        Q = torch.func.jacrev(partial(advance, inputs[t]))(state).detach().numpy() @ Q
        state = advance(inputs[t], state).detach()
        if t + 1 in (warm_up, length) or (t + 1) % interval == 0:
            Q, R = np.linalg.qr(Q)
            total += np.log(np.abs(np.diag(R))) if t + 1 > warm_up else 0
    return total / (length - warm_up)


@pytest.mark.parametrize(("interval", "warm_up"), [(1, 0), (3, 2)])
@pytest.mark.parametrize("kind", ["rnn", "sigmoid_rnn", "lstm", "gru", "gru_before", "child_sum"])
def test_exponents_are_those_of_a_loop(kind: str, interval: int, warm_up: int) -> None:
    cell = VARIANTS[kind].build(2, 4, max_children=1)
    lengths, inputs = [5, 9, 3, 9], torch.randn(4, 9, 2, dtype=F64)
    for sample, length in enumerate(lengths):
        inputs[sample, length:] = math.nan  # padding is read by none
    found = lyapunov_exponents(cell, inputs, lengths, 3, interval, warm_up)
    for row, values, length in zip(found, inputs, lengths, strict=True):
        expected = exponents_by_loop(cell, values, length, 3, interval, warm_up)
        np.testing.assert_allclose(row.detach().numpy(), expected, rtol=1e-10, atol=1e-12)


def test_exponents_of_a_linear_cell_are_logarithms_of_its_eigenvalues() -> None:
    cell = RNN(2, 4, nonlinearity="identity").double()
    inputs = torch.randn(1, 120, 2, dtype=F64)
    scales = torch.tensor([1.5, 0.9, 0.5, 0.1], dtype=F64)
    with torch.no_grad():
        cell.weight_hh.copy_(torch.diag(scales[[2, 0, 3, 1]]))
    found = lyapunov_exponents(cell, inputs, [120], 4, warm_up=60)
    torch.testing.assert_close(found[0], scales.log(), rtol=1e-9, atol=1e-9)
    with torch.no_grad():
        torch.nn.init.orthogonal_(cell.weight_hh).mul_(0.7)
    found = lyapunov_exponents(cell, inputs[:, :9], [9], 4)
    torch.testing.assert_close(found[0], torch.full((4,), math.log(0.7), dtype=F64), rtol=1e-12, atol=0)
    with torch.no_grad():
        cell.weight_hh.copy_(torch.randn(4, 4, dtype=F64))
    found = lyapunov_exponents(cell, inputs[:, :9], [9], 4, interval=2)
    logdet = torch.linalg.slogdet(cell.weight_hh).logabsdet
    assert found.sum().item() == pytest.approx(logdet.item(), rel=1e-10)
