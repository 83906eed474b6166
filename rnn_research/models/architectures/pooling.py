"""One vector a sample from the hidden states at all of its positions: padding is never counted."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from rnn_research.structures import Chain, Forest

POOLINGS = ("last", "mean", "max", "attention")


class Attention(nn.Module):
    """The score of each state, u . tanh(W h + b): Yang et al. 2016, "Hierarchical attention networks for document
    classification", equations 5 and 6.

    Args:
        size: of h, of b and of u.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(size, size)
        self.score = nn.Linear(size, 1, bias=False)

    def forward(self, states: Float[Tensor, "positions size"]) -> Float[Tensor, " positions"]:
        return self.score(self.hidden(states).tanh()).squeeze(-1)


def pooled(
    pooling: str,
    structure: Chain | Forest,
    hidden: Float[Tensor, "*positions size"],
    attention: nn.Module | None = None,
) -> Float[Tensor, "batch size"]:
    """One vector a sample: `last`: the state at the last step or root; else of the states h_t at all of its n
    positions `mean`: sum_t h_t / n; `max`: the largest of each component; `attention`: sum_t a_t h_t, where a is the
    softmax over the sample's positions of what `attention` gives.

    A sample's vector is the same, bit by bit, whatever else is in the batch.
    """
    if pooling == "last":
        return structure.terminal(hidden)
    mask = structure.mask
    states, owner, count = hidden[mask], structure.sample[mask], len(structure)
    if pooling == "max":
        lowest = states.new_full((count, states.shape[-1]), -torch.inf)
        return lowest.scatter_reduce(0, owner[:, None].expand_as(states), states, "amax", include_self=False)
    if pooling == "mean":
        return _sums(states, owner, count) / owner.bincount(minlength=count)[:, None]
    assert attention is not None
    scores = attention(states)
    highest = scores.detach().new_full((count,), -torch.inf).scatter_reduce(0, owner, scores.detach(), "amax")
    weights = (scores - highest[owner]).exp()[:, None]
    return _sums(weights * states, owner, count) / _sums(weights, owner, count)


def _sums(values: Float[Tensor, "positions size"], owner: Int[Tensor, " positions"], count: int) -> Tensor:
    return values.new_zeros((count, values.shape[-1])).index_add(0, owner, values)
