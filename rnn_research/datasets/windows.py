"""Batches whose gradients one step of the optimiser accumulates, each told what they hold together.

The mean over all labels of an accumulated step weighs a batch by its labels, so its backward pass must know how many
the others have: the batches of one step are made before the first of them is served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader

from rnn_research.structures import Batch, Window


def in_windows(batches: Iterator[Batch], size: int) -> Iterator[Batch]:
    """The same batches, in windows of `size`; the last window may have fewer."""
    while window := list(islice(batches, size)):
        samples, positions = sum(map(len, window)), sum(batch.positions for batch in window)
        first = 0
        for batch in window:
            yield replace(batch, window=Window(len(window), samples, positions, first))
            first += len(batch)


class WindowedLoader(DataLoader[Any]):
    """A DataLoader of the training batches of an epoch, in the windows of its optimiser's steps.

    Args:
        accumulated: how many batches a step accumulates.
        limit: how many batches of an epoch are trained on, counted from its first; infinite: all.
        skipped: how many batches of the epoch lie before the next that is served, where a run goes on in mid-epoch.
    """

    def __init__(
        self,
        *arguments: Any,
        accumulated: Callable[[], int],
        limit: Callable[[], float],
        skipped: Callable[[], int],
        **named: Any,
    ) -> None:
        super().__init__(*arguments, **named)
        self._accumulated, self._limit, self._skipped = accumulated, limit, skipped

    def __iter__(self) -> Any:
        size = self._accumulated()
        if size == 1:
            return super().__iter__()
        left, skipped = self._limit(), self._skipped()
        batches = super().__iter__()
        return in_windows(batches if left == float("inf") else islice(batches, int(left) - skipped), size)
