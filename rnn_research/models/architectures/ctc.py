"""A transcript whose symbols have an order and no known steps: connectionist temporal classification."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rnn_research.models.architectures.base import Architecture, Blueprint
from rnn_research.models.architectures.reading import terminal
from rnn_research.models.transcripts import TranscriptLosses
from rnn_research.structures import Batch, Chain
from rnn_research.unroll import Unrolled


class CTC(Architecture):
    """o_t = W_o h_t + b_o at every step t, over the symbols and the blank, class 0; the loss is -ln p of the
    transcript: Graves et al. 2006, see `models.alignment`.

    It is the mean over symbols, so that long transcripts weigh as much a symbol as short ones.

    `distance` is the number of cell applications to the chain's own end, as of every chain. A symbol may be emitted at
    any step, and p is a sum over all of them: no state has one distance to a symbol's loss, and none is given. The
    adjoint holds what comes in at every later step. `_terminal` is the part that comes in where each chain ends (a
    forward one at the last step, a backward one at the first), at distance 0: there the distance is exact.

    Raises:
        ValueError: the data ask for no transcript, or are laid out as trees.
    """

    kinds = ("transcript",)
    learns_positions = True
    every_step = True

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__(blueprint)
        if blueprint.pooling != "last":
            raise ValueError(
                f"pooling: given {blueprint.pooling}, but each step is read from its own state; leave it out"
            )

    def check_acting(self, trees: bool | None, truncating: str | None) -> None:
        if trees:
            raise ValueError(
                "architecture=ctc: given data that are laid out as trees, whose nodes have no order in time; use "
                "structure=chain"
            )
        super().check_acting(trees, truncating)

    def answers(self, net: Any, batch: Batch, unrolled: Unrolled) -> Float[Tensor, "batch output"]:
        """What is given where the chains end."""
        return self.outputs(net, terminal(batch.structure, unrolled))

    def emitted(self, net: Any, unrolled: Unrolled) -> Float[Tensor, "batch time classes"]:
        """The outputs at every step, before the softmax."""
        return self.outputs(net, unrolled.hidden)

    def losses(self, net: Any, batch: Batch, unrolled: Unrolled) -> TranscriptLosses:
        read = unrolled.hidden if net.behind is None else net.behind(unrolled.hidden)  # drawn once, for both
        return TranscriptLosses(batch, net.readout(read), lambda: net.readout(self._ends(batch.structure, read)))

    def _ends(self, chain: Any, read: Tensor) -> Tensor:
        """The same numbers, of which only those where a chain ends are part of the graph."""
        assert isinstance(chain, Chain)
        steps = torch.arange(chain.time, device=read.device)
        last = (steps == (chain.lengths - 1)[:, None])[..., None].expand_as(read)
        if self.blueprint.bidirectional:
            half = read.shape[-1] // 2
            last = torch.cat([last[..., :half], (steps == 0)[None, :, None].expand_as(read[..., half:])], -1)
        return torch.where(last, read, read.detach())
