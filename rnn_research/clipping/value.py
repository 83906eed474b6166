"""Clipping each component of the gradient (Mikolov 2012)."""

from __future__ import annotations

from torch import nn

from rnn_research.checks import number
from rnn_research.clipping.base import Clipping


class Value(Clipping):
    """g_i <- min(max(g_i, -v), v). It changes the gradient's direction. The coefficient is the ratio of the norms.

    Args:
        max_value: v; infinity: no clipping.

    Raises:
        ValueError: max_value is not a positive number.
    """

    def __init__(self, max_value: float) -> None:
        super().__init__()
        self.max_value = number("max_value", max_value, above=0.0, infinite=True)

    def forward(self, parameters: list[nn.Parameter]) -> None:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.clamp_(-self.max_value, self.max_value)
