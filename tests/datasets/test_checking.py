"""One's own data: what is wrong with a sample is said before training, with its number in its split."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import rnn_train
from small import SEQUENCES, STEPS, TREES, Given, model_of, run, sentences, sequences

from rnn_research.cells import ChildSumTreeLSTM
from rnn_research.datasets.streams import SampleStream
from rnn_research.datasets.task import Task
from rnn_research.structures import Sample, SampleArrays, Tree
from rnn_research.structures.layouts import ParseTreeLayout

NUMBERS = Task("regression", input_size=2, output_size=1)


def _with(make: Callable[[Sample], Any], samples: list[Sample], split: str = "val") -> dict[str, list[Any]]:
    """Sample 5 of a split is another."""
    changed = [make(sample) if number == 5 else sample for number, sample in enumerate(samples)]
    return {"train": samples, "val": samples, "test": samples} | {split: changed}


def _chain(**changes: Callable[[Sample], Any]) -> Callable[[Sample], Sample]:
    """Set behind the back of the tests' type checks, which a user's program has not."""

    def changed(sample: Sample) -> Sample:
        other = copy.copy(sample)
        for name, change in changes.items():
            object.__setattr__(other, name, change(sample))
        return other

    return changed


def _holed(value: float) -> Callable[[Sample], Any]:
    return lambda sample: np.concatenate([sample.inputs[:-1], np.full((1, 2), value, dtype=np.float32)])


WRONG: dict[str, tuple[Callable[[Sample], Any], str]] = {
    "a torch tensor": (_chain(inputs=lambda s: torch.from_numpy(s.inputs)), r"inputs: given .*Tensor.*\.numpy\(\)"),
    "a list of lists": (_chain(inputs=lambda s: s.inputs.tolist()), "inputs: given a list, expected a numpy array"),
    "an int32 class": (_chain(target=lambda s: np.int32(1)), r"target: .*int32.*use int\(target\)"),
    "a float class": (_chain(target=lambda s: 1.0), r"target: given 1\.0 of float64"),
    "a class as a tensor": (_chain(target=lambda s: torch.tensor(1)), "target: given a torch.Tensor"),
    "a class out of range": (_chain(target=lambda s: 3), "target: given 3, expected a class from 0 to 2"),
    "a negative class": (_chain(target=lambda s: -100), "target: given -100, expected a class from 0 to 2"),
    "an empty sample": (_chain(inputs=lambda s: s.inputs[:0]), "inputs: given none"),
    "NaN": (_chain(inputs=_holed(np.nan)), r"inputs: given nan at \[\d+, 0\], expected a finite number"),
    "infinity": (_chain(inputs=_holed(-np.inf)), "inputs: given -inf"),
    "other features": (_chain(inputs=lambda s: s.inputs[:, :1]), r"given shape \(\d, 1\), expected \(length, 2\)"),
    "another type": (_chain(inputs=lambda s: s.inputs.astype(np.float64)), "float64, but sample 0 has float32"),
    "complex numbers": (_chain(inputs=lambda s: s.inputs.astype(complex)), "given complex128, expected one of"),
    "the other byte order": (_chain(inputs=lambda s: s.inputs.astype(">f4")), "given >f4"),
    "no sample": (lambda sample: (sample.inputs, sample.target), "given a tuple, expected a Sample"),
    "labels": (_chain(step_targets=lambda s: np.zeros(9, int)), r"step_targets: given 9 labels, .* each of \d steps"),
}


@pytest.mark.parametrize("split", ["train", "length_9"])
@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_sample_is_named_by_its_number_in_its_split(case: str, split: str) -> None:
    make, message = WRONG[case]
    with pytest.raises(ValueError, match=rf"^sample 5 of {split}: .*{message}") as error:
        Given(SEQUENCES, _with(make, sequences(9), split)).task  # noqa: B018
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (lambda s: np.zeros(len(s.inputs) + 2, int), r"given \d labels, expected one for each of \d steps"),
        (lambda s: np.full(len(s.inputs), -100), r"given -100 at \[0\], expected a class from 0 to 2, or -1"),
        (lambda s: np.full(len(s.inputs), 3), "given 3"),
        (lambda s: np.zeros(len(s.inputs), np.int32), "given int32, expected one of int64"),
        (lambda s: None, "given none, but the task says step_targets=True"),
    ],
)
def test_labels_of_steps(labels: Callable[[Sample], Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^sample 5 of val: step_targets: {message}"):
        Given(STEPS, _with(_chain(step_targets=labels), sequences(9, steps=True))).task  # noqa: B018


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": lambda s: s.inputs + 6}, r"inputs: given \d+ at \[0\], expected a token from 1 to 6"),
        ({"inputs": lambda s: s.inputs * 0}, "inputs: given 0"),
        ({"inputs": lambda s: s.inputs.astype(float)}, "inputs: given float64"),
        ({"tree_inputs": lambda s: s.tree_inputs - 7}, r"tree_inputs: given -\d"),
        ({"tree_inputs": lambda s: s.tree_inputs[1:]}, r"tree_inputs: given \d rows, expected one for each"),
        ({"tree_targets": lambda s: s.tree_targets + 9}, r"tree_targets: given \d+ at \[0\]"),
        ({"tree": lambda s: s.tree.parent}, "tree: given .*, expected a Tree"),
    ],
)
def test_trees(changes: dict[str, Any], message: str) -> None:
    samples = [one for one in sentences(30) if len(one.tree) > 2][:9]  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"^sample 5 of val: {message}"):
        Given(TREES, _with(_chain(**changes), samples)).task  # noqa: B018
    assert Given(TREES, samples).task is TREES


@pytest.mark.parametrize(
    ("target", "message"),
    [(np.nan, "given nan"), ([1.0, 2.0], "expected 1 number"), ("x", "expected 1 number"), ([1.0], "but sample 0")],
)
def test_numbers_to_answer_with(target: Any, message: str) -> None:
    samples = [replace(sample, target=0.5) for sample in sequences(9)]
    with pytest.raises(ValueError, match=f"^sample 5 of val: target: .*{message}"):
        Given(NUMBERS, _with(_chain(target=lambda s: target), samples)).task  # noqa: B018


def test_a_split_that_is_missing_or_empty() -> None:
    samples = sequences(9)
    for sets, message in (
        ({"train": samples, "val": samples}, "load: gives no test, expected samples of train, val, test"),
        ({"train": samples, "val": samples, "test": []}, "test: holds no sample"),
    ):
        with pytest.raises(ValueError, match=message):
            Given(SEQUENCES, sets).task  # noqa: B018


SPLITLESS = """
from rnn_research.datasets.base import DataModule
from rnn_research.datasets.task import Task
import numpy as np
from rnn_research.structures import Sample

