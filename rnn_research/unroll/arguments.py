"""The arguments of `unroll`, and its layers one above the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from rnn_research.cells.base import Cell, State
from rnn_research.structures import Chain, Forest
from rnn_research.unroll.intervention import Intervention
from rnn_research.unroll.select import EngineChoice, unfold
from rnn_research.unroll.unfolding import Record, Unfolding

Layers = list[tuple[Unfolding, EngineChoice]]
"""Of each layer, its result and the engine that made it."""


@dataclass(frozen=True, eq=False)
class UnrollArguments:
    """What is to be unrolled: the arguments of `unroll`."""

    engine: str
    cells: Sequence[Cell]
    structure: Chain | Forest
    inputs: Tensor
    initial: Sequence[State] | None
    between: Callable[[Tensor], Tensor] | None
    record: Record


def unfold_layers(
    arguments: UnrollArguments, interventions: Sequence[Intervention | None], family: list[Unfolding] | None = None
) -> Layers:
    """Each layer along the structure, the next one reading its hidden states. The layers join a `family`
    of unfoldings whose records one backward pass may reach."""
    family = [] if family is None else family
    inputs, layers = arguments.inputs, Layers()
    for index, (cell, intervention) in enumerate(zip(arguments.cells, interventions, strict=True)):
        if index and arguments.between is not None:
            inputs = arguments.between(inputs)
        first = None if arguments.initial is None else arguments.initial[index]
        intervention = intervention if intervention is not None and intervention.points else None
        layer = unfold(
            arguments.engine, cell, arguments.structure, inputs, first, arguments.record, family, intervention
        )
        family.append(layer[0])
        layers.append(layer)
        inputs = layer[0].hidden
    return layers
