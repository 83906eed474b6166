"""Saturated units: where a gate's or a state's nonlinearity is flat, no gradient passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from rnn_research.cells.base import Cell
from rnn_research.checks import number
from rnn_research.probes.base import Columns, Probe
from rnn_research.probes.observation import Observation
from rnn_research.unroll import LayerStates
from rnn_research.unroll.repeatable import check_repeatable


class Saturation(Probe):
    """The fraction of activations within `threshold` of the nearer end of their interval, a row a layer.

    For a gate in (0, 1): min(v, 1 - v) < threshold; for tanh: 1 - |v| < threshold. A column an activation (`i`, `f`,
    `g`, `o` of an LSTM; `hidden` of a tanh RNN), over all units and positions, padding left out. Cells with a forget
    gate also have `forget_timescale`, the median of -1 / ln f in cell applications (Tallec and Ollivier 2018). NaN:
    an activation was NaN, or there was none (trees of one node have no forget gate).

    Args:
        threshold: the margin that counts as saturated.

    Raises:
        ValueError: threshold is not in (0, 0.5] (and as `Probe`); in `attach`, a cell whose updates can't be run again
            (it draws random numbers).
    """

    needs_adjoints = True

    def __init__(
        self, every_n_steps: int = 100, first: bool = True, last: bool = True, threshold: float = 0.05
    ) -> None:
        super().__init__(every_n_steps, first, last)
        self.threshold = number("threshold", threshold, above=0.0, most=0.5)

    def attach(self, cells: Sequence[Cell]) -> None:
        for cell in cells:
            check_repeatable(cell, "probe=saturation")

    def measure(self, observation: Observation) -> Columns:
        rows = [self._row(layer) for layer in observation.layers]
        columns = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        places = [observation.rows(index) for index in range(len(rows))]
        where = {name: torch.tensor([place[name] for place in places]) for name in places[0]}
        return {**where, **columns}

    def _row(self, layer: LayerStates) -> dict[str, Any]:
        found: dict[str, list[torch.Tensor]] = {}
        for _, projected, previous in layer.updates():
            with layer.as_unrolled():
                activations = layer.cell.activations(projected, *previous)
            for name, values in activations.items():
                found.setdefault(name, []).append(values.flatten().double())
        nothing = [layer.hidden.new_zeros(0).double()]
        joined = {name: torch.cat(found.get(name, nothing)) for name in layer.cell.bounds}
        row = {name: self._fraction(values, *layer.cell.bounds[name]) for name, values in joined.items()}
        if "f" in joined:
            row["forget_timescale"] = (1 / joined["f"].log()).abs().median()  # f = 1 gives infinity
        return row or {"bounded": torch.full((), float("nan"), dtype=torch.float64)}

    def _fraction(self, values: torch.Tensor, low: float, high: float) -> torch.Tensor:
        margin = torch.minimum(values - low, high - values)
        return torch.where(margin.isnan(), margin, (margin < self.threshold).double()).mean()
