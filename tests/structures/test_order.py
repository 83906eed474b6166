"""The order of evaluation: every state comes after all that it reads, each once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rnn_research.structures import Chain, Forest, Tree, balanced, left_branching
from rnn_research.structures.order import ReadyNodes, Rows, forest_order, parents, time_order

LENGTHS = {"equal": [4, 4, 4], "unequal": [3, 7, 1, 5, 7, 3], "one step": [1, 1], "one": [6]}
TREES = {
    "balanced": [balanced(5), balanced(1), balanced(8)],
    "left": [left_branching(4)],
    "any arity": [Tree(np.array([-1, 0, 0, 0, 1, 1, 3])), Tree(np.array([-1, 0, 1, 1, 1]))],
}


@pytest.mark.parametrize("name", LENGTHS)
def test_sequences_run_in_time_the_longest_first(name: str) -> None:
    lengths = LENGTHS[name]
    order = time_order(np.array(lengths))
    by_hand = sorted(range(len(lengths)), key=lambda sample: -lengths[sample])
    states = [(step, sample) for step in range(max(lengths)) for sample in by_hand if lengths[sample] > step]
    assert order.samples.tolist() == by_hand
    assert list(order.counts) == [sum(length > step for length in lengths) for step in range(max(lengths))]
    assert order.equal_lengths == (len(set(lengths)) == 1)
    assert order.positions.tolist() == [sample * max(lengths) + step for step, sample in states]
    assert order.numbered(len(lengths), 1).tolist() == [step * len(lengths) + sample for step, sample in states]
    row = {state: place for place, state in enumerate(states)}
    assert order.later.tolist() == [row.get((step + 1, sample), -1) for step, sample in states]


def numbers(rows: Rows) -> list[int]:
    return list(range(rows.start, rows.stop)) if isinstance(rows, slice) else rows.tolist()


@pytest.mark.parametrize("name", TREES)
def test_nodes_come_after_their_children_and_leaves_first(name: str) -> None:
    forest = Forest.of(TREES[name])
    above = parents(forest).tolist()
    done: list[int] = []
    order: list[ReadyNodes] = forest_order(forest)
    assert order[0].arity == 0
    assert all(ready.arity > 0 for ready in order[1:])
    for ready in order:
        rows, children = numbers(ready.rows), numbers(ready.children)
        assert len(rows) == ready.count
        assert [above[child] for child in children] == [row for row in rows for _ in range(ready.arity)]
        assert children == [child for row in rows for child in sorted(c for c, p in enumerate(above) if p == row)]
        assert set(children) <= set(done)
        done += rows
    assert sorted(done) == list(range(forest.nodes))
    assert [row for row, parent in enumerate(above) if parent == -1] == list(range(len(forest)))
    depth = forest.distance
    assert all(int(depth[row]) == int(depth[parent]) + 1 for row, parent in enumerate(above) if parent >= 0)
    assert torch.equal(parents(forest), torch.tensor(above))


def test_the_shape_is_that_of_the_positions() -> None:
    for structure in (Chain(torch.tensor([3, 5])), Forest.of(TREES["any arity"])):
        assert structure.shape == tuple(structure.mask.shape)
