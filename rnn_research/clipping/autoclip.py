"""AutoClip: the threshold is a percentile of the norms so far (Seetharaman, Wichern, Pardo and Le Roux 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rnn_research.checks import number
from rnn_research.clipping.base import global_norm, scale, within
from rnn_research.clipping.memory import Remembering


class AutoClip(Remembering):
    """g <- g * min(1, c_t / ||g||), where c_t is the p-th percentile of ||g|| at all steps so far, this one included.

    Seetharaman et al. (2020, arXiv:2007.14469) and their code: the whole history counts, of norms before
    clipping, and percentiles are interpolated linearly, as `numpy.percentile` does. A norm that is not finite is not
    part of the history: one would be for ever.

    Args:
        percentile: p; 100: no clipping.

    Raises:
        ValueError: percentile is not a number from 0 to 100.
    """

    grows = ("norms",)
    norms: Tensor
    """One a step, ascending; those that are not finite as infinity, behind the others."""

    def __init__(self, percentile: float = 10.0) -> None:
        super().__init__()
        self.percentile = number("percentile", percentile, least=0.0, most=100.0)
        self.register_buffer("norms", torch.zeros(0, dtype=torch.float64))

    def forward(self, parameters: list[nn.Parameter]) -> Tensor:
        norm = global_norm(parameters)
        if not parameters:
            return torch.ones_like(norm)
        self.norms = inserted(self.norms.to(norm.device), norm)
        coefficient = within(norm, self._threshold())
        for parameter in parameters:
            scale(parameter, coefficient)
        return coefficient

    def _threshold(self) -> Tensor:
        last = (self.norms.isfinite().sum() - 1).clamp(min=0)
        place = last * (self.percentile / 100.0)
        below = place.double().floor()
        around = torch.stack([below.long(), torch.minimum(below.long() + 1, last)])
        low, high = self.norms.index_select(0, around).unbind()
        return torch.lerp(low, high, place - below)


def inserted(ascending: Tensor, value: Tensor) -> Tensor:
    """An ascending vector with one more value, in its place: without asking the device which place that is."""
    end = value.new_full((1,), torch.inf)
    value = torch.where(value.isfinite(), value, torch.inf)
    return torch.maximum(torch.cat([-end, ascending]), torch.minimum(torch.cat([ascending, end]), value))
