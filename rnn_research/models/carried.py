"""The states that a batch of streams goes on from: those in which the batch before it ended."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rnn_research.cells.base import Cell, State
from rnn_research.structures import Batch
from rnn_research.unroll import Unrolled

CarriedParts = list[list[Tensor]]
"""Of each layer the parts of its state, (streams, hidden) each."""


class CarriedStates:
    """The last states of each split's streams, detached: gradients are cut where a batch ends."""

    def __init__(self) -> None:
        self._last: dict[str, list[State]] = {}

    def before(self, split: str, batch: Batch) -> list[State] | None:
        """The state of each layer before the batch's first step; None: zero, as where streams begin.

        Raises:
            RuntimeError: the batch goes on from one that was not seen.
        """
        if not batch.continues:
            self._last.pop(split, None)
            return None
        if split not in self._last:
            raise RuntimeError(f"a batch of {split} goes on from one that was not seen, expected the stream's begin")
        return [type(state)(*(part[: len(batch)] for part in state)) for state in self._last[split]]

    def keep(self, split: str, batch: Batch, unrolled: Unrolled) -> None:
        """Keep where the batch's streams end.

        A stream whose state is not finite begins anew, at zero: the loss has told of it, and a strategy may have left
        that step out.
        """
        if batch.continues is None:
            return
        ends: CarriedParts = [list(layer.ends()) for layer in unrolled.layers]
        finite = torch.stack([part.isfinite().all(-1) for parts in ends for part in parts]).all(0)
        if not bool(finite.all()):
            ends = [[torch.where(finite[:, None], part, 0.0) for part in parts] for parts in ends]
        self._last[split] = [layer.cell.state_type(*parts) for layer, parts in zip(unrolled.layers, ends, strict=True)]

    def parts(self, split: str) -> CarriedParts:
        """The states as plain lists, for a checkpoint; empty where none is carried."""
        return [list(state) for state in self._last.get(split, [])]

    def restore(self, split: str, parts: CarriedParts, cells: Sequence[Cell], device: torch.device) -> None:
        """Go on from what `parts` gave."""
        if parts:
            pairs = zip(cells, parts, strict=True)
            self._last[split] = [cell.state_type(*(part.to(device) for part in one)) for cell, one in pairs]
