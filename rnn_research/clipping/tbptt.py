"""Truncated backpropagation through time (Williams and Peng 1990)."""

from __future__ import annotations

import logging

from rnn_research.cells.base import Cell
from rnn_research.checks import integer
from rnn_research.clipping.base import BackwardStrategy
from rnn_research.structures import Chain, Forest
from rnn_research.unroll import LossScale

log = logging.getLogger(__name__)


class TBPTT(BackwardStrategy):
    """Losses in each window of k1 steps, counted from the start, reach back to k2 steps before the window's end.

    BPTT(h; h') of Williams and Peng (1990), with h = k2, h' = k1, but for the update: the windows' gradients are
    summed, and the weights change once a batch. A loss at the last step alone reaches back as far as its own window's
    losses do. k2 > k1 takes ceil(k2 / k1) passes. Sequences alone.

    Args:
        k1: steps of a window.
        k2: steps that a window's losses reach back, at least k1; null: k1.

    Raises:
        ValueError: k1 < 1 or k2 < k1; or the data are trees.
    """

    def __init__(self, k1: int = 35, k2: int | None = None) -> None:
        super().__init__()
        self.k1 = integer("k1", k1)
        self.k2 = self.k1 if k2 is None else integer("k2", k2)
        if self.k2 < self.k1:
            raise ValueError(
                f"k2: given {k2}, expected at least k1 = {k1}: losses must reach back over their own window"
            )
        self.truncate = (self.k1, self.k2)
        self._told = False

    def intervention(self, cell: Cell, structure: Chain | Forest, layer: int, unit: LossScale) -> None:
        if isinstance(structure, Chain) and structure.time <= self.k1 and not self._told:
            self._told = True
            log.warning(
                "clipping=tbptt: a batch has no sequence longer than its window, %d <= k1=%d: nothing is cut there",
                structure.time,
                self.k1,
            )
