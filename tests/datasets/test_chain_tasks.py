"""Generated tasks on chains: labels told again by plain Python, and what each promises of its data."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rnn_research.checks import integers
from rnn_research.datasets.adding import Adding
from rnn_research.datasets.base import DataModule
from rnn_research.datasets.boolean_trees import BooleanTrees
from rnn_research.datasets.copying_memory import CopyingMemory
from rnn_research.datasets.listops import ListOps
from rnn_research.datasets.multiplication import Multiplication
from rnn_research.datasets.noiseless_memorization import NoiselessMemorization
from rnn_research.datasets.parity import Parity
from rnn_research.datasets.propositional_logic import PropositionalLogic
from rnn_research.datasets.random_permutation import RandomPermutation
from rnn_research.datasets.streams import CHECKSUMS, SampleStream, checksum
from rnn_research.datasets.task import SPLITS, SolvedCriterion
from rnn_research.datasets.temporal_order import TemporalOrder
from rnn_research.datasets.tree_keyword import TreeKeyword
from rnn_research.structures import BalancedTreeLayout, Sample, SampleArrays


def everything(data: DataModule, split: str = "train") -> list[Sample]:
    samples = data.samples(split)
    return [samples[index] for index in range(len(samples))]


def symbols(sample: Sample) -> list[int]:
    assert (sample.inputs.sum(axis=1) == 1).all()
    assert set(np.unique(sample.inputs)) == {0, 1}
    return sample.inputs.argmax(axis=1).tolist()


# adding and multiplication


@pytest.mark.parametrize("task", [Adding, Multiplication])
@pytest.mark.parametrize("form", ["le", "pascanu"])
@pytest.mark.parametrize(("length", "max_length"), [(10, None), (50, 54)])
def test_targets_follow_from_the_marked_values(task, form, length, max_length):
    data = task(length=length, max_length=max_length, form=form, train_size=600)
    places = []
    for sample in everything(data):
        steps = len(sample.inputs)
        first, second = (step for step in range(steps) if sample.inputs[step, 1] == 1)
        a, b = (float(sample.inputs[step, 0]) for step in (first, second))
        expected = a * b if task is Multiplication else {"le": a + b, "pascanu": (a + b) / 2}[form]
        assert sample.target == pytest.approx(expected, abs=1e-6)
        if form == "le":
            assert first < steps // 2 <= second
        else:
            assert first < 0.1 * steps <= second + 0.5
            assert second < 0.5 * steps
        places.append((first, second))
    if (form, length) == ("pascanu", 10):
        assert set(places) == {(0, second) for second in range(1, 5)}
    assert data.task.tolerance == {"le": 0.04, "pascanu": 0.2}[form]


@pytest.mark.parametrize(
    ("data", "variance"),
    [
        (Adding(form="pascanu", train_size=1000, test_size=2000), 1 / 24),
        (Multiplication(train_size=1000, test_size=2000), 7 / 144),
        (Multiplication(form="pascanu", train_size=1000, test_size=2000), 7 / 144),
    ],
)
def test_the_blind_answer_errs_by_the_variance(data, variance):
    targets = np.array([sample.target for sample in everything(data, "test")])
    error = 5 * np.std((targets - targets.mean()) ** 2) / np.sqrt(len(targets))
    assert data.baselines()["test_mse"] == pytest.approx(variance, abs=error)
    assert error < variance / 4


def test_rules_are_those_of_the_papers():
    assert Adding().task.success == SolvedCriterion("accuracy", 0.99)
    assert Adding(rule="mse").task.success == SolvedCriterion("mse", 0.05, above=False)
    for data in (Multiplication(), TemporalOrder(), Parity(), RandomPermutation(), TreeKeyword()):
        assert data.task.success == SolvedCriterion("accuracy", 0.99)
    assert NoiselessMemorization().task.success == SolvedCriterion("position_accuracy", 0.99)
    # One symbol wrong of a hundred, and all blanks right.
    assert CopyingMemory(delay=80).task.success == SolvedCriterion("position_accuracy", 1 - 0.01 * 10 / 100)
    assert ListOps().task.success is PropositionalLogic().task.success is None


# temporal order


@pytest.mark.parametrize(("length", "max_length"), [(10, None), (50, None), (10, 37)])
def test_three_symbols_of_temporal_order_make_eight_classes(length, max_length):
    data = TemporalOrder(length=length, max_length=max_length, symbols=3, train_size=1000)
    classes = []
    for sample in everything(data):
        read, steps = symbols(sample), len(sample.inputs)
        places = [step for step in range(steps) if read[step] < 2]
        for place, tenth in zip(places, (1, 3, 6), strict=True):
            assert tenth * steps <= 10 * place < (tenth + 1) * steps
        assert sample.target == sum(read[place] * weight for place, weight in zip(places, (1, 2, 4), strict=True))
        classes.append(sample.target)
    assert np.abs(np.bincount(classes, minlength=8) / 1000 - 1 / 8).max() < 0.053  # five standard errors


# parity


@pytest.mark.parametrize("bits", ["signs", "binary"])
@pytest.mark.parametrize(("length", "max_length"), [(8, None), (20, None), (8, 30)])
def test_parity_is_that_of_the_ones(bits, length, max_length):
    data = Parity(length=length, max_length=max_length, bits=bits, train_size=1000)
    zero, lengths = {"signs": -1, "binary": 0}[bits], set()
    for sample in everything(data):
        read = sample.inputs[:, 0].tolist()
        assert set(read) <= {zero, 1}
        assert sample.target == read.count(1) % 2
        lengths.add(len(read))
    assert lengths == set(range(length, (max_length or length) + 1))


def test_short_parity_splits_share_nothing_and_stay_balanced():
    data = Parity(length=8, train_size=2000, val_size=2000, test_size=2000)
    found = {split: {sample.inputs.tobytes(): sample.target for sample in everything(data, split)} for split in SPLITS}
    for one, other in itertools.combinations(found.values(), 2):
        assert not set(one) & set(other)
    assert sum(map(len, found.values())) == 2**8  # every sequence is in one of them
    assert all(0.35 < np.mean(list(labels.values())) < 0.65 for labels in found.values())


# random permutation


@pytest.mark.parametrize(("length", "max_length"), [(3, None), (30, 40)])
def test_random_permutation_asks_for_the_first_symbol(length, max_length):
    data = RandomPermutation(length=length, max_length=max_length, train_size=500)
    seen: set[int] = set()
    for sample in everything(data):
        first, *rest = symbols(sample)
        assert sample.target == first
        assert first in (0, 1)
        assert min(rest) >= 2
        seen |= set(rest)
    assert seen == set(range(2, 100))
    assert np.mean([sample.target for sample in everything(data)]) == pytest.approx(0.5, abs=0.12)


# copying memory and noiseless memorisation


@pytest.mark.parametrize("delay", [1, 7])
def test_copying_memory_gives_the_symbols_back_after_the_delimiter(delay):
    for sample in everything(CopyingMemory(delay=delay, train_size=300)):
        read, wanted = symbols(sample), sample.step_targets.tolist()
        copied = read[:10]
        assert max(copied) < 8
        assert read[10:] == [8] * (delay - 1) + [9] + [8] * 10
        assert wanted == [8] * (delay + 10) + copied
        assert sample.target == copied[-1]


def test_copying_memory_baseline_is_that_of_an_answer_without_memory():
    """Scored by hand: blank is certain until the delimiter, and then each symbol is as likely."""
    data = CopyingMemory(delay=30, train_size=200, val_size=50, test_size=2000)
    losses, right = [], 0
    for sample in everything(data, "test"):
        chances = [[0.0] * 8 + [1.0]] * 40 + [[1 / 8] * 8 + [0.0]] * 10
        wanted = sample.step_targets.tolist()
        losses.append(-sum(math.log(chance[label]) for chance, label in zip(chances, wanted, strict=True)) / 50)
        right += [*wanted[:40], *(8 if label == 3 else label for label in wanted[40:])].count(8)
    found = data.baselines()
    assert found["test_loss"] == found["val_loss"] == pytest.approx(np.mean(losses), rel=1e-12)
    assert found["test_loss"] == pytest.approx(10 * math.log(8) / 50)
    share = right / (2000 * 50)  # 3 for every symbol: as good as any
    assert found["test_position_accuracy"] == pytest.approx(share, abs=0.0024)  # five standard errors
    assert found["test_accuracy"] == pytest.approx(1 / 8, abs=0.04)


@pytest.mark.parametrize(("bits", "count", "values"), [(5, 5, 2), (20, 10, 5)])
def test_noiseless_memorization_gives_the_pattern_back_from_the_trigger_on(bits, count, values):
    data = NoiselessMemorization(bits=bits, delay=6, train_size=400, val_size=50, test_size=400)
    for sample in everything(data):
        read, blank, trigger = symbols(sample), values, values + 1
        assert max(read[:count]) < values
        assert read[count:] == [blank] * 6 + [trigger] + [blank] * (count - 1)
        assert sample.step_targets.tolist() == [-1] * (count + 6) + read[:count]
        assert sample.target == read[count - 1]
    assert data.task.output_size == values
    share = data.baselines()["test_position_accuracy"]
    assert share == pytest.approx(1 / values, abs=0.2 if bits == 5 else 0.04)


def test_the_32_patterns_of_5_bits_are_shared_out():
    data = NoiselessMemorization(delay=1, train_size=500, val_size=500, test_size=500)
    found = [{sample.inputs[:5].tobytes() for sample in everything(data, split)} for split in SPLITS]
    assert len(set.union(*found)) == sum(map(len, found)) == 32
    assert len(found[0]) > len(found[1]) + len(found[2]) - 4
    assert min(map(len, found)) >= 4


# What all generated tasks share

FURTHER: dict[str, tuple[Callable[..., DataModule], str, list[int], str]] = {
    "adding": (Adding, "test_lengths", [20, 7], "length"),
    "multiplication": (functools.partial(Multiplication, form="pascanu"), "test_lengths", [20, 70], "length"),
    "temporal_order": (TemporalOrder, "test_lengths", [12, 60], "length"),
    "parity": (Parity, "test_lengths", [20, 33], "length"),
    "random_permutation": (functools.partial(RandomPermutation, length=9), "test_lengths", [9, 33], "length"),
    "copying_memory": (functools.partial(CopyingMemory, delay=3), "test_delays", [3, 9], "delay"),
    "noiseless_memorization": (functools.partial(NoiselessMemorization, delay=3), "test_delays", [3, 9], "delay"),
    "tree_keyword": (TreeKeyword, "test_leaves", [4, 30], "leaves"),
    "listops": (ListOps, "test_depths", [1, 3], "depth"),
    "propositional_logic": (PropositionalLogic, "test_operators", [3, 7], "operators"),
}


def size_of(name: str, data: DataModule, sample: Sample) -> int:
    """What a further set is named for, counted in the sample."""
    if name in ("copying_memory", "noiseless_memorization"):
        return len(sample.inputs) - {"copying_memory": 20, "noiseless_memorization": 10}[name]
    if name == "listops":
        steps = np.select([(sample.inputs >= 11) & (sample.inputs <= 14), sample.inputs == 15], [1, -1])
        return int(np.cumsum(steps).max())
    if name == "propositional_logic":
        middle = sample.inputs.tolist().index(12)
        return max(sum(9 <= t <= 11 for t in part) for part in (sample.inputs[:middle], sample.inputs[middle:]))
    return len(sample.inputs)


@pytest.mark.parametrize("name", FURTHER)
def test_further_sets_have_their_own_size_and_share_nothing_with_train(name):
    make, key, sizes, prefix = FURTHER[name]
    data = make(**{key: sizes}, train_size=300, val_size=20, test_size=40)
    plain = make(train_size=300, val_size=20, test_size=40)
    assert set(data.load()[1]) == {*SPLITS, *(f"{prefix}_{size}" for size in sizes)}
    assert set(plain.load()[1]) == set(SPLITS)
    train = {sample.inputs.tobytes() for sample in everything(data)}
    for size in sizes:
        found = everything(data, f"{prefix}_{size}")
        assert len(found) == 40
        assert {size_of(name, data, sample) for sample in found} == {size}
        again = make(**{key: [size]}, train_size=1, val_size=1, test_size=40).samples(f"{prefix}_{size}")
        assert [sample.inputs.tolist() for sample in again] == [sample.inputs.tolist() for sample in found]
        held = {sample.inputs.tobytes() for sample in found}
        assert not held & train
        if name != "noiseless_memorization":  # 32 patterns
            assert held != {sample.inputs.tobytes() for sample in everything(data, "test")}
    # The three splits are what they are without further sets.
    assert data.fingerprint == plain.fingerprint


@pytest.mark.parametrize("name", FURTHER)
@pytest.mark.parametrize("wrong", [[0], [20, 20], [True]])
def test_a_list_of_sizes_is_checked(name, wrong):
    make, key, _, _ = FURTHER[name]
    with pytest.raises(ValueError, match=rf"^{key}: given .*, expected"):
        make(**{key: wrong})


@pytest.mark.parametrize("wrong", [5, "5", [2.5], ["a"], [1, 2, 1], [[3]], {"a": 1}, [9]])
def test_a_list_of_integers_is_one(wrong):
    assert integers("key", [3, 1], most=8) == integers("key", (3, 1)) == (3, 1)
    assert integers("key", None) == integers("key", []) == ()
    with pytest.raises(ValueError, match=r"^key: given .*, expected"):
        integers("key", wrong, most=8)


def test_each_set_has_a_stream_of_its_own():
    def make(random: np.random.Generator, count: int) -> list[Sample]:
        return [Sample(np.array([value]), 0) for value in random.integers(1, 2**62, size=count)]

    names = [*SPLITS, "length_5", "length_50", "length_500", "depth_5", "a", "aa", "\x00"]
    firsts = [SampleStream(make, 1, seed, name)[0].inputs.item() for seed in (0, 1) for name in names]
    assert len(set(firsts)) == len(firsts)
    # The splits' streams, from which published runs were drawn.
    assert firsts[:3] == [int(np.random.default_rng([0, k, 0]).integers(1, 2**62, size=256)[0]) for k in range(3)]


def test_features_are_told_of_every_sample():
    chains, trees = Parity(length=8, max_length=11, val_size=40), BooleanTrees(min_depth=2, depth=5, val_size=40)
    assert set(chains.features("val")) == {"length"}
    assert chains.features("val")["length"].tolist() == [len(sample.inputs) for sample in everything(chains, "val")]
    found = trees.features("val")
    assert set(found) == {"length", "depth"}
    for depth, sample in zip(found["depth"].tolist(), everything(trees, "val"), strict=True):
        node, edges = len(sample.tree) - 1, 0  # the last node, breadth-first, is among the deepest
        while node > 0:
            node, edges = int(sample.tree.parent[node]), edges + 1
        assert depth == edges


def test_a_balanced_tree_labels_no_step_so_the_copying_loss_has_no_known_baseline():
    data = CopyingMemory(delay=3, train_size=20, val_size=20, test_size=20)
    data.layout = BalancedTreeLayout()
    assert set(data.baselines()) == {"val_accuracy", "test_accuracy"}


def test_checksums_are_even_whatever_the_values_and_tell_lengths_apart():
    rows = np.array(list(itertools.product(range(4), repeat=6)))
    found = checksum(rows.ravel(), np.full(len(rows), 6))
    assert np.abs(np.bincount(found, minlength=4) / len(rows) - 1 / 4).max() < 0.04
    for feature in (rows.sum(axis=1) % 2, rows[:, 0] % 2, rows[:, -1] // 2):
        table = np.array([np.bincount(found[feature == value], minlength=4) for value in (0, 1)]) / len(rows)
        assert np.abs(table - 1 / 8).max() < 0.035
    # The same rows have the same checksum, in any company; a longer row is another.
    alone = [checksum(row, np.array([6])).item() for row in rows[:50]]
    assert alone == found[:50].tolist()
    longer = checksum(np.concatenate([np.append(row, 0) for row in rows]), np.full(len(rows), 7))
    assert 0.6 < np.mean(longer != found) < 0.9
    assert sorted(c for classes in CHECKSUMS.values() for c in classes) == [0, 1, 2, 3]


SHAPES: list[Any] = [
    Adding(max_length=60),
    Multiplication(),
    TemporalOrder(symbols=3),
    Parity(),
    CopyingMemory(),
    NoiselessMemorization(bits=20),
    RandomPermutation(),
]


@pytest.mark.parametrize("data", SHAPES, ids=lambda data: type(data).__name__)
def test_a_block_is_one_stack(data):
    """So that a batch is cut out of it without taking samples apart."""
    assert isinstance(data.samples("train").take([3, 1, 2]), SampleArrays)
