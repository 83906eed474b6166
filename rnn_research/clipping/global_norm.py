"""Clipping the norm of the whole gradient (Pascanu, Mikolov and Bengio 2013, Algorithm 1)."""

from __future__ import annotations

from torch import Tensor, nn

from rnn_research.checks import number
from rnn_research.clipping.base import Clipping, global_norm, scale, within


class GlobalNorm(Clipping):
    """g <- g * min(1, c / ||g||), with ||g|| over all parameters. The direction stays.

    Args:
        max_norm: c; infinity: no clipping.

    Raises:
        ValueError: max_norm is not a positive number.
    """

    def __init__(self, max_norm: float) -> None:
        super().__init__()
        self.max_norm = number("max_norm", max_norm, above=0.0, infinite=True)

    def forward(self, parameters: list[nn.Parameter]) -> Tensor:
        coefficient = within(global_norm(parameters), self.max_norm)
        for parameter in parameters:
            scale(parameter, coefficient)
        return coefficient
