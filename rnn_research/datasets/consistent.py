"""Whether what is said of all samples at once fits together: the sizes of a task, and samples in arrays."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np

from rnn_research.checks import choice, integer, number
from rnn_research.datasets.task import Kind, Task
from rnn_research.structures import SampleArrays
from rnn_research.structures.layouts import NO_TARGET


def check_task(task: Task) -> None:
    """What a task says of its data fits together.

    Raises:
        ValueError: names what does not.
    """
    choice("task: kind", task.kind, get_args(Kind))
    integer("task: input_size", task.input_size)
    integer("task: output_size", task.output_size)
    if task.tolerance is not None:
        number("task: tolerance", task.tolerance, least=0.0)
    if task.classes is not None and len(task.classes) != task.output_size:
        raise ValueError(f"task: classes: given {len(task.classes)} names, expected one for each of {task.output_size}")
    if twice := [name for name in task.classes or () if task.classes.count(name) > 1]:  # type: ignore[union-attr]
        raise ValueError(f"task: classes: given {twice[0]!r} twice, expected a name of its own for each class")
    if task.class_weights is not None:
        _check_weights(task.class_weights, task)
    if task.characters is not None and len(task.characters) != 3:
        raise ValueError(f"task: characters: given {len(task.characters)} numbers, expected one of train, val and test")
    if task.vectors is not None and (task.vectors.ndim != 2 or len(task.vectors) != task.input_size):
        raise ValueError(
            f"task: vectors: given shape {task.vectors.shape}, expected a row for each of {task.input_size} tokens"
        )


def _check_weights(weights: tuple[float, ...], task: Task) -> None:
    if task.kind != "classification":
        raise ValueError(f"task: class_weights: given for {task.kind}, of whose loss they are no part; leave them out")
    if len(weights) != task.output_size:
        raise ValueError(f"task: class_weights: given {len(weights)}, expected one for each of {task.output_size}")
    for weight in weights:
        number("task: class_weights", weight, least=0.0)
    if not any(weights):
        raise ValueError("task: class_weights: given 0 for every class, which leaves nothing to learn")


def check_arrays(split: str, stack: SampleArrays) -> None:
    """The arrays have as many samples each, lengths lie within them, and nothing stands behind a sample's end.

    Raises:
        ValueError: names the array, or the first sample.
    """
    arrays = {"inputs": stack.inputs, "lengths": stack.lengths, "target": stack.target}
    arrays |= {"step_targets": stack.step_targets, "target_sequence": stack.target_sequence}
    for name, array in arrays.items():
        _check_rows(f"{split}: {name}", name, array, stack.inputs)
    longest = stack.inputs.shape[1]
    if stack.lengths.ndim != 1 or stack.lengths.dtype.kind not in "iu":
        raise ValueError(f"{split}: lengths: given {stack.lengths.dtype}, expected a whole number a sample")
    _name_first(split, (stack.lengths < 1) | (stack.lengths > longest), stack.lengths, "lengths", f"1 to {longest}")
    if stack.step_targets is not None:
        _check_labels(split, stack.step_targets, stack.lengths, longest)
    if stack.target_sequence is not None:
        absent = stack.target_sequence == NO_TARGET
        holes = (absent[:, :-1] & ~absent[:, 1:]).any(1)
        _name_first(split, holes, holes, "target_sequence", f"{NO_TARGET} behind its last class alone", "a gap")


def _check_rows(where: str, name: str, array: Any, inputs: np.ndarray) -> None:
    least = {"inputs": 2, "step_targets": 2, "target_sequence": 2}.get(name, 1)
    if array is None and name in ("step_targets", "target_sequence"):
        return
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{where}: given a {type(array).__name__}, expected a numpy array")
    if array.ndim < least or len(array) != len(inputs):
        raise ValueError(f"{where}: given shape {array.shape}, expected a row for each of {len(inputs)} samples")


def _check_labels(split: str, labels: np.ndarray, lengths: np.ndarray, longest: int) -> None:
    if labels.shape[1:] != (longest,):
        shape = (len(labels), longest)
        raise ValueError(f"{split}: step_targets: given shape {labels.shape}, expected {shape}, as inputs have")
    beyond = ((labels != NO_TARGET) & (np.arange(longest) >= lengths[:, None])).any(1)
    if beyond.any():
        number = int(np.flatnonzero(beyond)[0])
        raise ValueError(
            f"sample {number} of {split}: step_targets: given a label behind its last step, {int(lengths[number])}; "
            f"expected {NO_TARGET} there"
        )


def _name_first(
    split: str, wrong: np.ndarray, values: np.ndarray, name: str, expected: str, given: str | None = None
) -> None:
    if wrong.any():
        number = int(np.flatnonzero(wrong)[0])
        raise ValueError(f"sample {number} of {split}: {name}: given {given or values[number]}, expected {expected}")
