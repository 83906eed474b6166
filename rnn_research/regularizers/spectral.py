"""A hard constraint: the singular values of recurrent matrices stay within bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rnn_research.cells.base import Cell
from rnn_research.checks import integer, number
from rnn_research.regularizers.base import Regularizer, checked_gates, recurrent_weights


class Spectral(Regularizer):
    """W <- U clamp(S, least, most) V^T of each recurrent matrix W = U S V^T, after the optimiser's step: the nearest
    matrix (in Frobenius norm) whose singular values lie within the bounds. With least = most = 1 it is the polar factor
    U V^T, so that W stays orthogonal. A matrix within the bounds already keeps every bit.

    Vorontsov et al. 2017 (arXiv:1702.00071) bound the same singular values to [1 - m, 1 + m], but train U,
    S and V themselves: U and V by geodesic steps on the Stiefel manifold, S through a sigmoid. Here the optimiser, with
    its momentum, acts on W as ever, and W is projected.

    The value recorded is the largest singular value of all matrices before the projection, in the steps that project.

    Args:
        least, most: the bounds; 0 and infinity: none.
        every_n_steps: how often W is projected; in between it may leave the bounds.
        gates: the gates whose matrices are meant; None: all.

    Raises:
        ValueError: bounds that are not 0 <= least <= most with most > 0, every_n_steps below 1, or `gates` is no list;
            in `attach`, a cell without such a gate.
    """

    SLACK = 8  # units of rounding, times the size: a matrix just projected is within its bounds

    def __init__(
        self,
        least: float = 0.0,
        most: float = 1.0,
        every_n_steps: int = 1,
        gates: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.most = number("most", most, above=0.0, infinite=True)
        self.least = number("least", least, least=0.0)
        if self.least > self.most:
            raise ValueError(f"least: given {least:g}, expected at most most={most:g}; lower least, or raise most")
        self.every_n_steps = integer("every_n_steps", every_n_steps)
        self.gates = checked_gates(gates)
        self.cells: list[Cell] = []

    def attach(self, cells: Sequence[Cell], trees: bool | None = None) -> None:
        recurrent_weights(cells, self.gates)
        self.cells = list(cells)  # a plain list: their parameters stay the model's

    @torch.no_grad()
    def after_step(self, number: int) -> Tensor | None:
        if (number + 1) % self.every_n_steps != 0:
            return None
        return torch.stack([self._project(blocks) for blocks in recurrent_weights(self.cells, self.gates)]).amax()

    def _project(self, blocks: list[Tensor]) -> Tensor:
        """One layer's matrices, in place; the largest singular value before. NaN where a weight is not finite: there is
        no decomposition, and the run ends by its loss."""
        matrices = torch.stack(blocks)
        if not torch.isfinite(matrices).all():
            return matrices.new_full((), math.nan)
        left, values, right = decomposed(matrices.double())
        slack = self.SLACK * matrices.shape[-1] * torch.finfo(matrices.dtype).eps * values.amax(-1, keepdim=True)
        outside = ((values < self.least - slack) | (values > self.most + slack)).any(-1).tolist()
        projected = left * values.clamp(self.least, self.most)[:, None] @ right
        for block, matrix, out in zip(blocks, projected, outside, strict=True):
            if out:
                block.copy_(matrix)
        return values.amax()


def decomposed(matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U, S and V^T of each of some float64 matrices.

    LAPACK's divide and conquer fails, if seldom, where many singular values lie close together, as they do in a matrix
    that is kept orthogonal: of single precision some within a few hundred steps; its transpose is another problem.
    """
    try:
        return torch.linalg.svd(matrices)
    except torch.linalg.LinAlgError:  # pyright: ignore[reportPrivateImportUsage]
        left, values, right = torch.linalg.svd(matrices.mT)
        return right.mT, values, left.mT
