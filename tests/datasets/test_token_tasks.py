"""Sequences of tokens that are to be written out again: what is asked for, how long, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rnn_research.datasets.token_tasks import CopyTokens, ReverseTokens, SortTokens, TokenTask

WANTED: dict[type[TokenTask], Any] = {CopyTokens: list, ReverseTokens: lambda one: one[::-1], SortTokens: sorted}


@pytest.mark.parametrize("kind", WANTED)
def test_what_is_to_be_written(kind: Any) -> None:
    data = kind(length=4, max_length=9, symbols=5, test_lengths=[30], train_size=300)
    assert data.evaluation_sets == ("test", "length_30")
    assert data.longest == 30
    for split in ("train", "test", "length_30"):
        samples = [data.samples(split)[number] for number in range(200)]
        for sample in samples:
            assert sample.target_sequence.tolist() == WANTED[kind](sample.inputs.tolist())
        lengths = {len(sample.inputs) for sample in samples}
        assert lengths == ({30} if split == "length_30" else set(range(4, 10)))
        assert set(np.concatenate([sample.inputs for sample in samples])) == set(range(1, 6))
    assert data.features("val")["target_length"].tolist() == data.features("val")["length"].tolist()


def test_it_is_solved_by_whole_sequences() -> None:
    rule = ReverseTokens().task.success
    assert rule is not None
    assert (rule.metric, rule.bound, rule.above) == ("accuracy", 0.99, True)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"length": 2}, "length: given 2 with symbols=10, which are 100 sequences, expected at least 256; give longer"),
        ({"length": 9, "symbols": 1}, "symbols: given 1, expected"),
        ({"length": 9, "max_length": 8}, "max_length: given 8, expected"),
        ({"length": 9, "test_lengths": [1]}, "length: given 1 with symbols=10"),
    ],
)
def test_what_is_out_of_range_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=f"^{told}"):
        CopyTokens(**options)
