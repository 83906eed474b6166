"""Laws of every dataset in conf/dataset, and what each of them promises about its own data."""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from files import MAKERS, made
from sklearn.datasets import load_digits
from small import Given

from rnn_research.datasets.adding import Adding
from rnn_research.datasets.base import DataModule
from rnn_research.datasets.boolean_trees import VOCABULARY, BooleanTrees
from rnn_research.datasets.digits import Digits
from rnn_research.datasets.sampling import Batches
from rnn_research.datasets.sst import SST
from rnn_research.datasets.streams import SampleStream
from rnn_research.datasets.task import SPLITS, Task
from rnn_research.datasets.temporal_order import TemporalOrder
from rnn_research.structures import (
    BalancedTreeLayout,
    ChainLayout,
    ParseTreeLayout,
    Sample,
    Tree,
    left_branching,
    right_branching,
)
from rnn_research.structures.layouts import NO_TARGET

ROOT = Path(__file__).parents[2]
OPTIONS = {path.stem: path for path in sorted((ROOT / "conf" / "dataset").glob("[!_]*.yaml"))}
SIZES = {"train_size": 300, "val_size": 70, "test_size": 70}  # 300: two blocks of generated samples
SHORT = {"length": 20, "delay": 5}
STREAMS = ("text", "shakespeare")
"""Streams: their batches go on from one another, and have laws of their own."""

PTB = {
    "train.txt": [
        "(3 (2 It) (4 (4 's) (3 (2 a) (3 (4 lovely) (2 film)))))",
        "(1 (1 Not) (2 (2 a) (2 Film)))",
        "(2 (2 -LRB-) (2 (2 and\\/or) (2 -RRB-)))",
        "(0 bad)",
        "(4 (4 (4 great) (2 ,)) (4 (2 a) (4 joy)))",
    ],
    "dev.txt": ["(3 (2 A) (3 (3 fine) (2 film)))", "(2 so)", "(1 (1 unseen) (2 it))"],
    "test.txt": ["(0 (1 no) (1 joy))", "", "(4 (3 (2 a) (4 great)) (2 plot))"],
}


def write_ptb(folder: Path, **changed: str | bytes) -> Path:
    """A small treebank in `folder`, with the contents of some files changed (None: the file is left out)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in PTB.items():
        content = changed.get(name.removesuffix(".txt"), "\n".join(lines) + "\n")
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


@pytest.fixture(scope="session")
def ptb(tmp_path_factory) -> Path:
    return write_ptb(tmp_path_factory.mktemp("ptb"))


def settings(name: str) -> dict[str, Any]:
    """An option's keys, with those of the yamls that it shares."""
    return copy.deepcopy(_settings(name))


@functools.cache
def _settings(name: str) -> dict[str, Any]:
    keys = yaml.safe_load((ROOT / "conf" / "dataset" / f"{name}.yaml").read_text())
    shared = [_settings(other) for other in keys.pop("defaults", []) if other != "_self_"]
    return {key: value for part in (*shared, keys) for key, value in part.items()}


def build(name: str, ptb: Path, **changed: Any) -> DataModule:
    """The option, small, and reading the small treebank instead of a download."""
    keys = settings(name)
    module, _, target = keys.pop("_target_").rpartition(".")
    if target in MAKERS and name != "sst":
        changed = {key.removeprefix("dataset."): value for key, value in made(target, ptb).items()} | changed
    elif "url" in keys:
        changed = {"root": str(ptb)} | changed
    keys |= {key: size for key, size in (SIZES | SHORT).items() if key in keys} | changed
    return getattr(importlib.import_module(module), target)(**keys)


@pytest.fixture(params=OPTIONS, scope="module")
def any_option(request) -> str:
    return request.param


@pytest.fixture(params=[name for name in OPTIONS if name not in STREAMS], scope="module")
def option(request) -> str:
    """One whose samples stand for themselves."""
    return request.param


@pytest.fixture(scope="module")
def data(option, ptb) -> DataModule:
    return build(option, ptb)


@pytest.fixture
def rebatched(data) -> DataModule:
    """A data module whose batches and layout a test may set, with the samples of `data`."""
    data.samples("train")  # they are loaded
    return copy.copy(data)


def layouts(data: DataModule) -> list[Any]:
    return [ChainLayout(), BalancedTreeLayout(), *([ParseTreeLayout()] if data.task.has_parse else [])]


def everything(data: DataModule, split: str) -> list[Sample]:
    samples = data.samples(split)
    return [samples[index] for index in range(len(samples))]


