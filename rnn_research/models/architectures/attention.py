"""Attention: what a decoder's state reads of all of an encoder's states."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rnn_research.structures import Chain, Forest

ATTENTIONS = ("none", "dot", "additive", "location")
FILTERS, WIDTH = 10, 31
"""Of `LocationAttention`: how many, and over how many positions each."""


class SourceAttention(nn.Module, ABC):
    """h~_s = d_s + W_c c_s, with d_s the decoder's state, c_s = sum_t a_st m_t the context, m_t what the encoder has at
    position t, and a_s the softmax over the sample's positions of the scores e_st: Luong et al. 2015 (arXiv:1508.04025,
    section 3.1), with a sum as in the output layer of Bahdanau et al. 2015 (arXiv:1409.0473, appendix A.2.2).

    With W_c = 0 it is the decoder without attention, so that a comparison of both compares nothing else. Luong's own
    h~_s = tanh(W_c [c_s; d_s]) learns much more slowly: see docs/translation.md.

    Args:
        query: features of a decoder's state.
        memory: features of the encoder at a position.
    """

    def __init__(self, query: int, memory: int) -> None:
        super().__init__()
        self.of_context = nn.Linear(memory, query, bias=False)

    @abstractmethod
    def keys(self, memory: Float[Tensor, "batch source memory"]) -> Float[Tensor, "batch source query"]:
        """What the scores read of the encoder: the same for every step of the decoder."""

    @abstractmethod
    def scores(self, states: Tensor, keys: Tensor) -> Float[Tensor, "batch written source"]:
        """e_st for each step of the decoder and each position of the encoder."""

    def weights(
        self, states: Tensor, keys: Tensor, mask: Tensor, before: Tensor
    ) -> Float[Tensor, "batch written source"]:
        """a_st. `before` are those of the step before the first, (batch, source)."""
        return self.scores(states, keys).masked_fill(~mask[:, None], -torch.inf).softmax(-1)

    def forward(
        self,
        states: Float[Tensor, "batch written query"],
        memory: Float[Tensor, "batch source memory"],
        mask: Bool[Tensor, "batch source"],
    ) -> Float[Tensor, "batch written query"]:
        """h~ at each step of the decoder, from its first on.

        Args:
            mask: True where a sample has a position; it has one at least.
        """
        return self.attend(states, memory, mask, self.keys(memory), torch.zeros_like(memory[..., 0]))[0]

    def attend(
        self, states: Tensor, memory: Tensor, mask: Tensor, keys: Tensor, before: Tensor
    ) -> tuple[Float[Tensor, "batch written query"], Float[Tensor, "batch source"]]:
        """h~ at some steps of the decoder, and a_st at the last of them.

        Args:
            keys: those of the memory.
            before: a_st at the step before these; zeros before the first.
        """
        weights = self.weights(states, keys, mask, before)
        return states + self.of_context(weights @ memory), weights[:, -1]


class DotAttention(SourceAttention):
    """e_st = d_s . m_t: `dot` in Luong et al. 2015, section 3.1. Where the encoder has more features than the decoder,
    as one that reads in both directions has, e_st = d_s . W_a m_t, which is `general` there."""

    def __init__(self, query: int, memory: int) -> None:
        super().__init__(query, memory)
        self.project = None if query == memory else nn.Linear(memory, query, bias=False)

    def keys(self, memory: Tensor) -> Tensor:
        return memory if self.project is None else self.project(memory)

    def scores(self, states: Tensor, keys: Tensor) -> Tensor:
        return states @ keys.transpose(1, 2)


class AdditiveAttention(SourceAttention):
    """e_st = v . tanh(W_a d_s + U_a m_t): Bahdanau et al. 2015 (arXiv:1409.0473, appendix A.1.2).

    There d is the state before the step, and the context is read by the decoder's cell. Here d is the state of the step
    itself and the context is read by the readout alone, as in `SourceAttention`.
    """

    def __init__(self, query: int, memory: int) -> None:
        super().__init__(query, memory)
        self.of_query, self.of_memory = nn.Linear(query, query, bias=False), nn.Linear(memory, query, bias=False)
        self.score = nn.Linear(query, 1, bias=False)

    def keys(self, memory: Tensor) -> Tensor:
        return self.of_memory(memory)

    def scores(self, states: Tensor, keys: Tensor) -> Tensor:
        return self.score((self.of_query(states)[:, :, None] + keys[:, None]).tanh()).squeeze(-1)


class LocationAttention(AdditiveAttention):
    """e_st = v . tanh(W_a d_s + U_a m_t + V f_st), with f_s = F * a_{s-1}, the convolution of the weights of the step
    before (zeros before the first) with learnt filters over the positions: Chorowski et al. 2015 (arXiv:1506.07503,
    section 2.2). What was read last says where to read next, as in speech.

    The weights of a step hang on those of the step before, so that they are computed step by step; the decoder is not.
    """

    def __init__(self, query: int, memory: int) -> None:
        super().__init__(query, memory)
        self.filters = nn.Conv1d(1, FILTERS, WIDTH, padding=WIDTH // 2, bias=False)
        self.of_location = nn.Linear(FILTERS, query, bias=False)

    def weights(self, states: Tensor, keys: Tensor, mask: Tensor, before: Tensor) -> Tensor:
        found = []
        for query in self.of_query(states).unbind(1):
            located = self.of_location(self.filters(before[:, None]).transpose(1, 2))
            scores = self.score((query[:, None] + keys + located).tanh()).squeeze(-1)
            before = scores.masked_fill(~mask, -torch.inf).softmax(-1)
            found.append(before)
        return torch.stack(found, 1)


def attention_of(name: str, query: int, memory: int) -> SourceAttention | None:
    """The attention of that name, one of `ATTENTIONS`."""
    kinds: dict[str, type[SourceAttention]] = {
        "dot": DotAttention,
        "additive": AdditiveAttention,
        "location": LocationAttention,
    }
    return kinds[name](query, memory) if name in kinds else None


def by_sample(
    structure: Chain | Forest, hidden: Float[Tensor, "*positions features"]
) -> tuple[Float[Tensor, "batch source features"], Bool[Tensor, "batch source"]]:
    """States at all positions, a row a sample, and where there are some: of a forest a sample's nodes side by side."""
    if isinstance(structure, Chain):
        return hidden, structure.mask
    owner, count = structure.sample, len(structure)
    order = owner.argsort(stable=True)
    nodes = owner.bincount(minlength=count)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device) - (nodes.cumsum(0) - nodes)[owner[order]]
    most = int(nodes.max())
    memory = hidden.new_zeros(count, most, hidden.shape[-1]).index_put((owner, place), hidden)
    return memory, torch.arange(most, device=nodes.device) < nodes[:, None]
