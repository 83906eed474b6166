"""The contract of a regularizer.

To add one, subclass `Regularizer` in one file and implement one of `penalty`, `after_backward` and `after_step`, by
what it needs: a penalty is differentiated with the loss; what reads adjoints must wait for the backward pass; a
projection of the weights comes after the optimiser's step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rnn_research.cells.base import Cell
from rnn_research.structures import Chain, Forest
from rnn_research.unroll import Unrolled


@dataclass(frozen=True, eq=False)
class Step:
    """One training batch, as a regularizer sees it.

    `cells` are the layers from the bottom up, `inputs` what the lowest reads, at the structure's positions. `unrolled`
    has the states and, after the backward pass, where the regularizer `needs_adjoints`, their adjoints.
    """

    cells: Sequence[Cell]
    structure: Chain | Forest
    inputs: Float[Tensor, "*positions input"]
    unrolled: Unrolled


class Regularizer(nn.Module):
    """Acts on training beside the loss. Its value at each step is recorded; the task's loss is reported without it."""

    needs_adjoints: ClassVar[bool] = False
    """Whether the adjoint of every state must be kept in the backward pass."""

    needs_whole: ClassVar[bool] = False
    """Whether it has no meaning where backpropagation through time is truncated."""

    def attach(self, cells: Sequence[Cell], trees: bool | None = None) -> None:
        """Told once, before training, what is regularized.

        Args:
            trees: whether the data are laid out as trees; None: as chains or trees, not known.

        Raises:
            ValueError: the regularizer has no meaning there; says why.
        """

    def penalty(self, step: Step) -> Float[Tensor, ""] | None:
        """A number that is added to the batch's mean loss and differentiated with it; None: nothing is added."""
        return None

    def after_backward(self, step: Step, unit: Float[Tensor, ""]) -> Float[Tensor, ""] | None:
        """Add to the gradients of the cells' parameters what is not the derivative of a penalty.

        Args:
            unit: the derivative of what is differentiated with respect to the batch's mean loss (accumulation and loss
                scaling included): what is added must be multiplied by it.

        Returns:
            The regularizer's value at this step, to be recorded; None: it has none.
        """
        return None

    def after_step(self) -> None:
        """Change the weights after the optimiser's step, in place."""


def recurrent_weights(cells: Sequence[Cell]) -> list[Tensor]:
    """Each gate's square recurrent matrices of all layers, (hidden, hidden), as views of the parameters."""
    return [block for cell in cells for _, block in cell.recurrent_blocks()]


def zero(cells: Sequence[Cell]) -> Tensor:
    """0, on the cells' device and in their precision."""
    return torch.zeros((), device=cells[0].weight_hh.device, dtype=cells[0].weight_hh.dtype)
