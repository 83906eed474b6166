"""Layers, one above the other, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from rnn_research.cells.base import Cell, State
from rnn_research.structures import Chain, Forest
from rnn_research.unroll.engines import EngineChoice, fold
from rnn_research.unroll.intervention import Intervention
from rnn_research.unroll.unfolding import Record, Unfolding

Made = list[tuple[Unfolding, EngineChoice]]
"""Of each layer, its result and the engine that made it."""


@dataclass(frozen=True, eq=False)
class UnrollArguments:
    """What is to be unrolled; the arguments of `unroll`."""

    engine: str
    cells: Sequence[Cell]
    structure: Chain | Forest
    inputs: Tensor
    initial: Sequence[State] | None
    between: Callable[[Tensor], Tensor] | None
    record: Record


def stacked(
    stack: UnrollArguments, inside: Sequence[Intervention | None], family: list[Unfolding] | None = None
) -> Made:
    """Each layer along the structure, the next one reading its hidden states. The layers join a `family` of folds
    whose records one backward pass may reach."""
    family = [] if family is None else family
    inputs, made = stack.inputs, Made()
    for index, (cell, acting) in enumerate(zip(stack.cells, inside, strict=True)):
        if index and stack.between is not None:
            inputs = stack.between(inputs)
        first = None if stack.initial is None else stack.initial[index]
        acting = acting if acting is not None and acting.points else None
        layer = fold(stack.engine, cell, stack.structure, inputs, first, stack.record, family, acting)
        family.append(layer[0])
        made.append(layer)
        inputs = layer[0].hidden
    return made
