"""Clipping the norm of each gate's part of the gradient by itself."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from rnn_research.cells.base import Cell
from rnn_research.checks import number
from rnn_research.clipping.base import factor_to_bound
from rnn_research.clipping.norm_scaling import NormScaling


class PerGate(NormScaling):
    """g_b <- g_b * min(1, c / ||g_b||) for each block b of hidden_size rows of a cell's stacked weights and biases.

    Such a block is one gate's part of W, of U or of a bias; in an N-ary Tree-LSTM's U one of each child's forget gate.
    Other parameters (the readout, an embedding, those of cells it isn't attached to) are a block each. It changes the
    direction of the whole; the coefficient is the ratio of the global norms.

    Args:
        max_norm: c, the bound for each block; infinity: no clipping.

    Raises:
        ValueError: max_norm is not a positive number.
    """

    whole = False

    def __init__(self, max_norm: float) -> None:
        super().__init__()
        self.max_norm = number("max_norm", max_norm, above=0.0, infinite=True)
        self._blocks: dict[nn.Parameter, int] = {}

    def attach(self, cells: Sequence[Cell], readout: nn.Module, trees: bool | None = None) -> None:
        for cell in cells:
            for parameter in cell.parameters():
                if parameter.ndim > 0 and len(parameter) % cell.hidden_size == 0:
                    self._blocks[parameter] = len(parameter) // cell.hidden_size

    def blocks(self, parameter: nn.Parameter) -> int:
        return self._blocks.get(parameter, 1)

    def coefficients(self, norms: Tensor, parameters: list[nn.Parameter]) -> Tensor:
        return factor_to_bound(norms, self.max_norm)
