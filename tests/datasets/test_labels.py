"""Labels stand where there is a step or a node, and are classes: said before training, with the sample's number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small import STEPS, TREES, Given, model_of, run, sentences, sequences

from rnn_research.datasets.streams import SampleStream
from rnn_research.structures import SampleArrays
from rnn_research.structures.layouts import ParseTreeLayout


@pytest.mark.parametrize("split", ["train", "val", "test", "longer"])
@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (lambda one: np.append(one, 1), "given {more} labels, expected one for each of {length} steps"),
        (lambda one: one[:-1], "given {less} labels, expected one for each of {length} steps"),
        (lambda one: np.full_like(one, -100), r"given -100 at \[0\], expected a class from 0 to 2, or -1 for no label"),
        (lambda one: np.full_like(one, 3), r"given 3 at \[0\], expected a class from 0 to 2"),
    ],
)
def test_step_labels_fit_the_steps_and_the_classes(split: str, labels, said: str, tmp_path: Path) -> None:
    sets = {name: sequences(6, seed=seed, steps=True) for seed, name in enumerate(("train", "val", "test", "longer"))}
    sample = sets[split][4]
    sets[split][4] = replace(sample, step_targets=labels(sample.step_targets))
    length = len(sample.inputs)
    expected = said.format(length=length, more=length + 1, less=length - 1)
    with pytest.raises(ValueError, match=f"sample 4 of {split}: step_targets: {expected}"):
        run(data := Given(STEPS, sets), model_of(data), tmp_path / "run", max_steps=1)
    assert not (tmp_path / "run").exists()


def test_node_labels_fit_the_nodes_and_the_classes() -> None:
    for labels, said in (
        (lambda one: np.append(one, 1), "expected one for each of .* nodes"),
        (lambda one: np.full_like(one, -100), r"given -100 at \[0\], expected a class"),
    ):
        samples = sentences(5)
        samples[3] = replace(samples[3], tree_targets=labels(samples[3].tree_targets))
        with pytest.raises(ValueError, match=f"sample 3 of train: tree_targets: .*{said}"):
            Given(TREES, samples, ParseTreeLayout()).task  # noqa: B018


@pytest.mark.parametrize("generated", [False, True])
def test_padding_of_a_stack_has_no_label(generated: bool) -> None:
    stack = SampleArrays.of(sequences(6, (3, 8), steps=True))
    assert stack.step_targets is not None
    short = int(np.argmin(stack.lengths))

    def data(labels: np.ndarray) -> Given:
        wrong = replace(stack, step_targets=labels)
        made = SampleStream(lambda random, count: wrong, 6, 0, "train") if generated else wrong
        return Given(STEPS, {"train": made, "val": stack, "test": stack})

    assert data(stack.step_targets).task is STEPS
    for value, said in ((1, "given a label behind its last step"), (-100, "given a label behind its last step")):
        labels = stack.step_targets.copy()
        labels[short, -1] = value
        with pytest.raises(ValueError, match=f"sample {short} of train: step_targets: {said}"):
            data(labels).task  # noqa: B018
    labels = stack.step_targets.copy()
    labels[short, 0] = -100
    with pytest.raises(ValueError, match=f"sample {short} of train: step_targets: given -100"):
        data(labels).task  # noqa: B018
