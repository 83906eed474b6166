"""Clamping the gradient at every step of backpropagation (Graves 2013)."""

from __future__ import annotations

from rnn_research.cells.base import Cell
from rnn_research.checks import number
from rnn_research.clipping.base import BackwardStrategy
from rnn_research.structures import Chain, Forest
from rnn_research.unroll import Intervention, LossScale


class Graves(BackwardStrategy):
    """da <- min(max(da, -v), v) for the gradient da in each gate's pre-activation, at every step or node, before it
    goes on to previous states, inputs and weights (Graves 2013, arXiv:1308.0850, section 2.1).

    v is in units of a sample's own summed loss, as Graves's, who took a sequence at a time: it does not depend on the
    batch size, gradient accumulation or loss scaling.

    Args:
        max_value: v; 10 for the LSTMs of his handwriting experiments; infinity: no clipping.

    Raises:
        ValueError: max_value is not a positive number.
    """

    def __init__(self, max_value: float = 10.0) -> None:
        super().__init__()
        self.max_value = number("max_value", max_value, above=0.0, infinite=True)

    def intervention(self, cell: Cell, structure: Chain | Forest, layer: int, unit: LossScale) -> Intervention:
        return Intervention(max_value=self.max_value, unit=unit)
