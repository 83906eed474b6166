"""Whether labels of positions stand where there is a position, and are classes: looked at once, before training.

Padding has no label, and a label that is no class is no "none": torch leaves -100 out of a loss, which is then the mean
of fewer labels than are counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnn_research.structures import Sample, Stack
from rnn_research.structures.layout import NO_TARGET


def check_labels(split: str, samples: Sequence[Sample], classes: int) -> None:
    """Look at the labels of every step and node of some samples of a split.

    Raises:
        ValueError: one is no class, or stands where no step or node is: names the sample by its number in its split.
    """
    if isinstance(samples, Stack):
        _check_stack(split, samples, classes)
        return
    for what, of in (("step_targets", "steps"), ("tree_targets", "nodes")):
        given = [(number, sample) for number, sample in enumerate(samples) if getattr(sample, what) is not None]
        labels = [np.asarray(getattr(sample, what)) for _, sample in given]
        for (number, sample), one in zip(given, labels, strict=True):
            count = len(sample.inputs) if what == "step_targets" else len(sample.tree or ())
            if len(one) != count:
                raise ValueError(
                    f"sample {number} of {split}: {what}: given {len(one)} labels, expected one for each of "
                    f"{count} {of} ({NO_TARGET}: none)"
                )
        if labels and len(wrong := _wrong(np.concatenate(labels), classes)):
            place = int(np.searchsorted(np.cumsum([len(one) for one in labels]), wrong[0], side="right"))
            value = np.concatenate(labels)[wrong[0]]
            raise ValueError(f"sample {given[place][0]} of {split}: {what}: {_expected(value, classes)}")


def _check_stack(split: str, stack: Stack, classes: int) -> None:
    labels = stack.step_targets
    if labels is None:
        return
    padding = np.arange(labels.shape[1]) >= np.asarray(stack.lengths)[:, None]
    beyond = (labels != NO_TARGET) & padding
    if beyond.any():
        number = int(np.flatnonzero(beyond.any(1))[0])
        raise ValueError(
            f"sample {number} of {split}: step_targets: given a label behind its last step, "
            f"{int(stack.lengths[number])}; expected {NO_TARGET} there"
        )
    if len(wrong := _wrong(labels.reshape(-1), classes)):
        number, step = divmod(int(wrong[0]), labels.shape[1])
        raise ValueError(f"sample {number} of {split}: step_targets: {_expected(labels[number, step], classes)}")


def _wrong(labels: np.ndarray, classes: int) -> np.ndarray:
    """Where a label is neither a class nor none."""
    return np.flatnonzero((labels != NO_TARGET) & ~((labels >= 0) & (labels < classes)))


def _expected(value: object, classes: int) -> str:
    return f"given {value}, expected a class from 0 to {classes - 1}, or {NO_TARGET} for no label"
