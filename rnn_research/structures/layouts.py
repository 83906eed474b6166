"""How a sample is laid out for folding: the config group `structure=`.

A dataset gives `Sample`s and knows nothing of structures' batching; a `Layout` turns a list of samples into a `Batch`
whose arrays are aligned with its structure. Any cell folds any layout.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence as Samples
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from rnn_research.structures.chain import Chain
from rnn_research.structures.forest import Forest
from rnn_research.structures.tree import Tree, balanced, left_branching, right_branching

NO_INPUT = 0
"""The token that stands for "nothing is read here": an internal node of a tree, or padding. Its embedding is zero."""
NO_TARGET = -1
"""The label of a position that has none: it is left out of the loss and of every metric."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One example, readable as a sequence and, where the data has one, along its parse.

    `inputs` is (length,) int64 tokens > `NO_INPUT`, or (length, features) float32. `target` is the label of the
    whole (a class or a number, or a float32 vector). `step_targets` labels each step. `tree` with `tree_inputs`
    and `tree_targets`, aligned with the tree's nodes, is the sample's own parse.
    """

    inputs: np.ndarray
    target: Any
    step_targets: np.ndarray | None = None
    tree: Tree | None = None
    tree_inputs: np.ndarray | None = None
    tree_targets: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class SampleArrays(Samples[Sample]):
    """Sequences in arrays, padded at the end. Samples that are generated in bulk are batched without a loop over them.

    `inputs` is (samples, longest, ...), with `NO_INPUT` from each sample's length on; `step_targets` is (samples,
    longest), with `NO_TARGET` there. `longest` may be more than the longest length. `continues` is as in `Batch`.
    """

    inputs: np.ndarray
    lengths: np.ndarray
    target: np.ndarray
    step_targets: np.ndarray | None = None
    continues: bool | None = None

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
        )

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        length, steps = self.lengths[index], self.step_targets
        return Sample(self.inputs[index, :length], self.target[index], None if steps is None else steps[index, :length])

    def take(self, indices: Samples[int] | np.ndarray) -> SampleArrays:
        """Some of the samples, in the order given, padded no more than they need."""
        lengths, steps = self.lengths.take(indices), self.step_targets
        longest = lengths.max()
        return SampleArrays(
            self.inputs[indices, :longest],
            lengths,
            self.target.take(indices, axis=0),
            None if steps is None else steps[indices, :longest],
        )


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples on a structure. `inputs` and `position_targets` are aligned with the structure's positions:
    (batch, time, ...) on a chain, (nodes, ...) on a forest. `target` has one entry a sample.

    `continues` says of streams, which are served a stretch a batch, whether each sequence goes on where the same row of
    the batch before ended (rows that have ended come last, and are no longer there), or begins; None: sequences are
    independent of those in other batches.
    """

    inputs: Shaped[Tensor, "*inputs"]
    structure: Chain | Forest
    target: Shaped[Tensor, "batch ..."]
    position_targets: Int[Tensor, "*positions"] | None = None
    continues: bool | None = None

    def __len__(self) -> int:
        return len(self.structure)

    def to(self, *args: Any, **kwargs: Any) -> Batch:
        """The same batch on another device."""
        targets = self.position_targets
        return Batch(
            self.inputs.to(*args, **kwargs),
            self.structure.to(*args, **kwargs),
            self.target.to(*args, **kwargs),
            None if targets is None else targets.to(*args, **kwargs),
            self.continues,
        )


class Layout(ABC):
    """Turns samples into a batch on one kind of structure."""

    name: str
    needs_parse = False
    trees = True
    """Whether the structure is a forest, not a chain."""

    @abstractmethod
    def collate(self, samples: Samples[Sample]) -> Batch:
        """The batch of `samples`, in order."""

    @abstractmethod
    def size(self, sample: Sample) -> int:
        """Positions that the sample takes: what bucketing sorts by."""

    @abstractmethod
    def max_children(self, parse_children: int | None) -> int:
        """The most children of a node, given the largest arity of the data's own parses."""

    def position_targets(self, of_steps: bool, of_nodes: bool) -> bool:
        """Whether batches carry a label at every position, given what the data labels."""
        return False


