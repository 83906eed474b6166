"""Cutting a tree's backward pass at some depths: truncated backpropagation for trees."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from rnn_research.cells.base import Cell
from rnn_research.checks import integer
from rnn_research.clipping.base import BackwardStrategy
from rnn_research.structures import Chain, Forest
from rnn_research.unroll import Intervention, LossScale


class DepthDetach(BackwardStrategy):
    """No gradient passes from a parent to its children at depths k, 2k, 3k, ... below the root: what truncated
    backpropagation through time (`tbptt`, with k2 = k1) is to a sequence. With labels at every node each band of k
    levels learns from its own nodes' losses.

    Args:
        every: k, in edges.

    Raises:
        ValueError: every < 1; or the data are sequences.
    """

    def __init__(self, every: int = 4) -> None:
        super().__init__()
        self.every = integer("every", every)

    def attach(self, cells: Sequence[Cell], readout: nn.Module, trees: bool | None = None) -> None:
        if trees is False:
            raise ValueError(
                "clipping=depth_detach: cuts at depths of a tree, but this structure is a chain; use clipping=tbptt, "
                "or structure=parse or structure=balanced"
            )

    def intervention(self, cell: Cell, structure: Chain | Forest, layer: int, unit: LossScale) -> Intervention:
        depth = structure.distance
        kept = ((depth % self.every != 0) | (depth == 0)).to(torch.float32)
        return Intervention(tuple(kept for _ in cell.state_names), unit=unit)