class Mine(DataModule):
    def __init__(self, case, batch_size=4):
        super().__init__(batch_size)
        self.case = case

    def load(self):
        sets = {
            name: [Sample(np.full((4, 2), 9.0 * a + b, dtype=np.float32), b % 3) for b in range(9)]
            for a, name in enumerate(("train", "val", "test"))
        }
        wrong = {"no test": {"test": None}, "no train": {"train": None}, "no list": {"val": iter(())}}
        sets = {name: one for name, one in (sets | wrong.get(self.case, {})).items() if one is not None}
        return Task("kind" if self.case == "a kind" else "classification", input_size=2, output_size=3), sets
"""


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("no test", "gives no test, expected samples of train, val, test"),
        ("no train", "gives no train, expected samples"),
        ("no list", "val: given a list_iterator, expected a sequence; use list(...)"),
        ("a kind", "kind: given 'kind', expected one of"),
    ],
)
def test_what_was_loaded_is_looked_at_before_any_estimate(
    case: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own" / "dataset").mkdir(parents=True)
    (tmp_path / "own" / "splitless.py").write_text(SPLITLESS.replace("iter(())", "iter([])"))
    (tmp_path / "own" / "dataset" / "mine.yaml").write_text(f"_target_: splitless.Mine\ncase: {case}\n")
    ended = rnn_train("--config-dir", "own", "dataset=mine", "model.cell.hidden_size=4", "trainer.max_steps=1")
    assert (ended.code, ended.err.count("\n")) == (2, 1), ended.err
    assert said in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


def test_data_that_fit_are_taken_in_any_memory_layout() -> None:
    odd = [replace(s, inputs=np.asfortranarray(np.repeat(s.inputs, 2, 0)[::-2])) for s in sequences(9)]
    double = [replace(s, inputs=s.inputs.astype(np.float64), target=np.int64(1)) for s in sequences(9)]
    for samples in (odd, double, SampleArrays.of(sequences(9))):
        data = Given(SEQUENCES, samples)  # type: ignore[arg-type]
        assert len(next(iter(data.train_dataloader()))) == 4


def test_of_generated_samples_the_first_block_is_read() -> None:
    drawn: list[int] = []

    def make(random: np.random.Generator, count: int) -> list[Sample]:
        drawn.append(count)
        return [replace(sample, target=7) for sample in sequences(count)]

    with pytest.raises(ValueError, match=r"^sample 0 of train: target: given 7"):
        Given(SEQUENCES, {name: SampleStream(make, 10**6, 0, name) for name in ("train", "val", "test")}).task  # noqa: B018
    assert len(drawn) < 9  # the type checks of tests draw some too


def test_a_sample_in_two_splits_is_named() -> None:
    train, val, test, more = (sequences(6, seed=seed) for seed in range(4))
    sets = {"train": train, "val": val, "test": test, "more": more}
    assert Given(SEQUENCES, sets).shared() == ""
    assert Given(SEQUENCES, sets | {"more": [*more, test[0]]}).shared() == ""  # those of test may come again
    for split, among, index in (("val", "train", 2), ("test", "train", 3), ("test", "val", 4), ("more", "train", 0)):
        found = Given(SEQUENCES, sets | {split: [*sets[split], sets[among][index]]}).shared()
        assert found == f"sample 6 of {split}: its inputs are those of sample {index} of {among}"


@pytest.mark.parametrize(
    "made", [lambda x: x.astype(np.float64), lambda x: np.where(x == 0, -0.0, x), np.asfortranarray]
)
def test_equal_numbers_are_one_sample_whatever_their_type(made: Callable[[np.ndarray], np.ndarray]) -> None:
    train, val, test = (sequences(6, seed=seed) for seed in range(3))
    train[2].inputs[0, 0] = 0.0
    val = [replace(sample, inputs=made(sample.inputs)) for sample in (*val, train[2])]
    assert "sample 6 of val" in Given(SEQUENCES, {"train": train, "val": val, "test": test}).shared()


def test_two_parses_of_the_same_words_are_two_samples_where_parses_are_read() -> None:
    """And one where the words alone are."""
    words = np.array([1, 2, 3])
    left, right = (Tree.of(parent)[0] for parent in ([-1, 0, 0, 1, 1], [-1, 0, 0, 2, 2]))
    one, other = (
        Sample(words, 0, tree=tree, tree_inputs=np.array(read), tree_targets=np.zeros(5, dtype=np.int64))
        for tree, read in ((left, [0, 0, 3, 1, 2]), (right, [0, 1, 0, 2, 3]))
    )
    more = sentences(4)
    sets = {"train": [one, *more[:1]], "val": [other, *more[1:2]], "test": more[2:]}
    assert Given(TREES, sets, ParseTreeLayout()).shared() == ""
    assert "sample 0 of val" in Given(TREES, sets).shared()
    again = {**sets, "val": [one]}
    assert "sample 0 of val" in Given(TREES, again, ParseTreeLayout()).shared()


MINE = """
import numpy as np
from rnn_research.datasets.base import DataModule
from rnn_research.datasets.task import Task
from rnn_research.structures import Sample


