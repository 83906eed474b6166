"""A label at each position that has one: the loss is the mean over them; answers are read as `Label` reads them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from rnn_research.models.architectures.base import Blueprint
from rnn_research.models.architectures.label import Label
from rnn_research.structures import Batch
from rnn_research.structures.layouts import NO_TARGET
from rnn_research.unroll import Unrolled


class Position(Label):
    """o = W_o h + b_o at every labelled position, with h the top layer's hidden state there.

    Raises:
        ValueError: batches label no positions, or label them with numbers.
    """

    learns_positions = True

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__(blueprint)
        if not blueprint.position_targets:
            raise ValueError(
                "architecture=position: these batches label no positions; use architecture=label, or data and a "
                "structure with labels at every node (dataset.labels=nodes structure=parse)"
            )
        if blueprint.pooling != "last":
            raise ValueError(
                f"pooling: given {blueprint.pooling}, but the loss is of labels at positions, each read from its own "
                "state; use model.loss=terminal beside it, or model.pooling=last"
            )
        if blueprint.task.kind == "regression":
            raise ValueError(
                "architecture=position: these batches label positions with numbers, expected classes; use "
                "architecture=label"
            )

    def labelled(self, net: Any, batch: Batch, unrolled: Unrolled) -> tuple[Tensor, Tensor] | None:
        if batch.position_targets is None:
            return None
        labelled = batch.position_targets != NO_TARGET
        return self.outputs(net, unrolled.hidden[labelled]), batch.position_targets[labelled]
