"""How cells are unrolled for one batch: by which engine, with which record, and what acts in the backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from rnn_research.cells.base import Cell, State
from rnn_research.clipping.base import Clipping
from rnn_research.regularizers.base import Step
from rnn_research.structures import Chain, Forest
from rnn_research.unroll import Intervention, LossScale, Record, Unrolled, unroll


class Interventions:
    """What acts inside the backward pass of one batch, as `unroll` takes it. Layers are counted over all that is
    unrolled for the batch."""

    def __init__(self, clipping: Clipping, scale: LossScale) -> None:
        self.clipping, self.scale, self._layers = clipping, scale, 0

    def of(self, cells: Sequence[Cell], structure: Chain | Forest) -> dict[str, Any]:
        """The arguments of `unroll` for these layers."""
        first, self._layers = self._layers, self._layers + len(cells)
        interventions: list[Intervention | None] = [
            self.clipping.intervention(cell, structure, layer, self.scale) for layer, cell in enumerate(cells, first)
        ]
        return {"interventions": interventions, "truncate": self.clipping.truncate}


class Unroller:
    """Unrolls cells as one batch is to be unrolled, and keeps what was, by name.

    Args:
        engine: what computes it.
        record: see `unroll`.
        interventions: what acts inside the backward pass; None: nothing.
        number: the optimiser's steps taken before.

    `start` are the states, one a layer, that the unroll named `cells` begins with where it is given none; None: zero.
    """

    def __init__(
        self, engine: str, record: Record = False, interventions: Interventions | None = None, number: int = 0
    ) -> None:
        self.engine, self.interventions, self.number = engine, interventions, number
        self.record: Record = record
        self.parts: dict[str, Step] = {}
        self.start: Sequence[State] | None = None
        self._family: list[Any] = []

    def __call__(
        self,
        cells: Sequence[Cell],
        structure: Chain | Forest,
        inputs: Tensor,
        *,
        name: str = "cells",
        initial: Sequence[State] | None = None,
        between: Any = None,
        above: int | Tensor = 0,
        place: tuple[int, int] | None = None,
        part: int | None = None,
        read: Tensor | None = None,
    ) -> Unrolled:
        """The cells along the structure.

        Args:
            place: of one direction of a layer, see `Step`; likewise `part`, and `read`. The others are as `unroll` has
                them.

        Raises:
            ValueError: as `unroll`; or something of that name was unrolled already.
        """
        if name in self.parts:
            raise ValueError(f"unroll: given {name!r} a second time, expected another name")
        if name == "cells" and initial is None:
            initial = self.start
        acting = {} if self.interventions is None else self.interventions.of(cells, structure)
        how: dict[str, Any] = {"between": between, "engine": self.engine, "initial": initial, "above": above, **acting}
        how["family"] = self._family
        unrolled = unroll(cells, structure, inputs, record=self.record, **how)
        inside = self.interventions is not None
        self.parts[name] = Step(
            cells, structure, inputs, unrolled, self.number, inside, place=place, part=part, read=read
        )
        return unrolled
