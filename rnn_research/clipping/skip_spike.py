"""Skipping the step where the gradient's norm is far above the last ones (OLMo 2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rnn_research.checks import integer, number
from rnn_research.clipping.base import global_norm, skip
from rnn_research.clipping.stateful import StatefulClipping


class SkipSpike(StatefulClipping):
    """The step is not taken where ||g|| > m + k s, with m and s the mean and (sample's) standard deviation of the last
    N norms before it; else g stays.

    As the optimisers of OLMo-core do, with which OLMo 2 was trained (2025, arXiv:2501.00656), for the gradient's norm;
    they look at the loss too. The history is of every finite norm, those of skipped steps included, so that a lasting
    change is followed; it judges once it holds N / 2 - 1 norms (at least 2), before which every step is taken. From
    then on a step whose norm is not finite is skipped as well.

    Args:
        deviations: k; infinity: no step is skipped.
        window: N.

    Raises:
        ValueError: deviations is not a positive number, or window is below 2.
    """

    grows = ("norms",)
    norms: Tensor
    """The last ones, oldest first."""

    def __init__(self, deviations: float = 6.0, window: int = 128) -> None:
        super().__init__()
        self.deviations = number("deviations", deviations, above=0.0, infinite=True)
        self.window = integer("window", window, least=2)
        self.register_buffer("norms", torch.zeros(0, dtype=torch.float64))

    def forward(self, parameters: list[nn.Parameter]) -> Tensor:
        norm = global_norm(parameters)
        if not parameters or self.deviations == math.inf:
            return torch.ones_like(norm)
        history = self.norms[-self.window :].to(norm.device)
        if norm.isfinite():
            self.norms = torch.cat([history, norm[None]])[-self.window :]
        if len(history) >= max(2, self.window // 2 - 1) and not self._usual(norm, history):
            skip(parameters)
        return torch.ones_like(norm)

    def _usual(self, norm: Tensor, history: Tensor) -> Tensor:
        deviation, mean = torch.std_mean(history)
        return norm.isfinite() & (norm - mean <= self.deviations * deviation)
