"""One label a sample, read from the last state (of a chain the last step's, of a tree the root's), or from all."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from rnn_research.models.architectures.base import Architecture
from rnn_research.models.architectures.pooling import Attention, pooled
from rnn_research.models.architectures.reading import terminal
from rnn_research.structures import Batch
from rnn_research.unroll import Unrolled


class Label(Architecture):
    """o = W_o p + b_o, with p the top layer's hidden state at the last step or root, or what `model.pooling` makes of
    those at all positions."""

    def modules(self) -> dict[str, nn.Module | None]:
        made = super().modules()
        if self.blueprint.pooling == "attention":
            made["attention"] = Attention(made["readout"].in_features)  # type: ignore[union-attr]
        return made

    def answers(self, net: Any, batch: Batch, unrolled: Unrolled) -> Float[Tensor, "batch output"]:
        if self.blueprint.pooling == "last":
            return self.outputs(net, terminal(batch.structure, unrolled))
        attention = getattr(net, "attention", None)
        return self.outputs(net, pooled(self.blueprint.pooling, batch.structure, unrolled.hidden, attention))
