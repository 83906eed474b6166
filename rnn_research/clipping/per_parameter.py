"""Clipping the norm of each parameter's gradient by itself."""

from __future__ import annotations

from torch import Tensor, nn

from rnn_research.checks import number
from rnn_research.clipping.base import factor_to_bound
from rnn_research.clipping.norm_scaling import NormScaling


class PerParameter(NormScaling):
    """g_p <- g_p * min(1, c / ||g_p||) for each parameter p. It changes the direction of the whole.

    The coefficient is the ratio of the global norms.

    Args:
        max_norm: c, the bound for each parameter; infinity: no clipping.

    Raises:
        ValueError: max_norm is not a positive number.
    """

    whole = False

    def __init__(self, max_norm: float) -> None:
        super().__init__()
        self.max_norm = number("max_norm", max_norm, above=0.0, infinite=True)

    def coefficients(self, norms: Tensor, parameters: list[nn.Parameter]) -> Tensor:
        return factor_to_bound(norms, self.max_norm)
