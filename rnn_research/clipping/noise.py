"""Noise added to the gradient (Neelakantan et al. 2015)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from rnn_research.checks import integer, number
from rnn_research.clipping.base import Clipping


class Noise(Clipping):
    """g <- g + N(0, sigma_t^2) with sigma_t^2 = eta / (1 + t)^gamma at step t = 0, 1, ...

    Neelakantan et al. (2015, arXiv:1511.06807, section 3, eq. 1). The draws of a step follow from (seed, t), the same
    on every device, and touch no other generator. A zero gradient becomes noise too. It changes the direction; the
    coefficient is the ratio of the norms.

    Args:
        eta: the variance at first, 0.01 to 1 in the paper; 0: none.
        gamma: how fast it falls.
        seed: which draws.

    Raises:
        ValueError: a value out of range.
    """

    steps: Tensor

    def __init__(self, eta: float = 0.01, gamma: float = 0.55, seed: int = 0) -> None:
        super().__init__()
        self.eta = number("eta", eta, least=0.0)
        self.gamma = number("gamma", gamma, least=0.0)
        self.seed = integer("seed", seed, least=0)
        # Read by the host at every step; the noise comes from there as well.
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, parameters: list[nn.Parameter]) -> None:
        step = int(self.steps)
        self.steps = self.steps + 1
        if self.eta == 0.0:
            return
        # Hashed, since a generator on the CPU reads no more than 32 bits of its seed.
        (hashed,) = np.random.SeedSequence([self.seed, step]).generate_state(1)
        random = torch.Generator().manual_seed(int(hashed))
        deviation = (self.eta / (1.0 + step) ** self.gamma) ** 0.5
        for parameter in parameters:
            if parameter.grad is not None:
                drawn = torch.randn(parameter.shape, generator=random, dtype=torch.float64)
                parameter.grad.add_(drawn.to(parameter.grad), alpha=deviation)