def content(sample: Sample) -> bytes:
    return sample.inputs.tobytes()


def arrays(sample: Sample) -> list[Any]:
    parent = None if sample.tree is None else sample.tree.parent
    parts = (
        sample.inputs,
        sample.target,
        sample.step_targets,
        parent,
        sample.tree_inputs,
        sample.tree_targets,
        sample.target_sequence,
    )
    return [None if part is None else (np.shape(part), np.asarray(part).tobytes()) for part in parts]


def tensors(batch: Any) -> list[Any]:
    """Types, shapes and contents."""
    parts = (batch.inputs, batch.target, batch.position_targets, batch.structure.sample, batch.target_sequence)
    return [None if part is None else (part.dtype, part.shape, part.numpy().tobytes()) for part in parts]


# Laws over every option


def test_yaml_keys_are_the_constructors_arguments_with_their_defaults(any_option):
    keys = settings(any_option)
    module, _, target = keys.pop("_target_").rpartition(".")
    signature = inspect.signature(getattr(importlib.import_module(module), target))
    defaults = {name: parameter.default for name, parameter in signature.parameters.items()}
    assert keys == {name: list(one) if isinstance(one, tuple) else one for name, one in defaults.items()}


def test_yaml_opens_with_what_it_is_and_a_command(any_option):
    lines = OPTIONS[any_option].read_text().splitlines()
    assert lines[0].startswith("# ")
    assert any(f"rnn-train dataset={any_option}" in line for line in lines if line.startswith("#"))


def test_samples_have_the_sizes_of_the_task(data):
    task = data.task
    for split in SPLITS:
        assert len(data.samples(split)) > 0
        for sample in everything(data, split):
            assert len(sample.inputs) > 0
            if task.tokens:
                assert sample.inputs.dtype == np.int64
                assert sample.inputs.min() > 0
                assert sample.inputs.max() < task.input_size
            else:
                assert sample.inputs.dtype == (np.float32 if task.frame is None else np.uint8)
                assert sample.inputs.shape[1] == task.input_size
            if task.kind == "classification":
                assert 0 <= sample.target < task.output_size
            elif task.writes:
                assert sample.target_sequence.dtype == np.int64
                assert sample.target_sequence.min() > 0
                assert sample.target_sequence.max() < task.output_size
            else:
                assert sample.target.shape == (task.output_size,)
                assert sample.target.dtype == np.float32
            assert (sample.step_targets is not None) == task.step_targets


def test_parses_fit_the_task(data):
    task = data.task
    for sample in everything(data, "train") + everything(data, "test"):
        assert (sample.tree is not None) == task.has_parse
        if sample.tree is None:
            continue
        assert sample.tree.arity.max() <= task.max_children
        assert sample.tree_inputs.shape == (len(sample.tree),)
        assert sample.tree_inputs.max() < task.input_size
        assert (sample.tree_targets is not None) == task.tree_targets
        if task.tree_targets:
            assert sample.tree_targets.shape == (len(sample.tree),)
            assert sample.tree_targets[0] == sample.target
            assert set(sample.tree_targets.tolist()) <= {NO_TARGET, *range(task.output_size)}


def test_every_class_occurs(option, data):
    if data.task.kind == "classification":
        samples = everything(data, "train")
        steps = {label for sample in samples if data.task.step_targets for label in sample.step_targets.tolist()}
        expected = {"random_permutation": range(2)}.get(option, range(data.task.output_size))
        assert {sample.target for sample in samples} | steps - {NO_TARGET} == set(expected)


def test_no_sample_is_in_two_splits(data):
    if data.overlaps:  # two texts may be one to a model that knows few words of them
        return
    train, val, test = ({content(sample) for sample in everything(data, split)} for split in SPLITS)
    assert not train & val
    assert not (train | val) & test


def test_two_loads_give_the_same_samples(option, data, ptb):
    again = build(option, ptb, batch_size=7, num_workers=0)
    for split in SPLITS:
        given = [arrays(sample) for sample in everything(data, split)]
        # Read backwards: a sample must not depend on what was read before it.
        backwards = [arrays(again.samples(split)[index]) for index in reversed(range(len(given)))]
        assert given == backwards[::-1]
    assert data.fingerprint == again.fingerprint


