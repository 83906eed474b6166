"""The Stanford Sentiment Treebank as it is published: its counts, its splits, and pretrained vectors of its words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rnn_research.datasets.sst import SST
from rnn_research.datasets.task import SPLITS
from rnn_research.datasets.trees.encoder import TreeEncoder
from rnn_research.datasets.trees.ptb_trees import PTBTrees


def test_the_real_sst_has_its_published_counts(sst_data: SST) -> None:
    data = sst_data
    assert [len(data.samples(split)) for split in SPLITS] == [8544, 1101, 2210]
    roots = np.bincount([sample.target for sample in data.samples("train")])
    assert roots.tolist() == [1092, 2218, 1624, 2322, 1288]
    assert data.task.max_children == 2
    assert data.vocabulary["("] > 1
    assert not any(word.startswith("-l") and word.endswith("b-") for word in data.vocabulary)
    for split in SPLITS:
        for sample in data.samples(split):
            assert len(sample.tree) == 2 * len(sample.inputs) - 1  # strictly binary
            assert np.array_equal(sample.tree_inputs[sample.tree.leaves], sample.inputs)
    assert not any((sample.inputs == 1).any() for sample in data.samples("train"))
    majority = [np.mean([s.target == 3 for s in data.samples(split)]) for split in ("val", "test")]
    assert list(data.baselines().values()) == majority


def test_the_real_sst_without_neutral_sentences(sst_data: SST) -> None:
    counts = [sum(sample.target != 2 for sample in sst_data.samples(split)) for split in SPLITS]
    assert counts == [6920, 872, 1821]


@pytest.mark.slow
def test_the_real_sst_drops_neutral_sentences(real_sst: Path) -> None:
    data = SST(root=str(real_sst), classes=2)
    assert [len(data.samples(split)) for split in SPLITS] == [6920, 872, 1821]


def test_the_real_splits_share_three_sentences_as_published(real_sst: Path) -> None:
    train, val, test = (
        {tuple(re.findall(r"[^ ()]+(?=\))", line)) for line in (real_sst / name).read_text("utf-8").split("\n")} - {()}
        for name in ("train.txt", "dev.txt", "test.txt")
    )
    assert [len(train & val), len(train & test), len(val & test)] == [1, 2, 0]


@pytest.mark.slow
def test_the_real_sst_is_the_same_through_ptb_trees(sst_data: SST, real_sst: Path) -> None:
    sst, own = sst_data, PTBTrees(str(real_sst))
    assert [len(own.samples(split)) for split in SPLITS] == [8540, 1101, 2210]
    assert own.task.input_size <= sst.task.input_size
    assert [sample.target for sample in own.samples("test")] == [sample.target for sample in sst.samples("test")]


def test_the_real_vectors_cover_the_words_of_sst(sst_data: SST, real_data: Callable[[str], Path]) -> None:
    path = real_data("glove") / "glove.6B.50d.sst-vocab.txt.gz"
    assert isinstance(sst_data.encoder, TreeEncoder)
    _, said = sst_data.encoder.pretrained(path, sst_data.samples("train"))
    assert "(99.1%)" in said
