"""Adaptive gradient clipping (Brock, De, Smith and Simonyan 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rnn_research.cells.base import Cell
from rnn_research.checks import number
from rnn_research.clipping.base import factor_to_bound
from rnn_research.clipping.norm_scaling import NormScaling


class AGC(NormScaling):
    """G_i <- G_i * min(1, lambda max(||W_i||, eps) / ||G_i||) for each unit i of every parameter W but the readout's.

    Brock et al. (2021, arXiv:2102.06171, eq. 3); they except the final linear layer (section 4.1). A unit is a row:
    of a stacked gate matrix, what one hidden unit reads in one gate; of an embedding, one token's vector. A bias' unit
    is a scalar; the authors' code takes a whole bias as one. It changes the direction of the whole; the coefficient is
    the ratio of the global norms.

    Args:
        clipping: lambda, the largest ratio of a unit's gradient to its weights; infinity: no clipping.
        eps: the least norm of a unit's weights that counts, so that weights of zero can learn.

    Raises:
        ValueError: a value is not a positive number.
    """

    whole = False

    def __init__(self, clipping: float = 0.01, eps: float = 1e-3) -> None:
        super().__init__()
        self.clipping = number("clipping", clipping, above=0.0, infinite=True)
        self.eps = number("eps", eps, above=0.0)
        self._excepted: set[nn.Parameter] = set()
        self._ratios = torch.zeros(0, dtype=torch.float64)

    def attach(self, cells: Sequence[Cell], readout: nn.Module, trees: bool | None = None) -> None:
        self._excepted.update(readout.parameters())

    def blocks(self, parameter: nn.Parameter) -> int:
        return len(parameter) if parameter.ndim else 1

    def lay_out(self, parameters: list[nn.Parameter]) -> None:
        super().lay_out(parameters)
        ratios = [torch.inf if parameter in self._excepted else self.clipping for parameter in parameters]
        counts = torch.tensor(list(map(self.blocks, parameters)))
        self._ratios = torch.tensor(ratios, dtype=torch.float64).repeat_interleave(counts).to(parameters[0].device)

    def coefficients(self, norms: Tensor, parameters: list[nn.Parameter]) -> Tensor:
        weights = torch.cat([parameter.detach().reshape(-1) for parameter in parameters]).double()
        return factor_to_bound(norms, self._ratios * self.block_norms(weights).clamp(min=self.eps))