def test_batches_do_not_depend_on_the_workers(option, rebatched, ptb):
    """One process; two, and two epochs, for some of each kind: generated sequences and trees, what is read."""
    workers = 2 if option in ("adding", "boolean_trees", "digits") else 1
    rebatched.batch_size, rebatched.bucket = 100, settings(option)["bucket"]
    batches = []
    for data, epochs in ((rebatched, 2), (build(option, ptb, batch_size=100, num_workers=workers), workers)):
        data.layout = ParseTreeLayout() if data.task.has_parse else ChainLayout()
        loader = data.train_dataloader()
        batches.append([[tensors(batch) for batch in loader] for _ in range(epochs)])
    assert batches[0][:workers] == batches[1]
    if len(batches[0][0]) > 1:
        assert batches[0][0] != batches[0][1]  # another order in the next epoch


@pytest.mark.parametrize(("batch_size", "bucket"), [(8, True), (32, False)])
def test_an_epoch_holds_every_sample_once_in_any_layout(rebatched, batch_size, bucket):
    data = rebatched
    data.batch_size, data.bucket = batch_size, bucket
    expected = sorted(content(sample) for sample in everything(data, "val"))
    for layout in layouts(data):
        data.layout = layout
        found = []
        for loader in (data.val_dataloader(), data._loader("val", shuffle=True)):
            rows = [row for batch in loader.batch_sampler for row in batch]
            assert sorted(rows) == list(range(len(expected)))
            batches = list(loader)
            assert sorted(len(batch) for batch in batches)[1:] == [batch_size] * (len(batches) - 1)
            found.append(sum(len(batch) for batch in batches))
        assert found == [len(expected)] * 2


@pytest.mark.parametrize(("batch_size", "bucket"), [(32, False), (50, False), (300, False), (50, True)])
def test_a_batch_is_its_samples_taken_one_by_one(rebatched, batch_size, bucket):
    """Also where samples come many at a time, of one block or of several."""
    data, samples = rebatched, rebatched.samples("train")
    data.batch_size, data.bucket = batch_size, bucket
    for layout in layouts(data):
        data.layout = layout
        chosen = list(itertools.islice(data.train_dataloader().batch_sampler, 6 if batch_size == 50 else 2))
        for batch, indices in zip(data.train_dataloader(), chosen, strict=False):
            expected = layout.collate([samples[index] for index in indices])
            assert tensors(batch) == tensors(expected)


BRACKETS = {"propositional_logic": (1, 2)}
"""Tokens that a sequence needs and a parse does not."""


def test_layouts_of_the_same_samples_hold_the_same_tokens(option, data):
    chosen = everything(data, "train")[:40]
    sequences = [sorted(map(tuple, np.atleast_2d(s.inputs.T).T.tolist())) for s in chosen]
    for layout in layouts(data):
        batch = layout.collate(chosen)
        marks = BRACKETS.get(option, ()) if layout.needs_parse else ()
        for row, tokens in enumerate([t for t in sequence if t[0] not in marks] for sequence in sequences):
            inputs = batch.inputs[batch.structure.mask & (batch.structure.sample == row)].numpy()
            found = sorted(map(tuple, inputs.reshape(len(inputs), -1).tolist()))
            empty = (0,) * len(tokens[0])
            assert [t for t in found if t != empty] == [t for t in tokens if t != empty]
        assert batch.target.tolist() == [np.asarray(sample.target).tolist() for sample in chosen]


def test_order_seed_changes_the_order_alone(rebatched):
    data, orders = rebatched, []
    data.batch_size, data.bucket = 1, False
    for seed in (0, 0, 1):
        data.order_seed = seed
        orders.append(list(data.train_dataloader().batch_sampler))
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])


def test_baselines_are_the_best_blind_answers(data):
    if data.task.kind == "transcript":  # nothing is written
        assert data.baselines() == {f"{split}_character_error_rate": 1.0 for split in ("val", "test")}
        return
    written = data.task.kind == "sequence"
    samples = {split: everything(data, split) for split in SPLITS}
    targets = {split: np.array([sample.target for sample in some]) for split, some in samples.items()}
    if written:
        targets = {name: np.concatenate([[*one.target_sequence, 0] for one in some]) for name, some in samples.items()}
    for split in ("val", "test"):
        if data.task.kind in ("classification", "sequence"):
            counts = Counter(targets["train"].tolist())
            majority = max(counts, key=lambda label: (counts[label], -label))
            metric = "token_accuracy" if written else "accuracy"
            expected, name = np.mean(targets[split] == majority), f"{split}_{metric}"
        else:
            expected, name = np.mean((targets[split] - targets["train"].mean()) ** 2), f"{split}_mse"
        assert data.baselines()[name] == pytest.approx(expected, rel=1e-6)


