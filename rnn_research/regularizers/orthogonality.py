"""A soft constraint: recurrent matrices near orthogonality (Vorontsov et al. 2017, arXiv:1702.00071, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rnn_research.cells.base import Cell
from rnn_research.checks import number
from rnn_research.regularizers.base import Regularizer, Step, checked_gates, recurrent_weights


class Orthogonality(Regularizer):
    """weight * sum_i ||W_i^T W_i - I||_F^2, over the recurrent matrices W_i of the gates of all layers (of a tree cell:
    and of its children). The value recorded is the sum.

    Args:
        weight: lambda; the paper compares several and recommends none. 0: measured only.
        gates: the gates whose matrices are meant; None: all.

    Raises:
        ValueError: a weight below 0, or `gates` is no list; in `attach`, a cell without such a gate.
    """

    def __init__(self, weight: float = 1e-3, gates: Sequence[str] | None = None) -> None:
        super().__init__()
        self.weight = number("weight", weight, least=0.0)
        self.gates = checked_gates(gates)

    def attach(self, cells: Sequence[Cell], trees: bool | None = None) -> None:
        recurrent_weights(cells, self.gates)

    def penalty(self, step: Step) -> Tensor:
        layers = recurrent_weights(step.cells, self.gates)
        return torch.stack([distance(torch.stack(blocks)) for blocks in layers]).sum()


def distance(blocks: Tensor) -> Tensor:
    """sum_i ||W_i^T W_i - I||_F^2 of blocks, (count, hidden, hidden)."""
    gram = blocks.mT @ blocks
    return (gram - torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)).square().sum()