class ChainLayout(Layout):
    """`structure=chain`: the sample's sequence, the state after each step feeding the next."""

    name = "chain"
    trees = False

    def collate(self, samples: Samples[Sample]) -> Batch:
        stack = samples if isinstance(samples, SampleArrays) else SampleArrays.of(samples)
        chain = Chain(torch.from_numpy(stack.lengths))
        return Batch(
            torch.from_numpy(stack.inputs)[:, : chain.time],
            chain,
            torch.from_numpy(stack.target),
            None if stack.step_targets is None else torch.from_numpy(stack.step_targets)[:, : chain.time],
            stack.continues,
        )

    def size(self, sample: Sample) -> int:
        return len(sample.inputs)

    def max_children(self, parse_children: int | None) -> int:
        return 1

    def position_targets(self, of_steps: bool, of_nodes: bool) -> bool:
        return of_steps


class BinaryTreeLayout(Layout):
    """The sequence at the leaves of a binary tree whose shape follows from the length alone; internal nodes read no
    input."""

    @abstractmethod
    def shape(self, length: int) -> Tree:
        """The tree over a sequence."""

    def collate(self, samples: Samples[Sample]) -> Batch:
        trees = [self.shape(len(sample.inputs)) for sample in samples]
        words = np.concatenate([sample.inputs for sample in samples])
        starts = np.cumsum([0, *map(len, trees)])[:-1]
        leaves = np.concatenate([tree.leaves for tree in trees]) + np.repeat(starts, [len(s.inputs) for s in samples])
        forest = Forest.of(trees)
        inputs = np.full((forest.nodes, *words.shape[1:]), NO_INPUT, dtype=words.dtype)
        inputs[leaves] = words
        return Batch(torch.from_numpy(inputs)[forest.order], forest, _targets(samples))

    def size(self, sample: Sample) -> int:
        return 2 * len(sample.inputs) - 1

    def max_children(self, parse_children: int | None) -> int:
        return 2


class BalancedTreeLayout(BinaryTreeLayout):
    """`structure=balanced`: a tree of depth ceil(log2(length)) over the sequence: no step is far from the root."""

    name = "balanced"

    def shape(self, length: int) -> Tree:
        return balanced(length)


class LeftBranchingLayout(BinaryTreeLayout):
    """`structure=left`: a chain as a tree, `(((1 2) 3) 4)`: the first step is farthest from the root, as in a
    sequence."""

    name = "left"

    def shape(self, length: int) -> Tree:
        return left_branching(length)


class RightBranchingLayout(BinaryTreeLayout):
    """`structure=right`: `(1 (2 (3 4)))`: the last step is farthest from the root, as in a sequence that is read
    backwards."""

    name = "right"

    def shape(self, length: int) -> Tree:
        return right_branching(length)


class ParseTreeLayout(Layout):
    """`structure=parse`: the sample's own tree."""

    name = "parse"
    needs_parse = True

    def collate(self, samples: Samples[Sample]) -> Batch:
        forest = Forest.of([sample.tree for sample in samples])  # type: ignore[misc]
        inputs = np.concatenate([sample.tree_inputs for sample in samples])  # type: ignore[misc]
        targets = _optional([sample.tree_targets for sample in samples], lambda t: torch.from_numpy(np.concatenate(t)))
        return Batch(
            torch.from_numpy(inputs)[forest.order],
            forest,
            _targets(samples),
            None if targets is None else targets[forest.order],
        )

    def size(self, sample: Sample) -> int:
        return len(sample.tree)  # type: ignore[arg-type]

    def max_children(self, parse_children: int | None) -> int:
        if parse_children is None:
            raise ValueError("structure=parse: the data has no trees; use structure=chain or structure=balanced")
        return parse_children

    def position_targets(self, of_steps: bool, of_nodes: bool) -> bool:
        return of_nodes


def _padded(rows: list[np.ndarray], lengths: np.ndarray, fill: int) -> np.ndarray:
    if lengths.min() == lengths.max():
        return np.stack(rows)
    out = np.full((len(rows), lengths.max(), *rows[0].shape[1:]), fill, dtype=rows[0].dtype)
    for place, row in zip(out, rows, strict=True):
        place[: len(row)] = row
    return out


def _targets(samples: Samples[Sample]) -> Tensor:
    return torch.from_numpy(np.asarray([sample.target for sample in samples]))


def _optional(rows: list[Any], join: Any) -> Tensor | None:
    return None if rows[0] is None else join(rows)


def automatic_layout(has_parse: bool, reads_children: bool) -> Layout:
    """`structure=auto`: tree cells fold the parse tree, where the data have one; sequence cells fold the sequence."""
    return ParseTreeLayout() if has_parse and reads_children else ChainLayout()