def test_baselines_of_positions_and_of_the_tolerance(ptb):
    """The most frequent label of a node in train; the share of targets within the tolerance of train's mean."""
    trees = build("boolean_trees", ptb, train_size=300, val_size=50, test_size=50)
    assert "test_position_accuracy" not in trees.baselines()  # a chain labels no position
    trees.layout = ParseTreeLayout()
    labels = {split: np.concatenate([sample.tree_targets for sample in everything(trees, split)]) for split in SPLITS}
    answer = int(labels["train"].mean() > 0.5)
    assert trees.baselines()["test_position_accuracy"] == pytest.approx(np.mean(labels["test"] == answer))
    sums = build("adding", ptb, train_size=300, val_size=50, test_size=500)
    targets = {split: np.array([sample.target for sample in everything(sums, split)]) for split in SPLITS}
    near = np.abs(targets["test"] - targets["train"].mean()) <= 0.04
    assert sums.baselines()["test_accuracy"] == pytest.approx(near.mean())
    assert near.any()


def test_the_fingerprint_reads_every_sample_its_labels_and_its_tree():
    """Of real data: one label, one node's label or one tree that differs makes it another."""
    leaf, task = np.array([1, 2, 1]), Task("classification", 3, 2, tokens=True, max_children=2)

    def prints(label: int = 0, node: int = 1, side: Callable[[int], Tree] = left_branching) -> str:
        samples = [Sample(leaf, 0) for _ in range(200)]
        labels = np.array([0, 1, node, 1, 1])
        samples[137] = Sample(leaf, label, tree=side(3), tree_inputs=np.array([0, 0, 1, 1, 2]), tree_targets=labels)
        return Given(task, samples).fingerprint

    assert len({prints(), prints(), prints(label=1), prints(node=0), prints(side=right_branching)}) == 4


GENERATED = [name for name in OPTIONS if "seed" in settings(name)]


@pytest.mark.parametrize("name", GENERATED)
def test_generated_splits_have_the_sizes_and_the_seed_asked_for(name, ptb):
    first, other = build(name, ptb, train_size=37, val_size=1, test_size=300), build(name, ptb, seed=1)
    assert [len(first.samples(split)) for split in SPLITS] == [37, 1, 300]
    assert first.samples("test")[299] is not None
    for index in (-1, 300):
        with pytest.raises(IndexError):
            first.samples("test")[index]
        with pytest.raises(IndexError):
            first.samples("test").take([0, index])
    assert first.fingerprint != other.fingerprint
    # More samples of a split change none of those that were there.
    longer = build(name, ptb, train_size=700, val_size=1, test_size=300)
    assert [arrays(first.samples("train")[i]) for i in range(37)] == [
        arrays(longer.samples("train")[i]) for i in range(37)
    ]


FREE = (
    "_target_",
    "root",
    "path",
    "target_path",
    "url",
    "sha256",
    "cache",
    "vectors",
    "label_key",
    "token_key",
    "children_key",
)
"""Keys that may be any text, or any path."""


def test_constructors_refuse_bad_values(any_option, ptb):
    for key, default in settings(any_option).items():
        if key in FREE or isinstance(default, bool):
            continue
        further = default is None and key.startswith("test_")  # the sizes of further sets: a list
        wrong = [-3] if further else {str: "nodez", float: -0.1}.get(type(default), -3)
        with pytest.raises(ValueError, match=f"^{key}: given .*expected"):
            build(any_option, ptb, **{key: wrong})


# Batches and generation


def test_bucketing_shares_batches_by_size_and_loses_nothing():
    sizes = np.random.default_rng(0).integers(1, 100, size=1000).tolist()
    plain, bucketed = Batches(1000, 10, seed=0), Batches(1000, 10, seed=0, sizes=sizes)

    def padding(batches: Batches) -> int:
        return sum(max(sizes[i] for i in batch) * len(batch) - sum(sizes[i] for i in batch) for batch in batches)

    assert padding(bucketed) < padding(plain) / 5
    for _ in range(3):
        batches = list(bucketed)
        assert sorted(index for batch in batches for index in batch) == list(range(1000))
        longest = [max(sizes[i] for i in batch) for batch in batches]
        assert longest != sorted(longest)


def test_bucketing_makes_each_generated_block_about_once():
    made = []

    def make(random: np.random.Generator, count: int) -> list[Sample]:
        made.append(count)
        return [Sample(np.ones(length, dtype=np.int64), 0) for length in random.integers(1, 50, size=count)]

    for batch_size in (32, 128):
        samples = SampleStream(make, 4000, seed=0, split="train")
        sizes = [len(samples[index].inputs) for index in range(len(samples))]
        made.clear()
        for batch in Batches(len(samples), batch_size, seed=0, sizes=sizes, block=SampleStream.BLOCK):
            for index in batch:
                samples[index]
        assert sum(made) < 3 * len(samples)


