"""Clipping the norm of the whole gradient (Pascanu, Mikolov and Bengio 2013, Algorithm 1)."""

from __future__ import annotations

from torch import Tensor, nn

from rnn_research.checks import number
from rnn_research.clipping.base import factor_to_bound
from rnn_research.clipping.norm_scaling import NormScaling


class GlobalNorm(NormScaling):
    """g <- g * min(1, c / ||g||), with ||g|| over all parameters. The direction stays.

    Args:
        max_norm: c; infinity: no clipping.

    Raises:
        ValueError: max_norm is not a positive number.
    """

    def __init__(self, max_norm: float) -> None:
        super().__init__()
        self.max_norm = number("max_norm", max_norm, above=0.0, infinite=True)

    def coefficients(self, norms: Tensor, parameters: list[nn.Parameter]) -> Tensor:
        return factor_to_bound(norms, self.max_norm)
