"""Lyapunov exponents of a driven cell: at which rates small changes of its state grow along a trajectory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnn_research.cells.base import Cell
from rnn_research.structures.order import time_order


def lyapunov_exponents(
    cell: Cell, inputs: Tensor, lengths: list[int], exponents: int, interval: int = 1, warm_up: int = 0, seed: int = 0
) -> Tensor:
    """The largest finite-time Lyapunov exponents of a driven cell, per step, (samples, exponents), in descending order
    where the time is long enough; differentiable.

    lambda_i = (1/T) sum_t ln |(R_t)_ii|, where J_t Q_{t-1} = Q_t R_t, J_t = ds_t/ds_{t-1} of the whole state, from the
    zero state and random orthonormal vectors Q_0, over the T = length - warm_up steps after the warm-up (Benettin et
    al. 1980; Engelken 2023, Algorithm 1). Of a singular J (units of relu that are off) ln 0 is -infinity.

    Args:
        inputs: (samples, time, input).
        lengths: of each sample, above `warm_up`.
        interval: steps between two decompositions; the numbers stay the same until columns align.
        seed: of Q_0.
    """
    order = time_order(np.array(lengths))
    projected = cell.project(inputs[torch.from_numpy(order.samples), : len(order.counts)])
    state = tuple(cell.initial_state(len(lengths)))
    precise = torch.promote_types(cell.weight_hh.dtype, torch.float32)  # there is no decomposition of half precision
    columns = _orthonormal(cell, exponents, seed).to(precise).expand(len(lengths), -1, -1)
    growth = columns.new_zeros(len(lengths), exponents)
    done: list[Tensor] = []
    for time, active in enumerate(order.counts):
        if active < len(growth):
            done.append(growth[active:])
            state, columns, growth = tuple(part[:active] for part in state), columns[:active], growth[:active]
        state, columns = _advance(cell, projected[:active, time], state, columns.to(state[0].dtype))
        columns = columns.to(precise)
        if (time + 1) % interval == 0 or time + 1 == warm_up or time + 1 in lengths:
            columns, triangle = torch.linalg.qr(columns)
            if time + 1 > warm_up:
                growth = growth + triangle.diagonal(dim1=-2, dim2=-1).abs().log()
    rates = torch.cat([growth, *reversed(done)])[torch.from_numpy(order.samples.argsort())]
    return rates / (torch.tensor(lengths, dtype=growth.dtype, device=growth.device)[:, None] - warm_up)


def _advance(
    cell: Cell, projected: Tensor, state: tuple[Tensor, ...], columns: Tensor
) -> tuple[tuple[Tensor, ...], Tensor]:
    """s_t and J_t Q: each column's derivative of the update, all columns at once; (samples, state, exponents)."""

    def update(*parts: Tensor) -> tuple[Tensor, ...]:
        return tuple(cell.step(projected, cell.state_type(*parts)))

    def along(column: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        tangent = column.split(cell.hidden_size, -1)
        both: Any = torch.func.jvp(update, state, tangent)
        return both[0], torch.cat(both[1], -1)

    return torch.func.vmap(along, in_dims=2, out_dims=(None, 2))(columns)  # type: ignore[arg-type]


def _orthonormal(cell: Cell, exponents: int, seed: int) -> Tensor:
    """Q_0, (state, exponents): the same for the same sizes and seed, on every device."""
    generator: Any = torch.Generator().manual_seed(seed)
    size = len(cell.state_names) * cell.hidden_size
    drawn = torch.randn(size, exponents, dtype=torch.float64, generator=generator)
    return torch.linalg.qr(drawn).Q.to(cell.weight_hh.device)