def test_a_generated_sample_is_a_function_of_its_number():
    class Small(SampleStream):
        BLOCK = 16

    def make(random: np.random.Generator, count: int) -> list[Sample]:
        return [Sample(np.array([value]), 0) for value in random.integers(1, 2**62, size=count)]

    def values(seed: int, split: str, order: Any) -> dict[int, int]:
        samples = Small(make, 500, seed, split)
        return {int(index): int(samples[int(index)].inputs[0]) for index in order}

    ordered = values(0, "train", range(500))
    assert ordered == values(0, "train", np.random.default_rng(0).permutation(500))
    assert len(set(ordered.values())) == 500
    for seed, split in ((1, "train"), (0, "val")):
        assert not set(ordered.values()) & set(values(seed, split, range(500)).values())


# digits


def test_digits_are_the_real_images_each_in_one_split():
    data = Digits()
    images, labels = load_digits(return_X_y=True)
    assert [len(data.samples(split)) for split in SPLITS] == [1257, 270, 270]
    found = [(sample.inputs[:, 0].tolist(), sample.target) for split in SPLITS for sample in data.samples(split)]
    expected = [((image / 16).tolist(), label) for image, label in zip(images, labels.tolist(), strict=True)]
    assert sorted(found) == sorted(expected)
    for split in SPLITS:
        counts = np.bincount([sample.target for sample in data.samples(split)])
        shares = np.bincount(labels) / len(labels)
        assert np.abs(counts - shares * counts.sum()).max() < 2


def test_digits_by_row_and_permuted_are_the_same_pixels():
    plain, rows, permuted = Digits(), Digits(by="row"), Digits(permute=True)
    other, both = Digits(permute=True, permutation_seed=1), Digits(by="row", permute=True)
    pixels, shuffled = (np.stack([s.inputs[:, 0] for s in d.samples("val")]) for d in (plain, permuted))
    assert rows.samples("val")[0].inputs.shape == (8, 8)
    assert np.array_equal(np.stack([s.inputs for s in rows.samples("val")]), pixels.reshape(-1, 8, 8))
    assert np.array_equal(np.stack([s.inputs for s in both.samples("val")]), shuffled.reshape(-1, 8, 8))
    # One permutation for all images: matched columns are equal in every image.
    columns, moved = sorted(map(tuple, pixels.T)), sorted(map(tuple, shuffled.T))
    assert columns == moved
    assert not np.array_equal(pixels, shuffled)
    assert other.fingerprint != permuted.fingerprint


# adding


@pytest.mark.parametrize(("length", "max_length"), [(2, None), (3, None), (50, None), (10, 30)])
def test_adding_targets_are_the_sums_of_the_marked_values(length, max_length):
    data = Adding(length=length, max_length=max_length, train_size=1000)
    lengths = []
    for sample in everything(data, "train"):
        values, markers = sample.inputs.T
        lengths.append(len(values))
        marked = np.flatnonzero(markers)
        assert len(marked) == 2
        assert marked[0] < len(values) // 2 <= marked[1]
        assert sample.target == pytest.approx(values[marked].sum(), abs=1e-6)
        assert ((values >= 0) & (values < 1)).all()
    assert set(lengths) == set(range(length, (max_length or length) + 1))


def test_adding_markers_and_values_are_uniform():
    samples = everything(Adding(length=10, train_size=3000), "train")
    inputs = np.stack([sample.inputs for sample in samples])
    assert np.abs(inputs[:, :, 1].mean(axis=0) - 0.2).max() < 0.04  # five standard errors
    assert inputs[:, :, 0].mean() == pytest.approx(0.5, abs=0.01)


def test_adding_baseline_is_a_sixth_and_the_best_blind_answer_is_one():
    data = Adding(train_size=4000, test_size=4000)
    targets = np.array([sample.target for sample in everything(data, "test")])
    error = 5 * np.std((targets - 1) ** 2) / np.sqrt(len(targets))
    assert data.baselines()["test_mse"] == pytest.approx(1 / 6, abs=error)
    assert error < 0.02
    assert targets.mean() == pytest.approx(1, abs=0.035)


# temporal order


