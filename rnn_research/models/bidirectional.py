"""Layers that read a sequence in both directions (Schuster and Paliwal 1997): two chains a layer.

The backward chain of a layer goes over each sample's own steps in reverse order; padding is read by neither. What a
layer gives at a step are the hidden states of both chains there side by side, which the next layer and the readout
read: as `torch.nn.LSTM(bidirectional=True)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rnn_research.cells.base import Cell
from rnn_research.structures import Chain, Forest
from rnn_research.unroll import LayerStates, Unrolled

NAMES = ("forward", "backward")
"""Of the directions, by their numbers."""


@dataclass(frozen=True, eq=False)
class BothDirections(Unrolled):
    """Layers of two chains: `layers` has of each layer, from the bottom up, the forward one and the backward one.

    A backward chain's states, adjoints, mask and distances are in the order in which it goes: its step r is the
    sample's step length - 1 - r. `hidden` is at the sample's own steps. There is no one top layer: read `layers`.
    """

    both: Float[Tensor, "batch time twice_hidden"]

    @property
    def top(self) -> LayerStates:
        raise ValueError("top: given a model with two directions, which has two top chains; read layers[-2:]")

    @property
    def hidden(self) -> Tensor:
        """[h forward, h backward] of the top layer at every step."""
        return self.both

    @property
    def mask(self) -> Tensor:
        return self.layers[-1].structure.mask

    @property
    def terminal(self) -> Tensor:
        """[h forward at the last step, h backward at the first]: where each chain ends."""
        return torch.cat([layer.structure.terminal(layer.hidden) for layer in self.layers[-2:]], -1)


def fold_both(
    cells: Sequence[Cell], structure: Chain | Forest, inputs: Tensor, unroll: Callable[..., Unrolled], between: Any
) -> BothDirections:
    """Unroll layers of two chains.

    Args:
        cells: of each layer, from the bottom up, the forward cell and the backward one.
        unroll: see `Unroll`.
        between: what acts on what one layer hands to the next.

    Raises:
        ValueError: the structure is a forest.
    """
    if isinstance(structure, Forest):
        raise ValueError(TREES)
    layers: list[LayerStates] = []
    count = len(cells) // 2
    for number in range(count):
        inputs = between(inputs) if number else inputs
        hidden = []
        for direction, name in enumerate(NAMES):
            read = structure.reverse(inputs) if direction else inputs
            how = {"name": f"{name}{number}", "above": count - 1 - number, "place": (number, direction)}
            part = unroll([cells[2 * number + direction]], structure, read, **how)
            layers += part.layers
            hidden.append(structure.reverse(part.hidden) if direction else part.hidden)
        inputs = torch.cat(hidden, -1)
    return BothDirections(tuple(layers), inputs)


TREES = (
    "model.bidirectional: given true, but the data are laid out as trees, whose states go from the leaves to the root; "
    "use structure=chain, or leave it out"
)


def check_both(own_fold: bool, causal: bool, name: str) -> None:
    """Refuse an architecture that has no meaning with two directions.

    Args:
        own_fold: it folds the cells in a way of its own.
        causal: its answers may read no later input.

    Raises:
        ValueError: says why.
    """
    why = "whose answers may read no later input" if causal else "which folds the cells in a way of its own"
    if causal or own_fold:
        raise ValueError(f"bidirectional: given true, but the architecture is {name}, {why}; leave one out")


def check_acting(trees: bool | None, truncating: str | None) -> None:
    """Refuse data and strategies that have no meaning with two directions.

    Args:
        trees: whether the data are laid out as trees; None: not known.
        truncating: the strategy that truncates backpropagation through time, where one does.

    Raises:
        ValueError: says why.
    """
    if trees:
        raise ValueError(TREES)
    if truncating is not None:
        raise ValueError(
            f"clipping={truncating}: cuts a sequence into windows that follow one another, but with "
            "model.bidirectional=true each step is read from both ends; leave one out"
        )
