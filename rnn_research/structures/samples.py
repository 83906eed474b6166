"""Samples, as a data set gives them; and batches of them on a structure, as a model reads them."""

from __future__ import annotations

from collections.abc import Sequence as Samples
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from rnn_research.structures.chain import Chain
from rnn_research.structures.forest import Forest
from rnn_research.structures.tree import Tree

NO_INPUT = 0
"""The token that stands for "nothing is read here": an internal node of a tree, or padding. Its embedding is zero."""
NO_TARGET = -1
"""The label of a position that has none: it is left out of the loss and of every metric."""
END = 0
"""The class that ends a target sequence. As an input it stands before the first token: a decoder begins with it."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One example, readable as a sequence and, where the data has one, along its parse.

    `inputs` is (length,) int64 tokens > `NO_INPUT`, or (length, features) float32. `target` is the label of the
    whole (a class or a number, or a float32 vector). `step_targets` labels each step. `tree` with `tree_inputs`
    and `tree_targets`, aligned with the tree's nodes, is the sample's own parse. `target_sequence` is what is to be
    written: (length,) int64 classes > `END`, which layouts add at its end.
    """

    inputs: np.ndarray
    target: Any
    step_targets: np.ndarray | None = None
    tree: Tree | None = None
    tree_inputs: np.ndarray | None = None
    tree_targets: np.ndarray | None = None
    target_sequence: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class SampleArrays(Samples[Sample]):
    """Sequences in arrays, padded at the end. Samples that are generated in bulk are batched without a loop over them.

    `inputs` is (samples, longest, ...), with `NO_INPUT` from each sample's length on; `step_targets` is (samples,
    longest), with `NO_TARGET` there. `longest` may be more than the longest length. `continues` is as in `Batch`.
    `target_sequence` is (samples, the most tokens), with `NO_TARGET` behind each sample's own.
    """

    inputs: np.ndarray
    lengths: np.ndarray
    target: np.ndarray
    step_targets: np.ndarray | None = None
    continues: bool | None = None
    target_sequence: np.ndarray | None = None

    @staticmethod
    def of(samples: Samples[Sample]) -> SampleArrays:
        """The sequences of `samples`, in order."""
        lengths = np.array([len(sample.inputs) for sample in samples])
        steps = None if samples[0].step_targets is None else [sample.step_targets for sample in samples]
        return SampleArrays(
            _padded([sample.inputs for sample in samples], lengths, NO_INPUT),
            lengths,
            np.asarray([sample.target for sample in samples]),
            None if steps is None else _padded(steps, lengths, NO_TARGET),  # type: ignore[arg-type]
            target_sequence=target_sequences(samples),
        )

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        length, steps, written = self.lengths[index], self.step_targets, self.target_sequence
        if written is not None:
            written = written[index][written[index] != NO_TARGET]
        labels = None if steps is None else steps[index, :length]
        return Sample(self.inputs[index, :length], self.target[index], labels, target_sequence=written)

    def take(self, indices: Samples[int] | np.ndarray) -> SampleArrays:
        """Some of the samples, in the order given, padded no more than they need."""
        lengths, steps = self.lengths.take(indices), self.step_targets
        longest = lengths.max()
        return SampleArrays(
            self.inputs[indices, :longest],
            lengths,
            self.target.take(indices, axis=0),
            None if steps is None else steps[indices, :longest],
            target_sequence=None if self.target_sequence is None else self.target_sequence[indices],
        )


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples on a structure. `inputs` and `position_targets` are aligned with the structure's positions:
    (batch, time, ...) on a chain, (nodes, ...) on a forest. `target` has one entry a sample.

    `continues` says of streams, which are served a stretch a batch, whether each sequence goes on where the same row of
    the batch before ended (rows that have ended come last, and are no longer there), or begins; None: sequences are
    independent of those in other batches.

    `target_sequence` are the classes to be written after the samples are read: each sample's own, then `END`, then
    `NO_TARGET` as padding.
    """

    inputs: Shaped[Tensor, "*inputs"]
    structure: Chain | Forest
    target: Shaped[Tensor, "batch ..."]
    position_targets: Int[Tensor, "*positions"] | None = None
    continues: bool | None = None
    target_sequence: Int[Tensor, "batch written"] | None = None

    def __len__(self) -> int:
        return len(self.structure)

    @cached_property
    def target_chain(self) -> Chain:
        """The steps in which the target sequences are written, one a class, `END` among them.

        Raises:
            ValueError: the batch has none.
        """
        if self.target_sequence is None:
            raise ValueError("target_sequence: the batch has none, expected one of data whose targets are sequences")
        return Chain((self.target_sequence != NO_TARGET).sum(1))

    @cached_property
    def target_inputs(self) -> Int[Tensor, "batch written"]:
        """What is read at these steps: the class before, as a token. Class k is token k + 1; the first is `END`'s."""
        written = self.target_sequence
        assert written is not None
        before = torch.cat([torch.full_like(written[:, :1], END), written[:, :-1]], 1)
        return torch.where(self.target_chain.mask, before + 1, NO_INPUT)

    def to(self, *args: Any, **kwargs: Any) -> Batch:
        """The same batch on another device."""
        targets, written = self.position_targets, self.target_sequence
        return Batch(
            self.inputs.to(*args, **kwargs),
            self.structure.to(*args, **kwargs),
            self.target.to(*args, **kwargs),
            None if targets is None else targets.to(*args, **kwargs),
            self.continues,
            None if written is None else written.to(*args, **kwargs),
        )


def target_sequences(samples: Samples[Sample]) -> np.ndarray | None:
    """The target sequences side by side, with `NO_TARGET` behind each; None: the samples have none."""
    if samples[0].target_sequence is None:
        return None
    rows = [np.asarray(sample.target_sequence) for sample in samples]
    return _padded(rows, np.array([len(row) for row in rows]), NO_TARGET)


def with_end(written: np.ndarray | None) -> Tensor | None:
    """The target sequences with `END` behind each, padded no more than they need."""
    if written is None:
        return None
    lengths = (written != NO_TARGET).sum(1)
    out = np.full((len(written), lengths.max() + 1), NO_TARGET, dtype=np.int64)
    out[:, :-1] = written[:, : lengths.max()]
    out[np.arange(len(out)), lengths] = END
    return torch.from_numpy(out)


def least_steps(symbols: np.ndarray) -> int:
    """The fewest steps in which a transcript can stand: one a symbol, and one more between two that are the same."""
    return len(symbols) + int((symbols[1:] == symbols[:-1]).sum())


def _padded(rows: list[np.ndarray], lengths: np.ndarray, fill: int) -> np.ndarray:
    if lengths.min() == lengths.max():
        return np.stack(rows)
    out = np.full((len(rows), lengths.max(), *rows[0].shape[1:]), fill, dtype=rows[0].dtype)
    for place, row in zip(out, rows, strict=True):
        place[: len(row)] = row
    return out


def evenly_spread(count: int, chosen: int, device: torch.device | None = None) -> Tensor:
    """Which of `count` samples are chosen, (count,) bool: the middle ones of `chosen` equal parts; all where there are
    no more than that. A batch may be sorted by length, and its first samples would be its shortest."""
    which = torch.zeros(count, dtype=torch.bool, device=device)
    chosen = min(chosen, count)
    which[(2 * torch.arange(chosen, device=device) + 1) * count // (2 * chosen)] = True
    return which
