"""One label a sample, read from the last state: of a chain the last step's, of a tree the root's."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from rnn_research.models.architectures.base import Architecture
from rnn_research.models.architectures.reading import terminal
from rnn_research.structures import Batch
from rnn_research.unroll import Unrolled


class Label(Architecture):
    """o = W_o h + b_o, with h the top layer's hidden state at the last step or root (see `reading`)."""

    def answers(self, net: Any, batch: Batch, unrolled: Unrolled) -> Float[Tensor, "batch output"]:
        return net.readout(terminal(batch.structure, unrolled))
