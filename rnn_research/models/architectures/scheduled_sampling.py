"""Scheduled sampling: what a decoder reads in training that it wrote itself."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rnn_research.checks import integer, number


class ScheduledSampling:
    """Replaces tokens that a decoder reads in training by draws of its own: Bengio et al. 2015 (arXiv:1506.03099).

    The draws at all steps are made at once, each by the decoder's output after the target's own tokens before it; then
    the decoder reads the mixture: Duckworth et al. 2019 (arXiv:1906.04331), with one pass. So nothing is done step by
    step. No gradient passes through a draw.

    Args:
        rate: the share of tokens that is replaced once it has risen, from 0 to 1.
        rise: optimiser's steps over which the share rises from 0, in a straight line; 0: it is `rate` from the start.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, rate: float = 0.0, rise: int = 0) -> None:
        self.rate = number("scheduled_sampling", rate, least=0.0, most=1.0)
        self.rise = integer("scheduled_sampling_rise", rise, least=0)
        if rise and not rate:
            raise ValueError(
                f"scheduled_sampling_rise: given {rise} beside scheduled_sampling=0, which replaces none; leave it out"
            )

    def rate_at(self, step: int) -> float:
        """The share of tokens that is replaced after so many of the optimiser's steps."""
        return self.rate * min(1.0, step / self.rise) if self.rise else self.rate

    def mixed(
        self,
        read: Int[Tensor, "batch steps"],
        step: int,
        outputs: Callable[[Bool[Tensor, "batch steps"]], Float[Tensor, "drawn classes"]],
    ) -> Int[Tensor, "batch steps"]:
        """What the decoder reads instead. What is read first stays, and padding (0) stays.

        Args:
            read: the target's own tokens; token k + 1 stands for class k.
            step: how many of the optimiser's steps were taken.
            outputs: the decoder's outputs at some of its steps, in their order, having read `read`.
        """
        drawn = (torch.rand(read.shape, device=read.device) < self.rate_at(step)) & (read > 0)
        drawn[:, 0] = False
        if not bool(drawn.any()):
            return read
        before = drawn.roll(-1, 1)
        tokens = torch.multinomial(outputs(before).float().softmax(-1), 1)[:, 0] + 1
        return read.masked_scatter(drawn, tokens)
