"""Where an answer is read: what of a sample's states the readout is given."""

from __future__ import annotations

from torch import Tensor

from rnn_research.structures import Chain, Forest
from rnn_research.unroll import Unrolled


def terminal(structure: Chain | Forest, unrolled: Unrolled) -> Tensor:
    """The top layer's hidden state at the last step or root, one a sample; of two directions [the last forward one, the
    last backward one]."""
    ends: Tensor | None = getattr(unrolled, "terminal", None)  # as `BothDirections` has
    return structure.terminal(unrolled.hidden) if ends is None else ends