@pytest.mark.parametrize(("length", "max_length"), [(10, None), (11, None), (50, None), (10, 37)])
def test_temporal_order_classes_follow_from_the_two_places(length, max_length):
    data = TemporalOrder(length=length, max_length=max_length, train_size=1000)
    places, lengths = set(), set()
    for sample in everything(data, "train"):
        assert (sample.inputs.sum(axis=1) == 1).all()
        symbols, steps = sample.inputs.argmax(axis=1), len(sample.inputs)
        first, second = np.flatnonzero(symbols < 2)
        assert 0.1 * steps <= first < 0.2 * steps
        assert 0.5 * steps <= second < 0.6 * steps
        assert sample.target == symbols[first] + 2 * symbols[second]
        places.add((int(first), int(second)))
        lengths.add(steps)
    assert lengths == set(range(length, (max_length or length) + 1))
    if length == 50:
        assert places == {(first, second) for first in range(5, 10) for second in range(25, 30)}


@pytest.mark.parametrize("length", [10, 12])
def test_short_temporal_order_splits_share_nothing_and_symbols_are_uniform(length):
    data = TemporalOrder(length=length, train_size=3000, test_size=5000)
    train, val, test = ({content(sample) for sample in everything(data, split)} for split in SPLITS)
    assert not train & val
    assert not (train | val) & test
    inputs = np.stack([sample.inputs for sample in everything(data, "test")])
    classes = np.bincount([sample.target for sample in everything(data, "test")]) / 5000
    error = 0.03  # five standard errors
    assert np.abs(classes - 0.25).max() < error
    for step in (0, -1):  # at the first and last step a distractor stands
        assert np.abs(inputs[:, step].mean(axis=0) - [0, 0, 0.25, 0.25, 0.25, 0.25]).max() < error


# boolean trees

OPERATORS = {"and": (2, all), "or": (2, any), "not": (1, lambda values: not values[0])}


def evaluate_prefix(tokens: np.ndarray) -> bool:
    """A stack machine that reads the tokens backwards, so that operands come before their operator."""
    stack: list[bool] = []
    for token in reversed(tokens.tolist()):
        word = VOCABULARY[token]
        if word in OPERATORS:
            count, operate = OPERATORS[word]
            operands = [stack.pop() for _ in range(count)]
            stack.append(operate(operands))
        else:
            stack.append({"true": True, "false": False}[word])
    (value,) = stack
    return value


def evaluate_tree(sample: Sample, node: int = 0) -> tuple[bool, list[str]]:
    """The truth of a node, which must be its label, and its expression in prefix order."""
    word = VOCABULARY[sample.tree_inputs[node]]
    parts = [evaluate_tree(sample, int(child)) for child in np.flatnonzero(sample.tree.parent == node)]
    if word in OPERATORS:
        count, operate = OPERATORS[word]
        assert len(parts) == count
        value = operate([value for value, _ in parts])
    else:
        assert not parts
        value = {"true": True, "false": False}[word]
    assert sample.tree_targets[node] == value
    return value, [word, *(word for _, words in parts for word in words)]


@pytest.mark.parametrize("keys", [{"depth": 2}, {"depth": 4}, {"depth": 7, "min_depth": 2}])
@pytest.mark.parametrize("not_probability", [0.0, 0.2, 0.9])
def test_boolean_truths_are_right_at_every_node_and_depth_is_exact(keys, not_probability):
    data = BooleanTrees(**keys, not_probability=not_probability, train_size=256)
    seen = set()
    for sample in everything(data, "train"):
        value, words = evaluate_tree(sample)
        assert sample.target == value == evaluate_prefix(sample.inputs)
        assert [VOCABULARY[token] for token in sample.inputs] == words
        seen.add(int(sample.tree.depth.max()))
        if not_probability == 0:
            assert "not" not in words
    assert seen == set(range(keys.get("min_depth", keys["depth"]), keys["depth"] + 1))


@pytest.mark.parametrize("depth", [2, 3])
def test_boolean_splits_are_balanced_and_share_nothing(depth):
    data = BooleanTrees(depth=depth, train_size=1500, val_size=1500, test_size=1500)
    contents = []
    for split in SPLITS:
        samples = everything(data, split)
        share = np.mean([sample.target for sample in samples])
        assert share == pytest.approx(0.5, abs=0.065)  # five standard errors
        contents.append({content(sample) for sample in samples})
        assert len(contents[-1]) > 40
    train, val, test = contents
    assert not train & val
    assert not (train | val) & test


