"""SPAM's clipping of single components that spike (Huang et al. 2025)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rnn_research.cells.base import Cell
from rnn_research.checks import integer, number
from rnn_research.clipping.stateful import Places, StatefulClipping, lengthened


class SPAM(StatefulClipping):
    """g_i <- sign(g_i) sqrt(theta v_i) where g_i^2 > theta v_i, and then v_i <- beta v_i + (1 - beta) g_i^2.

    The gradient's part of SPAM (Huang et al. 2025, arXiv:2501.06842): v is a second moment of its own, as
    Adam's without the correction for its start. The optimiser's part, momentum that is reset, is left to the optimiser.
    A component that had no gradient so far has v_i = 0 and is left as it is: clipped, it would be zero for ever. It
    changes the direction of the whole; the coefficient is the ratio of the global norms.

    Args:
        theta: how many times its mean a component's square may be; infinity: no clipping.
        beta: how much of v is kept at each step.
        warmup_steps: the first step that is clipped at; the first is step 1.

    Raises:
        ValueError: a value out of range.
    """

    grows = ("moments",)
    moments: Tensor
    steps: Tensor

    def __init__(self, theta: float = 5000.0, beta: float = 0.999, warmup_steps: int = 20) -> None:
        super().__init__()
        self.theta = number("theta", theta, above=0.0, infinite=True)
        self.beta = number("beta", beta, least=0.0, most=1.0)
        self.warmup_steps = integer("warmup_steps", warmup_steps, least=0)
        self.register_buffer("moments", torch.zeros(0, dtype=torch.float64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._places = Places()

    def attach(self, cells: Sequence[Cell], readout: nn.Module, trees: bool | None = None) -> None:
        self._places.name((parameter for module in (*cells, readout) for parameter in module.parameters()), each=True)

    def forward(self, parameters: list[nn.Parameter]) -> None:
        if not parameters:
            return
        starts = self._places.name(parameters, each=True)
        self.moments = lengthened(self.moments.to(parameters[0].device), self._places.length, 0.0)
        self.steps = self.steps + 1
        for start, parameter in zip(starts, parameters, strict=True):
            if parameter.grad is not None:
                moments = self.moments[start : start + parameter.numel()].view_as(parameter)
                self._clip(parameter.grad, moments)

    def _clip(self, gradient: Tensor, moments: Tensor) -> None:
        """One parameter's gradient and v, in place."""
        exact, most = gradient.double(), self.theta * moments
        spike = (exact.square() > most) & (moments > 0) & (self.steps >= self.warmup_steps)
        gradient.copy_(torch.where(spike, exact.sign() * most.sqrt(), exact))
        square = gradient.double().square()
        moments.copy_(torch.where(square.isfinite(), self.beta * moments + (1.0 - self.beta) * square, moments))
