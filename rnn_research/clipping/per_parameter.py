"""Clipping the norm of each parameter's gradient by itself."""

from __future__ import annotations

from torch import nn

from rnn_research.checks import number
from rnn_research.clipping.base import Clipping, global_norm, scale, within


class PerParameter(Clipping):
    """g_p <- g_p * min(1, c / ||g_p||) for each parameter p. It changes the direction of the whole.

    The coefficient is the ratio of the global norms.

    Args:
        max_norm: c, the bound for each parameter; infinity: no clipping.

    Raises:
        ValueError: max_norm is not a positive number.
    """

    def __init__(self, max_norm: float) -> None:
        super().__init__()
        self.max_norm = number("max_norm", max_norm, above=0.0, infinite=True)

    def forward(self, parameters: list[nn.Parameter]) -> None:
        for parameter in parameters:
            scale(parameter, within(global_norm([parameter]), self.max_norm))
