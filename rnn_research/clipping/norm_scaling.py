"""Strategies that only scale a gradient: what they do follows from the norms of its blocks.

`forward` reads the norms from the gradient and multiplies it. `predict_effects` says what that would come to, and
leaves the gradient as it is.
"""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rnn_research.clipping.base import SLACK, Clipping, ClippingEffect, side_by_side


class NormScaling(Clipping):
    """g_b <- c_b g_b for blocks b of the gradient, with coefficients that depend on the blocks' norms.

    The whole gradient is one block; or, where `whole` is False, each parameter's is cut into as many blocks of equal
    length as `blocks` says.
    """

    whole: bool = True

    def __init__(self) -> None:
        super().__init__()
        self._laid: list[nn.Parameter] = []
        self._lengths = torch.zeros(0, dtype=torch.int64)

    def blocks(self, parameter: nn.Parameter) -> int:
        """How many blocks a parameter's gradient has, one after another in memory."""
        return 1

    @abstractmethod
    def coefficients(self, norms: Float[Tensor, " blocks"], parameters: list[nn.Parameter]) -> Float[Tensor, " blocks"]:
        """c_b of each block, from all blocks' L2 norms in float64; 1 leaves a block as it is, to the bit.

        Called once a step: a memory moves on here.

        Args:
            parameters: those with a gradient, in the blocks' order; at least one.
        """

    def forward(self, parameters: list[nn.Parameter]) -> Tensor | None:
        if not parameters:
            return torch.ones((), dtype=torch.float64) if self.whole else None
        exact = side_by_side(parameters).double()
        norms = self.norms_of(exact, torch.linalg.vector_norm(exact), parameters)
        coefficients = self.coefficients(norms, parameters)
        factors = self.factors_of(coefficients, parameters)
        exact *= factors if self.whole else factors.repeat_interleave(self._lengths)
        parts = exact.split([parameter.numel() for parameter in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            assert parameter.grad is not None
            parameter.grad.copy_(part.view_as(parameter))
        return coefficients[0] if self.whole else None

    def lay_out(self, parameters: list[nn.Parameter]) -> None:
        """Note the blocks of these parameters. Called where they aren't those of the last step."""
        each = [(self.blocks(parameter), parameter.numel()) for parameter in parameters]
        lengths = [length for count, size in each for length in [size // count] * count]
        self._laid = list(parameters)
        self._lengths = torch.tensor(lengths, device=parameters[0].device)

    def block_norms(self, exact: Float[Tensor, " n"]) -> Float[Tensor, " blocks"]:
        """The L2 norm of each block, of float64 numbers that lie as the parameters do side by side."""
        return torch.segment_reduce(exact.square(), "sum", lengths=self._lengths, unsafe=True).sqrt()

    def norms_of(self, exact: Tensor, norm: Tensor, parameters: list[nn.Parameter]) -> Tensor:
        """The L2 norm of each block of the gradient `exact`, (blocks,); of all of it `norm` is known."""
        if self.whole:
            return norm[None]
        same = len(self._laid) == len(parameters) and all(map(operator.is_, self._laid, parameters))
        if not same or self._lengths.device != exact.device:
            self.lay_out(parameters)
        return self.block_norms(exact)

    def factors_of(self, coefficients: Tensor, parameters: list[nn.Parameter]) -> Tensor:
        """The factors to multiply by. As in `scale`, a norm ends within its threshold whatever the rounding."""
        slack = max(torch.finfo(dtype).eps for dtype in {parameter.dtype for parameter in parameters}) + SLACK
        return torch.where(coefficients < 1.0, coefficients * (1.0 - slack), coefficients)


def predict_effects(
    strategies: Sequence[NormScaling],
    exact: Float[Tensor, " n"],
    norm: Float[Tensor, ""],
    parameters: list[nn.Parameter],
) -> ClippingEffect:
    """The effect that each strategy's `forward` would have, but for the rounding of each component. Every field has a
    number for each strategy. The strategies' memories move on as if it had been done.

    Args:
        exact: the parameters' gradients side by side, in float64.
        norm: its L2 norm.
    """
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for strategy in strategies:
        norms = strategy.norms_of(exact, norm, parameters)
        coefficients = strategy.coefficients(norms, parameters)
        after = norms * strategy.factors_of(coefficients, parameters)
        if strategy.whole:
            found.append((coefficients, after, after))
        else:
            norm_after = torch.linalg.vector_norm(after)[None]
            found.append((norm_after / norm, norm_after, torch.dot(after, norms / norm)[None]))
    coefficient, norm_after, along = (torch.cat(values) for values in zip(*found, strict=True))
    coefficient = torch.where(norm == 0, 1.0, coefficient)
    return ClippingEffect(
        norm.expand(len(found)), norm_after, coefficient, along / norm_after, torch.zeros_like(norm_after)
    )
