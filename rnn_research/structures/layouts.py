"""How a sample is laid out for folding: the config group `structure=`.

A dataset gives `Sample`s and knows nothing of structures' batching; a `Layout` turns a list of samples into a `Batch`
whose arrays are aligned with its structure. Any cell folds any layout.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence as Samples
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnn_research.structures.chain import Chain
from rnn_research.structures.forest import Forest
from rnn_research.structures.samples import (
    END,
    NO_INPUT,
    NO_TARGET,
    Batch,
    Sample,
    SampleArrays,
    least_steps,
    target_sequences,
    with_end,
)
from rnn_research.structures.tree import Tree, balanced, left_branching, right_branching

__all__ = [
    "END",
    "NO_INPUT",
    "NO_TARGET",
    "BalancedTreeLayout",
    "Batch",
    "ChainLayout",
    "Layout",
    "LeftBranchingLayout",
    "ParseTreeLayout",
    "RightBranchingLayout",
    "Sample",
    "SampleArrays",
    "automatic_layout",
    "least_steps",
]


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
            with_end(stack.target_sequence),
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
        written = with_end(target_sequences(samples))
        return Batch(torch.from_numpy(inputs)[forest.order], forest, _targets(samples), target_sequence=written)

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
            target_sequence=with_end(target_sequences(samples)),
        )

    def size(self, sample: Sample) -> int:
        return len(sample.tree)  # type: ignore[arg-type]

    def max_children(self, parse_children: int | None) -> int:
        if parse_children is None:
            raise ValueError("structure=parse: the data has no trees; use structure=chain or structure=balanced")
        return parse_children

    def position_targets(self, of_steps: bool, of_nodes: bool) -> bool:
        return of_nodes


def _targets(samples: Samples[Sample]) -> Tensor:
    return torch.from_numpy(np.asarray([sample.target for sample in samples]))


def _optional(rows: list[Any], join: Any) -> Tensor | None:
    return None if rows[0] is None else join(rows)


def automatic_layout(has_parse: bool, reads_children: bool) -> Layout:
    """`structure=auto`: tree cells fold the parse tree, where the data have one; sequence cells fold the sequence."""
    return ParseTreeLayout() if has_parse and reads_children else ChainLayout()
