"""ZClip: norms far above their running mean are clipped (Kumar, Owen, Chowdhury and Güra 2025)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rnn_research.checks import choice, flag, integer, number
from rnn_research.clipping.base import factor_to_bound
from rnn_research.clipping.norm_scaling import NormScaling
from rnn_research.clipping.stateful import StatefulClipping

MODES = ("adaptive_scaling", "mean", "percentile")


class ZClip(StatefulClipping, NormScaling):
    """Where z = (||g|| - m) / (s + eps) is above z*, the norm is clipped to m + z* s / (z / z*); always to max_norm.

    Kumar et al. (2025, arXiv:2504.02507) and their package. m and s^2 are the mean and variance of the
    first `warmup_steps` norms, in which only max_norm acts; then moving averages of the norms as clipped by z alone:
    m <- alpha m + (1 - alpha) n, s^2 <- alpha s^2 + (1 - alpha) (n - m)^2. A norm that is not finite is not remembered.

    Args:
        alpha: how much of m and s^2 is kept at each step.
        z_threshold: z*; infinity: only max_norm acts.
        max_norm: the largest norm in any case; infinity: none.
        eps: added to s.
        warmup_steps: norms that m and s^2 begin with.
        mode: what a spike is clipped to: adaptive_scaling: see above; mean: m; percentile: m + z* s, where the norm is
            above that.
        factor: adaptive_scaling's threshold is multiplied by it.
        remember_spikes: whether m and s^2 are updated at a spike.

    Raises:
        ValueError: a value out of range.
    """

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(
        self,
        alpha: float = 0.97,
        z_threshold: float = 2.5,
        max_norm: float = 1.0,
        eps: float = 1e-6,
        warmup_steps: int = 25,
        mode: str = "adaptive_scaling",
        factor: float = 1.0,
        remember_spikes: bool = True,
    ) -> None:
        super().__init__()
        self.alpha = number("alpha", alpha, least=0.0, most=1.0)
        self.z_threshold = number("z_threshold", z_threshold, above=0.0, infinite=True)
        self.max_norm = number("max_norm", max_norm, above=0.0, infinite=True)
        self.eps = number("eps", eps, above=0.0)
        self.warmup_steps = integer("warmup_steps", warmup_steps)
        self.mode, self.factor = choice("mode", mode, MODES), number("factor", factor, above=0.0)
        self.remember_spikes = flag("remember_spikes", remember_spikes)
        self.register_buffer("mean", torch.zeros((), dtype=torch.float64))
        self.register_buffer("variance", torch.zeros((), dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def coefficients(self, norms: Tensor, parameters: list[nn.Parameter]) -> Tensor:
        (norm,) = norms.unbind()
        spike, threshold = self._judged(norm)
        clipped = torch.where(spike, threshold, norm)
        seen = norm.isfinite() if self.remember_spikes else norm.isfinite() & ~spike
        self._remember(clipped, seen)
        return factor_to_bound(norms, clipped.clamp(max=self.max_norm))

    def _judged(self, norm: Tensor) -> tuple[Tensor, Tensor]:
        """Whether the norm is a spike, and what one is clipped to."""
        deviation = self.variance.sqrt()
        z = (norm - self.mean) / (deviation + self.eps)
        if self.mode == "mean":
            threshold = self.mean
        elif self.mode == "percentile":
            threshold = self.mean + self.z_threshold * deviation
        else:
            threshold = (self.mean + self.z_threshold * deviation / (z / self.z_threshold)) * self.factor
        above = norm > threshold if self.mode == "percentile" else z > self.z_threshold
        return above & (self.count >= self.warmup_steps), threshold

    def _remember(self, norm: Tensor, wanted: Tensor) -> None:
        """In the warm-up by Welford's recurrence, which gives the mean and variance of all; then by the averages."""
        warm = self.count < self.warmup_steps
        rate = torch.where(warm, 1.0 / (self.count + 1).double(), 1.0 - self.alpha)
        mean = self.mean + rate * (norm - self.mean)
        square = (norm - mean) * (norm - torch.where(warm, self.mean, mean))
        self.variance.copy_(torch.where(wanted, torch.lerp(self.variance, square, rate), self.variance))
        self.mean.copy_(torch.where(wanted, mean, self.mean))
        self.count.add_(wanted)