class Mine(DataModule):
    overlaps = {overlaps}

    def load(self):
        random = np.random.default_rng(0)
        sets = {{}}
        for split in ("train", "val", "test"):
            inputs = random.normal(size=(8, 3, 2)).astype(np.float32)
            sets[split] = [Sample(one, number % 2) for number, one in enumerate(inputs)]
        sets["val"][4] = {fourth}
        return Task("classification", 2, 2), sets
"""


def test_a_split_without_a_label_is_named() -> None:
    unlabelled = [replace(one, step_targets=np.full(len(one.inputs), -1)) for one in sequences(4, steps=True)]
    sets = {"train": sequences(4, steps=True), "val": sequences(4, steps=True), "test": unlabelled}
    Given(STEPS, sets).check_labelled()
    for split in ("train", "val"):
        with pytest.raises(ValueError, match=rf"^{split}: no sample has a label, all are -1"):
            Given(STEPS, sets | {split: unlabelled}).check_labelled()


@pytest.mark.parametrize(
    ("fourth", "line"),
    [
        ("Sample(inputs[0], 2)", "dataset: sample 4 of val: target: given 2, expected a class from 0 to 1"),
        ('sets["train"][1]', "dataset: sample 4 of val: its inputs are those of sample 1 of train; leave it out"),
        (
            "Sample(inputs[0], 0)\n        return {}",
            "dataset.load: given dict, expected a Task and a mapping of samples",
        ),
        (
            "Sample(inputs[0], 0)\n        return Task('classification', 2, 2), [1]",
            "dataset.load: given Task, list, expected a Task and a mapping of samples",
        ),
        (
            "Sample(inputs[0], 0)\n        sets['val'] = (one for one in sets['val'])",
            "dataset.val: given a generator, expected a sequence; use list(...)",
        ),
        (
            "0\n        return made(sets)\n\n    def __init__(self, **_):\n        pass\n\n\ndef made(sets):",
            "dataset.Mine: its __init__ does not call super().__init__(...)",
        ),
    ],
)
def test_the_command_says_so_in_one_line(
    fourth: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"checked_{abs(hash(fourth))}"
    (tmp_path / "own" / "dataset").mkdir(parents=True)
    (tmp_path / "own" / "dataset" / "mine.yaml").write_text(f"# mine\n_target_: {name}.Mine\n")
    (tmp_path / "own" / f"{name}.py").write_text(MINE.format(fourth=fourth, overlaps=False))
    ended = rnn_train("--config-dir", "own", "dataset=mine", "trainer.max_steps=1", "hydra.run.dir=run")
    assert ended.code == 2
    assert ended.err.startswith(f"rnn-train: {line}")
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_data_that_share_samples_on_purpose_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own" / "dataset").mkdir(parents=True)
    (tmp_path / "own" / "dataset" / "mine.yaml").write_text("# mine\n_target_: on_purpose.Mine\n")
    (tmp_path / "own" / "on_purpose.py").write_text(MINE.format(fourth='sets["train"][1]', overlaps=True))
    ended = rnn_train("--config-dir", "own", "dataset=mine", "trainer.max_steps=1", "hydra.run.dir=run")
    assert ended.code == 0, ended.err
    assert "sample 4 of val: its inputs are those of sample 1 of train" in (tmp_path / "run" / "run.log").read_text()


# What is said of all samples at once.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "class"}, "task: kind: given 'class', expected one of classification, regression"),
        ({"output_size": 3.0}, r"task: output_size: given 3\.0, expected an integer >= 1"),
        ({"input_size": 0}, "task: input_size: given 0, expected an integer >= 1"),
        ({"tolerance": -1.0}, r"task: tolerance: given -1\.0, expected a number >= 0"),
        ({"classes": ("a", "b", "a")}, "task: classes: given 'a' twice, expected a name of its own for each class"),
        ({"classes": ("a", "b")}, "task: classes: given 2 names, expected one for each of 3"),
        ({"class_weights": (1.0, 2.0)}, "task: class_weights: given 2, expected one for each of 3"),
        ({"class_weights": (1.0, 2.0, np.nan)}, "task: class_weights: given nan, expected a number >= 0"),
        ({"class_weights": (0.0, 0.0, 0.0)}, "task: class_weights: given 0 for every class"),
        (
            {"class_weights": (1.0,) * 3, "kind": "sequence"},
            "class_weights: given for sequence, of whose loss",
        ),
        ({"characters": (1.0, 2.0)}, "task: characters: given 2 numbers, expected one of train, val and test"),
        ({"vectors": np.zeros((3, 4))}, r"task: vectors: given shape \(3, 4\), expected a row for each of 2 tokens"),
    ],
)
def test_a_task_that_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Given(replace(SEQUENCES, **changes), sequences(3)).task  # noqa: B018


WRITTEN = Task("sequence", input_size=2, output_size=4)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "lengths",
            lambda a: np.where(np.arange(6) == 2, 9, a),
            "sample 2 of train: lengths: given 9, expected 1 to",
        ),
        ("lengths", lambda a: a * 0, "sample 0 of train: lengths: given 0, expected 1 to 5"),
        ("lengths", lambda a: a * 1.0, "train: lengths: given float64, expected a whole number a sample"),
        ("inputs", lambda a: a.tolist(), "train: inputs: given a list, expected a numpy array"),
        ("target", lambda a: a[:4], r"train: target: given shape \(4,\), expected a row for each of 6 samples"),
        ("step_targets", lambda a: a[:, :2], r"train: step_targets: given shape \(6, 2\), expected \(6, 5\)"),
        ("target_sequence", lambda a: a[:, 0], r"target_sequence: given shape \(6,\), expected a row for each"),
        (
            "target_sequence",
            lambda a: np.where(np.arange(3) == 1, -1, a),
            "sample 0 of train: .*: given a gap",
        ),
    ],
)
def test_arrays_of_samples_fit_each_other(name: str, change: Callable[[Any], Any], message: str) -> None:
    """What lies before a gap was written, and the end took the place of what lies behind."""
    written = np.array([1, 2, 3])
    stack = copy.copy(
        SampleArrays.of([replace(one, target_sequence=written) for one in sequences(6, (5, 5), steps=True)])
    )
    object.__setattr__(stack, name, change(getattr(stack, name)))
    task = WRITTEN if name == "target_sequence" else STEPS
    with pytest.raises(ValueError, match=message):
        Given(task, {"train": stack, "val": sequences(3), "test": sequences(3)}).task  # noqa: B018


def test_a_sample_without_its_tree_is_named_before_training(tmp_path: Path) -> None:
    samples = sentences(6)
    samples[2] = replace(samples[2], tree=None)
    data = Given(TREES, samples, ParseTreeLayout())
    with pytest.raises(ValueError, match=r"^sample 2 of train has no tree"):
        run(data, model_of(data, ChildSumTreeLSTM), tmp_path / "run")
    assert not (tmp_path / "run").exists()
