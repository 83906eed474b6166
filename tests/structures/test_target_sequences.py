"""Target sequences: as samples have them, and as batches do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rnn_research.datasets.checking import check_samples
from rnn_research.datasets.task import Task
from rnn_research.structures import BalancedTreeLayout, Batch, Chain, ChainLayout, Sample, SampleArrays

WRITTEN = ([3, 1], [2], [], [1, 1, 2])
SAMPLES = [Sample(np.arange(1, 3 + n), 0, target_sequence=np.array(one, np.int64)) for n, one in enumerate(WRITTEN)]
TASK = Task("sequence", input_size=9, output_size=4, tokens=True)


@pytest.mark.parametrize("layout", [ChainLayout(), BalancedTreeLayout()])
def test_a_batch_has_them_with_their_end(layout) -> None:
    batch = layout.collate(SAMPLES)
    assert batch.target_sequence.tolist() == [[3, 1, 0, -1], [2, 0, -1, -1], [0, -1, -1, -1], [1, 1, 2, 0]]
    assert batch.target_chain.lengths.tolist() == [3, 2, 1, 4]
    assert batch.target_inputs.tolist() == [[1, 4, 2, 0], [1, 3, 0, 0], [1, 0, 0, 0], [1, 2, 2, 3]]
    assert torch.equal(batch.to("cpu").target_sequence, batch.target_sequence)


def test_in_arrays_they_are_the_same() -> None:
    arrays = SampleArrays.of(SAMPLES)
    assert [arrays[n].target_sequence.tolist() for n in range(4)] == list(WRITTEN)
    found, wanted = ChainLayout().collate(arrays.take([3, 1])), ChainLayout().collate([SAMPLES[3], SAMPLES[1]])
    assert torch.equal(found.target_sequence, wanted.target_sequence)
    short = ChainLayout().collate(arrays.take([1, 2])).target_sequence
    assert short.tolist() == [[2, 0], [0, -1]]


def test_a_batch_without_any_says_so() -> None:
    batch = Batch(torch.zeros(1, 1, 2), Chain(torch.tensor([1])), torch.zeros(1))
    with pytest.raises(ValueError, match=r"^target_sequence: the batch has none"):
        _ = batch.target_chain


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (np.array([1, 0]), r"sample 4 of val: target_sequence: given 0 at \[1\], expected a class from 1 to 3"),
        (np.array([4]), r"sample 4 of val: target_sequence: given 4 at \[0\], expected a class from 1 to 3"),
        (np.array([1.0]), r"sample 4 of val: target_sequence: given float64, expected one of int32, int64"),
        (np.array([[1]]), r"sample 4 of val: target_sequence: given shape \(1, 1\), expected \(length,\)"),
        (None, r"sample 4 of val: target_sequence: given None, expected a numpy array"),
    ],
)
def test_wrong_ones_are_refused(written, told: str) -> None:
    check_samples("val", SAMPLES, TASK)
    with pytest.raises(ValueError, match=told):
        check_samples("val", [*SAMPLES, Sample(np.array([1]), 0, target_sequence=written)], TASK)