def test_boolean_operators_tell_nothing_of_the_truth_and_sides_are_alike():
    samples = everything(BooleanTrees(train_size=3000), "train")
    tokens = np.concatenate([sample.tree_inputs for sample in samples])
    truths = np.concatenate([sample.tree_targets for sample in samples])
    for word in OPERATORS:
        chosen = truths[tokens == VOCABULARY.index(word)]
        assert chosen.mean() == pytest.approx(0.5, abs=0.04)
    share = np.mean(tokens[tokens > 2] == VOCABULARY.index("not"))
    assert share == pytest.approx(0.2, abs=0.02)
    binary = [s for s in samples if s.tree.arity[0] == 2]
    lean = np.array([[(s.tree.parent == child).sum() for child in (1, 2)] for s in binary])
    assert abs(lean[:, 0].mean() - lean[:, 1].mean()) < 0.15
    # All four pairs of truths stand below an `and` and an `or`.
    for word in ("and", "or"):
        roots = [s for s in binary if s.tree_inputs[0] == VOCABULARY.index(word)]
        assert {tuple(s.tree_targets[1:3].tolist()) for s in roots} == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_boolean_labels_of_the_root_alone():
    data = BooleanTrees(labels="root", train_size=10)
    assert not data.task.tree_targets
    assert all(sample.tree_targets is None for sample in everything(data, "train"))


# Stanford Sentiment Treebank


def words_of(data: SST, sample: Sample) -> list[str]:
    names = {token: word for word, token in data.vocabulary.items()} | {1: "<unknown>"}
    return [names[token] for token in sample.inputs.tolist()]


def test_sst_reads_words_labels_and_shape(ptb):
    data = SST(root=str(ptb))
    train, val = everything(data, "train"), everything(data, "val")
    assert words_of(data, train[0]) == ["it", "'s", "a", "lovely", "film"]
    assert words_of(data, train[2]) == ["(", "and/or", ")"]
    assert words_of(data, train[3]) == ["bad"]
    assert words_of(data, val[0]) == ["a", "<unknown>", "film"]
    assert [sample.target for sample in train] == [3, 1, 2, 0, 4]
    assert len(data.samples("test")) == 2  # a blank line is none
    # (3 (2 It) (4 (4 's) (3 (2 a) (3 (4 lovely) (2 film))))), breadth-first
    assert train[0].tree.parent.tolist() == [-1, 0, 0, 2, 2, 4, 4, 6, 6]
    assert train[0].tree_targets.tolist() == [3, 2, 4, 4, 3, 2, 3, 4, 2]
    assert train[0].tree_inputs[train[0].tree.leaves].tolist() == train[0].inputs.tolist()
    assert (train[0].tree_inputs[train[0].tree.arity > 0] == 0).all()
    # (4 (4 (4 great) (2 ,)) (4 (2 a) (4 joy))): written in another order than breadth-first.
    assert train[4].tree_targets.tolist() == [4, 4, 4, 4, 2, 2, 4]
    assert train[4].tree_inputs.tolist() == [
        0,
        0,
        0,
        *(data.vocabulary[word] for word in ("great", ",", "a", "joy")),
    ]
    assert not SST(root=str(ptb), labels="root").task.tree_targets
    assert SST(root=str(ptb), labels="root").samples("train")[0].tree_targets is None


def test_sst_vocabulary_is_of_train_alone_by_frequency(ptb):
    data = SST(root=str(ptb))
    assert data.task.input_size == len(data.vocabulary) + 2
    assert list(data.vocabulary)[:3] == ["a", "film", "'s"]
    assert list(data.vocabulary.values()) == list(range(2, len(data.vocabulary) + 2))
    assert "plot" not in data.vocabulary
    frequent = SST(root=str(ptb), min_count=2)
    assert frequent.task.input_size == 4
    assert words_of(frequent, frequent.samples("train")[1]) == ["<unknown>", "a", "film"]
    cased = SST(root=str(ptb), lower=False)
    assert cased.task.input_size == data.task.input_size + 1
    assert {"film", "Film"} <= set(cased.vocabulary)


def test_sst_with_two_classes_drops_the_neutral(ptb):
    data = SST(root=str(ptb), classes=2)
    assert [sample.target for sample in data.samples("train")] == [1, 0, 0, 1]
    assert data.task.output_size == 2
    first = data.samples("train")[0].tree_targets.tolist()
    assert first == [1, -1, 1, 1, 1, -1, 1, 1, -1]


