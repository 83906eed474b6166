"""What comes next, at every step: the classic language model."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rnn_research.models.architectures.base import Architecture, Blueprint
from rnn_research.structures import Batch
from rnn_research.structures.layouts import NO_TARGET
from rnn_research.unroll import Unrolled


class NextToken(Architecture):
    """Embedding, recurrence, and o_t = W_o h_t + b_o at every step t, over the tokens that may come next.

    h_t is the top layer's hidden state (with `output_dropout` as in Zaremba et al. 2014, arXiv:1409.2329). Class k
    stands for token k + 1: the empty token 0 never comes. With `tie_weights` W_o is the embedding's own matrix (Press
    and Wolf 2017, arXiv:1608.05859), so that a token's vector is also what it is recognised by.

    The loss is the mean over all steps of the batch, `answers` what comes after its last step. So a state at distance d
    from the end of a window has the losses of 0..d cell applications in its adjoint, none of later windows (gradients
    are cut there), and the last step's loss alone in its `_terminal` adjoint. See `probes.adjoint`.

    Raises:
        ValueError: the data are no streams of tokens on a chain; or with `tie_weights` the embedding's size is not
            the cell's.
    """

    learns_positions = True
    kinds = ("next_token",)
    every_step = True
    ties = True
    causal = True
    """No answer may read a later step: it would be told what it is asked."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__(blueprint)
        if not blueprint.position_targets:
            raise ValueError(
                "architecture=next_token: these batches label no steps, since nothing comes next in a tree; use "
                "structure=chain"
            )
        if blueprint.pooling != "last":
            raise ValueError(
                f"pooling: given {blueprint.pooling}, but each step is read from its own state; leave it out"
            )

    def modules(self) -> dict[str, nn.Module | None]:
        made = super().modules()
        if self.blueprint.tie_weights:
            made["readout"] = TiedReadout(made["embedding"], made["cells"][-1].hidden_size)  # type: ignore[arg-type,index]
        return made

    def answers(self, net: Any, batch: Batch, unrolled: Unrolled) -> Float[Tensor, "batch output"]:
        return self.outputs(net, batch.structure.terminal(unrolled.hidden))

    def labelled(self, net: Any, batch: Batch, unrolled: Unrolled) -> tuple[Tensor, Tensor]:
        hidden, targets = unrolled.hidden, batch.position_targets
        assert targets is not None
        labelled = targets != NO_TARGET
        if bool(labelled.all()):  # as of whole windows: no step is picked, which costs a copy and a slow way back
            return self.outputs(net, hidden).flatten(0, 1), targets.flatten()
        return self.outputs(net, hidden[labelled]), targets[labelled]


class TiedReadout(nn.Module):
    """A readout whose weights are an embedding's: row k + 1 is class k's.

    Args:
        embedding: whose weights.
        hidden_size: features of what is read.

    Raises:
        ValueError: the embedding has another size.
    """

    def __init__(self, embedding: nn.Embedding, hidden_size: int) -> None:
        super().__init__()
        if embedding.embedding_dim != hidden_size:
            raise ValueError(
                f"tie_weights: given true with embedding_size={embedding.embedding_dim} and "
                f"hidden_size={hidden_size}, expected the same of both"
            )
        self.weight = embedding.weight
        self.bias = nn.Parameter(torch.zeros(embedding.num_embeddings - 1))

    def forward(self, hidden: Tensor) -> Tensor:
        return nn.functional.linear(hidden, self.weight[1:], self.bias)
