"""AutoClip: the threshold is a percentile of the norms so far (Seetharaman, Wichern, Pardo and Le Roux 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rnn_research.checks import number
from rnn_research.clipping.base import factor_to_bound
from rnn_research.clipping.norm_scaling import NormScaling
from rnn_research.clipping.stateful import StatefulClipping


class AutoClip(StatefulClipping, NormScaling):
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

    def coefficients(self, norms: Tensor, parameters: list[nn.Parameter]) -> Tensor:
        self.norms = inserted(self.norms.to(norms.device), norms)
        return factor_to_bound(norms, self._threshold())

    def _threshold(self) -> Tensor:
        last = (self.norms.isfinite().sum() - 1).clamp(min=0)
        place = last.double() * (self.percentile / 100.0)
        below = place.floor()
        low, high = self.norms.index_select(0, torch.stack([below, place.ceil()]).long()).unbind()
        return torch.lerp(low, high, place - below)


def inserted(ascending: Tensor, value: Tensor) -> Tensor:
    """An ascending vector with one more value, (1,), in its place: without asking the device which place that is."""
    end = torch.full_like(value, torch.inf)
    around = torch.cat([-end, ascending, end])
    return torch.clamp(value.nan_to_num(torch.inf, posinf=torch.inf), around[:-1], around[1:])