def test_sst_trees_may_be_of_any_arity_or_depth(tmp_path):
    deep = 5000
    lines = "\n".join(
        [
            "(2 (3 word))",
            "(1 (2 a) (2 b) (2 c))",
            "(0 (4 (3 (2 x))))",
            "(4 (2 x) " * deep + "(1 x)" + ")" * deep,
        ]
    )
    data = SST(root=str(write_ptb(tmp_path, train=lines)))
    unary, ternary, chain, comb = everything(data, "train")
    assert data.task.max_children == 3
    assert unary.tree_targets.tolist() == [2, 3]
    assert ternary.tree.arity.tolist() == [3, 0, 0, 0]
    assert chain.tree.parent.tolist() == [-1, 0, 1, 2]
    assert comb.tree.depth.max() == deep
    assert len(comb.inputs) == deep + 1


def test_sst_accepts_other_line_ends_spaces_and_a_byte_order_mark(tmp_path):
    text = "\ufeff( 3 no)".replace("( ", "(") + "\r\n\r\n\t(1  (2\ta)  (0 c\u00a0d) ) \r\n"
    data = SST(root=str(write_ptb(tmp_path, train=text)))
    assert [words_of(data, sample) for sample in everything(data, "train")] == [["no"], ["a", "c\u00a0d"]]


def test_sst_accepts_the_folder_that_the_archive_unpacks_to(tmp_path, ptb):
    write_ptb(tmp_path / "trees")
    assert SST(root=str(tmp_path)).fingerprint == SST(root=str(ptb)).fingerprint


MALFORMED = {
    "left open": ("(3 (2 a) (2 b)", "1 brackets left open"),
    "closed twice": ("(3 (2 a) (2 b)))", "closing bracket"),
    "label 5": ("(3 (2 a) (5 b))", "label '5'"),
    "label is a word": ("(3 (x a) (2 b))", "label 'x'"),
    "negative label": ("(-1 a)", "label '-1'"),
    "label is a float": ("(3.0 a)", "label '3.0'"),
    "no label": ("((2 a) (2 b))", "label ''"),
    "no word": ("(3 (2 a) (2 ))", "neither a word nor children"),
    "no brackets": ("what a film", "'what' outside the tree"),
    "text after": ("(3 a) b", "'b' outside the tree"),
    "text before": ("b (3 a)", "'b' outside the tree"),
    "two trees": ("(3 a) (2 b)", "second tree"),
    "two words": ("(3 a b)", "'b' after"),
    "word then node": ("(3 a (2 b))", "inside the leaf 'a'"),
    "node then word": ("(3 (2 a) b)", "'b' after"),
    "not UTF-8": (b"(3 caf\xe9)", "not UTF-8"),
}


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_sst_names_the_file_and_line_of_what_is_malformed(tmp_path, name, split):
    line, message = MALFORMED[name]
    line = line if isinstance(line, bytes) else line.encode()
    folder = write_ptb(tmp_path, **{split: b"(3 (2 good) (2 one))\n\n" + line + b"\n(1 one)\n"})
    with pytest.raises(ValueError, match=r"^dataset.root") as error:
        SST(root=str(folder)).load()
    assert f"{folder / split}.txt, line 3: found" in str(error.value)
    assert message in str(error.value)


def test_sst_names_the_file_that_is_missing_empty_or_unreadable(tmp_path):
    folder = write_ptb(tmp_path / "data")
    for content, split in ((b"", "train"), (b"\n \n", "dev")):
        broken = write_ptb(tmp_path / split, **{split: content})
        with pytest.raises(ValueError, match=rf"^dataset.root: .*{split}.txt has no tree.*fetch"):
            SST(root=str(broken)).load()
    with pytest.raises(ValueError, match=r"^dataset.root: .*test.txt has no tree"):
        SST(root=str(write_ptb(tmp_path / "neutral", test="(2 so)\n")), classes=2).load()
    (folder / "dev.txt").unlink()
    with pytest.raises(ValueError, match=r"^dataset.root: .*data has no dev.txt.*download"):
        SST(root=str(folder)).load()
    (folder / "dev.txt").mkdir()
    with pytest.raises(ValueError, match=r"^dataset.root: .*data has no dev.txt"):
        SST(root=str(folder)).load()
    with pytest.raises(ValueError, match=r"^dataset.root: given .*nowhere, which is not there"):
        SST(root=str(tmp_path / "nowhere")).load()


def test_batches_are_tensors_of_the_right_types(data):
    for layout in layouts(data):
        batch = layout.collate(everything(data, "train")[:4])
        features = torch.float32 if data.task.frame is None else torch.uint8
        assert batch.inputs.dtype == (torch.int64 if data.task.tokens else features)
        expected = torch.float32 if data.task.kind == "regression" else torch.int64
        assert batch.target.dtype == expected
