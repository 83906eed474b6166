"""Skipping the step where the gradient is not finite."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rnn_research.clipping.base import Clipping, global_norm, skip


class SkipNonfinite(Clipping):
    """The step is not taken where ||g|| over all parameters is NaN or infinite; else g stays.

    The optimiser's moments and the weights stay as they are. A run is stopped by a loss that is not finite all the
    same: this is for a backward pass that overflows where the loss did not.
    """

    def forward(self, parameters: list[nn.Parameter]) -> Tensor:
        norm = global_norm(parameters)
        if not norm.isfinite():
            skip(parameters)
        return torch.ones_like(norm)
