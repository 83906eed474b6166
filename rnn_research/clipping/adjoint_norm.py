"""Clipping the norm of each state's adjoint inside backpropagation."""

from __future__ import annotations

from rnn_research.cells.base import Cell
from rnn_research.checks import number
from rnn_research.clipping.base import BackwardStrategy
from rnn_research.structures import Chain, Forest
from rnn_research.unroll import Intervention, LossScale


class AdjointNorm(BackwardStrategy):
    """delta <- delta * min(1, c / ||delta||) for the adjoint delta of each state, h and c together, at every step of a
    chain or node of a tree, before it goes on to previous states, inputs and weights.

    delta is what the update passes on: the gradients in h and in c as two things apart. The adjoint of c that a probe
    reports also has what comes through the h of the same step, and may be larger than c.

    The norm form of Graves's clamp (2013): the direction of each delta stays, that of the parameters' gradient does
    not. c is in units of a sample's own summed loss. A delta whose norm is not finite is left as it is.

    Args:
        max_norm: c; infinity: no clipping.

    Raises:
        ValueError: max_norm is not a positive number.
    """

    def __init__(self, max_norm: float = 1.0) -> None:
        super().__init__()
        self.max_norm = number("max_norm", max_norm, above=0.0, infinite=True)

    def intervention(self, cell: Cell, structure: Chain | Forest, layer: int, unit: LossScale) -> Intervention:
        return Intervention(max_norm=self.max_norm, unit=unit)
