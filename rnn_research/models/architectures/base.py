"""The contract of an architecture: which modules it has, how it folds the cells, and what it reads out of their states.

To add one, subclass `Architecture` (or `Label`) in one file and implement `answers`. The cell is the user's: an
architecture works with any.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rnn_research.cells.base import Cell, Initialisation
from rnn_research.checks import choice, flag, integer, number
from rnn_research.datasets.base import Task
from rnn_research.models.architectures.pooling import POOLINGS
from rnn_research.models.bidirectional import check_acting, check_both, fold_both
from rnn_research.models.counting import StepLosses
from rnn_research.models.frames import FrameReader
from rnn_research.models.transcripts import TranscriptLosses
from rnn_research.structures import Batch
from rnn_research.unroll import Unrolled

ASKED = {
    "next_token": ("for the next token", "next_token"),
    "sequence": ("for a sequence", "encoder_decoder"),
    "transcript": ("for a transcript", "ctc"),
}
"""By `Task.kind`, what data ask for and the architecture that answers to it; of others a label."""
Unroll = Callable[..., Unrolled]
"""Unrolls cells as the batch at hand is to be unrolled: called as (cells, structure, inputs), with `between` and
`initial` as `unroll.unroll` has them, and a `name` where several are unrolled for one batch."""


@dataclass(frozen=True)
class Blueprint:
    """What every architecture is made of.

    Args:
        task: the sizes of the data.
        cell: makes one layer's cell, given `input_size`, `initialise` and `max_children`.
        initialise: initialisations of each cell, in order.
        max_children: the most children of a node in the structures to come.
        num_layers: layers of cells, each reading the hidden states of the one below.
        dropout: probability of dropping a hidden unit between layers.
        embedding_size: where inputs are tokens without pretrained vectors, the size of their vectors; token 0 reads as
            zero.
        position_targets: whether batches label positions.
        tie_weights: whether the readout's weights are the embedding's.
        pooling: which hidden states of the top layer an answer is read from: see `pooling.pooled`.
        input_dropout: probability of dropping a feature of what the lowest layer reads.
        output_dropout: probability of dropping a feature of what the readout reads.
        bidirectional: whether each layer reads the sequence in both directions; see `models.bidirectional`.
        frame_features: where a step is an image, what the lowest layer reads of it: see `models.frames`.

    Raises:
        ValueError: a value out of range.
    """

    task: Task
    cell: Callable[..., Cell]
    initialise: tuple[Initialisation, ...] = ()
    max_children: int = 1
    num_layers: int = 1
    dropout: float = 0.0
    embedding_size: int = 64
    position_targets: bool = False
    tie_weights: bool = False
    pooling: str = "last"
    input_dropout: float = 0.0
    output_dropout: float = 0.0
    bidirectional: bool = False
    frame_features: int = 64

    def __post_init__(self) -> None:
        flag("tie_weights", self.tie_weights)
        integer("num_layers", self.num_layers)
        for name in ("dropout", "input_dropout", "output_dropout"):
            number(name, getattr(self, name), least=0.0, most=1.0)
        choice("pooling", self.pooling, POOLINGS)
        flag("bidirectional", self.bidirectional)
        if self.task.tokens:
            integer("embedding_size", self.embedding_size)
        if self.task.frame is not None:
            integer("frame_features", self.frame_features)

    @property
    def input_width(self) -> int:
        """The features that the lowest layer reads: where inputs are tokens, the size of their vectors."""
        if self.task.frame is not None:
            return self.frame_features
        if not self.task.tokens:
            return self.task.input_size
        return self.embedding_size if self.task.vectors is None else self.task.vectors.shape[1]

    def embedding(self) -> nn.Embedding | None:
        """Word vectors: the task's pretrained ones, others ~ N(0, 0.1^2), and zero for the empty token 0; None where
        the data are no tokens.

        Torch's own N(0, 1) saturates gates from the start. Where the task's vectors are frozen, all of them are.
        """
        if not self.task.tokens:
            return None
        embedding = nn.Embedding(self.task.input_size, self.input_width, padding_idx=0)
        with torch.no_grad():
            embedding.weight.mul_(0.1)
            if self.task.vectors is not None and not embedding.weight.is_meta:
                given = torch.from_numpy(self.task.vectors).to(embedding.weight)
                embedding.weight.copy_(torch.where(given.isnan(), embedding.weight, given))
        embedding.weight.requires_grad_(not self.task.vectors_frozen)
        return embedding

    def frame_reader(self) -> FrameReader | None:
        """What reads each frame; None where the data are no images."""
        return None if self.task.frame is None else FrameReader(self.task.frame, self.frame_features)

    def layers(self, input_size: int | None = None) -> nn.ModuleList:
        """Layers of cells from the bottom up; of two directions of each layer the forward cell and the backward one.

        Args:
            input_size: of what the lowest reads; None: of the embedding, or of the data's features.
        """
        size, cells = self.input_width if input_size is None else input_size, nn.ModuleList()
        for _ in range(self.num_layers):
            for _ in range(self.directions):
                cells.append(self.cell(input_size=size, initialise=self.initialise, max_children=self.max_children))
            size = self.width(cells)
        return cells

    @property
    def directions(self) -> int:
        """Chains a layer."""
        return 2 if self.bidirectional else 1

    def width(self, cells: nn.ModuleList) -> int:
        """Features that the highest of these layers gives at a position: what a readout reads."""
        return self.directions * int(cells[-1].hidden_size)  # type: ignore[arg-type]


class Architecture(ABC):
    """What stands around the cells.

    It holds no weights itself. Its `modules` become attributes of the model, under their names, and each method is
    given the model as `net`.

    Args:
        blueprint: what it is made of.

    Raises:
        ValueError: the architecture has no meaning for this task or these batches; says why.
    """

    learns_positions: ClassVar[bool] = False
    """Whether the loss is that of labelled positions, where a batch has some."""
    kinds: ClassVar[tuple[str, ...]] = ("classification", "regression")
    """What the task may ask for, see `Task.kind`."""
    every_step: ClassVar[bool] = False
    """Whether it says at every step what comes next, and has no answer to a sample as a whole."""
    ties: ClassVar[bool] = False
    """Whether `tie_weights` has a meaning: its classes are tokens that it reads."""
    folds_both: ClassVar[bool] = False
    """Whether its own `fold` reads a sequence in both directions where it is to."""
    causal: ClassVar[bool] = False
    """Whether its answers may read no later input, so that a sequence can't be read in both directions."""

    def __init__(self, blueprint: Blueprint) -> None:
        if blueprint.bidirectional:
            kind = type(self)
            check_both(kind.fold is not Architecture.fold and not kind.folds_both, kind.causal, kind.__name__)
        self.blueprint = blueprint
        name = type(self).__name__
        option = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
        if blueprint.task.kind not in self.kinds:
            asks, fits = ASKED.get(blueprint.task.kind, ("for a label", "label or position"))
            raise ValueError(f"architecture={option}: these data ask {asks}; use architecture={fits}, or auto")
        if blueprint.tie_weights and not self.ties:
            raise ValueError(
                f"tie_weights: given true with the architecture {name}, whose classes are no tokens; expected false"
            )

    def check_acting(self, trees: bool | None, truncating: str | None) -> None:
        """Refuse what has no meaning with this architecture: see `bidirectional.check_acting`."""
        if trees and self.blueprint.task.frame is not None:
            raise ValueError("structure: given a tree, but the data are images in time; use structure=chain")
        if self.blueprint.bidirectional:
            check_acting(trees, truncating)

    def modules(self) -> dict[str, nn.Module | None]:
        """The model's modules by name, in the order in which they are made.

        The model needs two of them: `cells`, all layers of cells, and `readout`, the last linear layer.
        """
        made = self.blueprint
        embedding, frames, cells = made.embedding(), made.frame_reader(), made.layers()
        between, readout = nn.Dropout(made.dropout), nn.Linear(made.width(cells), made.task.output_size)
        around = {"before": _dropout(made.input_dropout), "behind": _dropout(made.output_dropout)}
        return {
            "embedding": embedding,
            "frames": frames,
            "cells": cells,
            "between": between,
            "readout": readout,
            **around,
        }

    def inputs(self, net: Any, batch: Batch) -> Tensor:
        """What the lowest layer reads, at the structure's positions."""
        if net.frames is not None:
            read = net.frames(batch.inputs.to(net.dtype), batch.structure.mask)
        else:
            read = batch.inputs.to(net.dtype) if net.embedding is None else net.embedding(batch.inputs)
        return read if net.before is None else net.before(read)

    def outputs(self, net: Any, states: Tensor) -> Tensor:
        """What is read out of states of the top layer, or of what is pooled of them."""
        return net.readout(states if net.behind is None else net.behind(states))

    def fold(self, net: Any, batch: Batch, unroll: Unroll) -> Unrolled:
        """Unroll the cells along the batch's structure. Returns what `answers` and `labelled` read."""
        cells, inputs = list(net.cells), self.inputs(net, batch)
        if self.blueprint.bidirectional:
            return fold_both(cells, batch.structure, inputs, unroll, net.between)
        return unroll(cells, batch.structure, inputs, between=net.between)

    @abstractmethod
    def answers(self, net: Any, batch: Batch, unrolled: Unrolled) -> Float[Tensor, "batch output"]:
        """One output a sample, to be compared with `batch.target`."""

    def labelled(self, net: Any, batch: Batch, unrolled: Unrolled) -> tuple[Tensor, Tensor] | None:
        """Outputs and targets of the labels that the loss is of; None: of the answers."""
        return None

    def losses(self, net: Any, batch: Batch, unrolled: Unrolled) -> StepLosses | TranscriptLosses:
        """Of an architecture of `every_step`, what its outputs at all steps are worth."""
        found = self.labelled(net, batch, unrolled)
        assert found is not None
        return StepLosses(batch, net.objective, *found)


def _dropout(probability: float) -> nn.Dropout | None:
    """None where it would drop nothing: it draws random numbers all the same."""
    return nn.Dropout(probability) if probability else None
