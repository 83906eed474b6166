"""A text as samples: windows of its tokens, each step labelled with the token that comes next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from rnn_research.structures import Sample, SampleArrays
from rnn_research.structures.layouts import NO_INPUT, NO_TARGET

STREAM = 200_000
"""Tokens of a text that is evaluated as one stream; a longer one is evaluated as several of about as many."""
POSITIONS, LONGEST = 4096, 512
"""Of a batch of evaluation: its positions, and its steps, at the most."""


class Windows(Sequence[Sample]):
    """Windows of one text, in streams or independent.

    A text of n tokens has n - 1 steps: step t reads token t, and its label is what comes next, token t + 1, as class
    `token - 1`.

    * In streams: the steps are cut into `streams` stretches side by side, the first ones longer by one step where they
      can't be equal, and each stretch into windows, of which the last may be shorter. Samples are numbered stream by
      stream. Batch k has window k of each stream that has one: see `StreamBatches`.
    * Independent: the steps are cut into windows, the last of which may be shorter.

    Args:
        tokens: of the text, from 1 on, at least two.
        window: steps of a window.
        streams: how many streams; None: windows are independent.
        whole: leave out the last steps of the text that would make some streams longer: fewer than there are streams.
    """

    def __init__(self, tokens: np.ndarray, window: int, streams: int | None = None, whole: bool = False) -> None:
        self.tokens, self.window = tokens, window
        self.streaming = streams is not None
        count, steps = streams or 1, len(tokens) - 1
        sizes = steps // count + (np.arange(count) < (0 if whole else steps % count))
        self.windows = -(-sizes // window)
        """The windows of each stream."""
        of = np.repeat(np.arange(count), self.windows)
        self.number = np.arange(len(of)) - np.repeat(np.cumsum(self.windows) - self.windows, self.windows)
        """Of each sample, its place in its stream."""
        self.starts = (np.cumsum(sizes) - sizes)[of] + self.number * window
        self.lengths = np.minimum(window, sizes[of] - self.number * window)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.take([index])[0]

    def take(self, indices: Sequence[int]) -> SampleArrays:
        """Some of the samples, in the order given."""
        numbers = np.asarray(indices)
        starts, lengths = self.starts[numbers], self.lengths[numbers]
        steps = np.arange(int(lengths.max()) + 1)
        read = self.tokens.take(starts[:, None] + steps, mode="clip").astype(np.int64)
        inputs, targets = read[:, :-1], read[:, 1:] - 1
        last = targets[np.arange(len(numbers)), lengths - 1]
        if lengths.min() < lengths.max():
            beyond = steps[:-1] >= lengths[:, None]
            inputs, targets = np.where(beyond, NO_INPUT, inputs), np.where(beyond, NO_TARGET, targets)
        continues = bool(self.number[numbers[0]] > 0) if self.streaming else None
        return SampleArrays(np.ascontiguousarray(inputs), lengths, last, np.ascontiguousarray(targets), continues)


class StreamBatches(Sampler[list[int]]):
    """Batch k of an epoch has window k of each stream that has one: it goes on where batch k - 1 ended.

    Args:
        windows: how many each stream has, the most first.
        start: the first epoch is number `start[0]`, without its first `start[1]` batches.
    """

    def __init__(self, windows: np.ndarray, start: tuple[int, int] = (0, 0)) -> None:
        self.windows, self.start, self.epoch = windows, start, start[0]
        self.first = np.cumsum(windows) - windows

    def __len__(self) -> int:
        return int(self.windows.max())

    def __iter__(self) -> Iterator[list[int]]:
        first = self.start[1] if self.epoch == self.start[0] else 0
        self.epoch += 1
        for number in range(first, len(self)):
            yield (self.first[self.windows > number] + number).tolist()


def evaluation_windows(tokens: np.ndarray) -> Windows:
    """The windows that a text is evaluated by: one stream, or of more than `STREAM` tokens several of about as many, so
    that what is measured depends on the text alone."""
    streams = -(-len(tokens) // STREAM)
    return Windows(tokens, max(1, min(LONGEST, POSITIONS // streams)), streams)
