"""Smooth clipping of the whole gradient's norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rnn_research.checks import number
from rnn_research.clipping.norm_scaling import NormScaling


class Soft(NormScaling):
    """g <- g / (1 + ||g|| / c), with ||g|| over all parameters.

    The norm stays below c and grows with ||g||, without the corner that min(1, c / ||g||) has at c; the two
    coefficients are within a factor of 2 (Zhang, He, Sra and Jadbabaie 2020, arXiv:1905.11881).

    Args:
        max_norm: c; infinity: no clipping.

    Raises:
        ValueError: max_norm is not a positive number.
    """

    def __init__(self, max_norm: float) -> None:
        super().__init__()
        self.max_norm = number("max_norm", max_norm, above=0.0, infinite=True)

    def coefficients(self, norms: Tensor, parameters: list[nn.Parameter]) -> Tensor:
        if self.max_norm == torch.inf:
            return torch.ones_like(norms)
        return torch.reciprocal(1.0 + norms / self.max_norm)
