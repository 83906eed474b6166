"""No clipping: the control."""

from __future__ import annotations

from torch import Tensor, nn

from rnn_research.clipping.base import Clipping, constant


class NoClipping(Clipping):
    """g <- g."""

    changes_gradients = False

    def forward(self, parameters: list[nn.Parameter]) -> Tensor:
        return constant(1.0)
