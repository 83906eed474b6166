"""AdaGC: each tensor's norm is clipped to its own running mean (Wang et al. 2025)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rnn_research.cells.base import Cell
from rnn_research.checks import integer, number
from rnn_research.clipping.base import factor_to_bound
from rnn_research.clipping.norm_scaling import NormScaling
from rnn_research.clipping.stateful import Places, StatefulClipping, lengthened


class AdaGC(StatefulClipping, NormScaling):
    """g_p <- h g_p with h = min(1, lambda_rel gamma_p / ||g_p||) for each parameter p, and then
    gamma_p <- beta gamma_p + (1 - beta) ||h g_p||.

    Wang et al. (2025, arXiv:2502.11034). In the warm-up, steps 1 .. warmup_steps - 1, the whole gradient is
    clipped to the norm lambda_abs, and gamma_p is the least norm of g_p after that; so also at a parameter's first
    gradient, later. gamma_p is left where g_p is zero, from which it could never rise again, or not finite. It changes
    the direction of the whole; the coefficient is the ratio of the global norms.

    Args:
        lambda_rel: how far above its running mean a norm may be; infinity: no clipping after the warm-up.
        beta: how much of gamma is kept at each step.
        lambda_abs: the largest global norm in the warm-up; infinity: no clipping there.
        warmup_steps: the first step that gamma acts at.

    Raises:
        ValueError: a value out of range.
    """

    whole = False
    grows = ("gamma",)
    gamma: Tensor
    steps: Tensor

    def __init__(
        self, lambda_rel: float = 1.05, beta: float = 0.98, lambda_abs: float = 1.0, warmup_steps: int = 100
    ) -> None:
        super().__init__()
        self.lambda_rel = number("lambda_rel", lambda_rel, above=0.0, infinite=True)
        self.beta = number("beta", beta, least=0.0, most=1.0)
        self.lambda_abs = number("lambda_abs", lambda_abs, above=0.0, infinite=True)
        self.warmup_steps = integer("warmup_steps", warmup_steps, least=0)
        self.register_buffer("gamma", torch.zeros(0, dtype=torch.float64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._places = Places()

    def attach(self, cells: Sequence[Cell], readout: nn.Module, trees: bool | None = None) -> None:
        self._places.name(parameter for module in (*cells, readout) for parameter in module.parameters())

    def coefficients(self, norms: Tensor, parameters: list[nn.Parameter]) -> Tensor:
        places = torch.tensor(self._places.name(parameters), device=norms.device)
        memory = lengthened(self.gamma.to(norms.device), self._places.length, torch.inf)
        gamma = memory[places]
        self.steps = self.steps + 1
        warm = (self.steps < self.warmup_steps) | gamma.isinf()
        whole = factor_to_bound(torch.linalg.vector_norm(norms), self.lambda_abs)
        coefficients = torch.where(warm, whole, factor_to_bound(norms, self.lambda_rel * gamma))
        self.gamma = memory.index_copy(0, places, self._next(gamma, norms * coefficients, warm))
        return coefficients

    def _next(self, gamma: Tensor, norms: Tensor, warm: Tensor) -> Tensor:
        """gamma after norms (as clipped) have been seen."""
        averaged = self.beta * gamma + (1.0 - self.beta) * norms
        seen = norms.isfinite() & (norms > 0)
        return torch.where(seen, torch.where(warm, torch.minimum(gamma, norms), averaged), gamma)
