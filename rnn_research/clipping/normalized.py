"""The normalised gradient: only its direction counts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rnn_research.checks import number
from rnn_research.clipping.norm_scaling import NormScaling


class Normalized(NormScaling):
    """g <- c g / ||g||, with ||g|| over all parameters: small gradients grow to the norm c as large ones shrink to it.

    Normalised gradient descent (Nesterov 1984), which clipping comes near to where gradients are large (Zhang, He,
    Sra and Jadbabaie 2020, arXiv:1905.11881). A zero gradient stays zero.

    Args:
        norm: c.

    Raises:
        ValueError: norm is not a positive number.
    """

    def __init__(self, norm: float = 1.0) -> None:
        super().__init__()
        self.norm = number("norm", norm, above=0.0)

    def coefficients(self, norms: Tensor, parameters: list[nn.Parameter]) -> Tensor:
        return torch.where(norms == 0, 1.0, self.norm / norms)
