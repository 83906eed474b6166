"""Keeping the adjoint's norm along the way back."""

from __future__ import annotations

from rnn_research.cells.base import Cell
from rnn_research.checks import number
from rnn_research.clipping.base import BackwardStrategy
from rnn_research.structures import Chain, Forest
from rnn_research.unroll import Intervention, LossScale


class AdjointNormalize(BackwardStrategy):
    """r <- r * (||delta'|| / ||r||)^eta for the part r of a state's adjoint that comes from the later state (the next
    step, or the parent), whose own adjoint is delta'; h and c together.

    With eta = 1 no gradient vanishes or explodes on its way back; the gradient of the parameters is then not that of
    the loss. The dual of the regularizer of Pascanu, Mikolov and Bengio (2013, section 3.3), which asks of the weights
    what is done here to the gradient.

    Args:
        exponent: eta, from 0 (nothing is changed) to 1.

    Raises:
        ValueError: exponent is not in [0, 1].
    """

    def __init__(self, exponent: float = 1.0) -> None:
        super().__init__()
        self.exponent = number("exponent", exponent, least=0.0, most=1.0)

    def intervention(self, cell: Cell, structure: Chain | Forest, layer: int, unit: LossScale) -> Intervention:
        return Intervention(exponent=self.exponent, unit=unit)
