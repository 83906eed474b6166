"""Whether the samples that a dataset gives are what the contract says: one pass over them, before anything trains.

A sample is named by its number in its split, counted from 0. Values are looked at many samples at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rnn_research.datasets.consistent import check_arrays
from rnn_research.structures import Sample, SampleArrays, Tree
from rnn_research.structures.layouts import END, NO_INPUT, NO_TARGET, least_steps

if TYPE_CHECKING:
    from rnn_research.datasets.task import Task

CHUNK = 1024
"""Samples whose values are looked at together: enough to be quick, few enough to copy."""
WHOLE = frozenset(map(np.dtype, ("int64", "int32")))
REAL = frozenset(map(np.dtype, ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")))
"""What torch takes from numpy, and a model can read."""


@dataclass(frozen=True)
class Values:
    """What one array of a sample must be: of one of `dtypes`, (rows, *`row`), and each value such that `right`."""

    name: str
    dtypes: frozenset[np.dtype[Any]]
    row: tuple[int, ...]
    right: Callable[[np.ndarray], np.ndarray]
    expected: str


def check_samples(split: str, samples: Sequence[Any], task: Task, most: int | None = None) -> None:
    """Check the samples of one split, or its first `most`.

    Raises:
        ValueError: one is not what the task says; names the sample, what it has, and what was expected.
    """
    if isinstance(samples, SampleArrays):
        check_arrays(split, samples)
    count = len(samples) if most is None else min(most, len(samples))
    if not count:
        raise ValueError(f"{split}: holds no sample, expected at least one")
    first = samples[0]
    for start in range(0, count, CHUNK):
        chunk = [samples[number] for number in range(start, min(start + CHUNK, count))]
        names = [f"sample {start + offset} of {split}" for offset in range(len(chunk))]
        for name, sample in zip(names, chunk, strict=True):
            _check_form(name, sample, task, first)
        for values, of in _columns(task, chunk):
            _check_values(names, values, of)


def check_labelled(split: str, samples: Sequence[Sample], task: Task, most: int) -> None:
    """Raise a ValueError where none of the first `most` samples has a label."""
    if (task.step_targets or task.tree_targets) and not any(_labelled(samples[n], task) for n in range(most)):
        raise ValueError(
            f"{split}: no sample has a label, all are {NO_TARGET}; expected some: there is nothing to learn"
        )


def _labelled(sample: Sample, task: Task) -> bool:
    """Whether there is a label to learn from: the sample's own, or one at a step or a node."""
    labels = [
        given
        for expected, given in ((task.step_targets, sample.step_targets), (task.tree_targets, sample.tree_targets))
        if expected and given is not None
    ]
    return not labels or any((np.asarray(given) != NO_TARGET).any() for given in labels)


def _check_form(name: str, sample: Any, task: Task, first: Sample) -> None:
    """Everything but the values."""
    if not isinstance(sample, Sample):
        raise ValueError(f"{name}: given {_shown(sample)}, expected a Sample (rnn_research.structures)")
    steps = _check_array(name, _inputs(task), sample.inputs, first.inputs)
    if steps == 0:
        raise ValueError(f"{name}: inputs: given none, expected at least one step; leave the sample out")
    _check_target(name, sample.target, task, first.target)
    _check_labels(name, "step_targets", sample.step_targets, task, task.step_targets, steps, "steps")
    if task.writes:
        _check_array(name, _written(task), sample.target_sequence, first.target_sequence)
    if task.kind == "transcript":
        _check_room(name, sample)
    if task.has_parse and sample.tree is not None:
        _check_parse(name, sample, task, first)


def _check_room(name: str, sample: Sample) -> None:
    """A transcript needs a step a symbol, and one more between two that are the same."""
    written = np.asarray(sample.target_sequence)
    if not len(written):
        raise ValueError(f"{name}: target_sequence: given no symbol, expected one at least; leave the sample out")
    if (needed := least_steps(written)) > len(sample.inputs):
        raise ValueError(
            f"{name}: target_sequence: given {len(written)} symbols, which need {needed} steps, but it has "
            f"{len(sample.inputs)}; leave the sample out"
        )


def _check_parse(name: str, sample: Sample, task: Task, first: Sample) -> None:
    tree = sample.tree
    if not isinstance(tree, Tree):
        raise ValueError(f"{name}: tree: given {_shown(tree)}, expected a Tree")
    nodes = _check_array(name, _tree_inputs(task), sample.tree_inputs, first.tree_inputs)
    if nodes != len(tree):
        raise ValueError(f"{name}: tree_inputs: given {nodes} rows, expected one for each of the tree's {len(tree)}")
    if (arity := int(tree.arity.max())) > (task.max_children or 0):
        raise ValueError(f"{name}: tree: given a node of {arity} children, but the task's max_children is less")
    _check_labels(name, "tree_targets", sample.tree_targets, task, task.tree_targets, nodes, "nodes")


def without_tree(samples: Sequence[Sample], most: int) -> int | None:
    """The number of the first sample, among the first `most`, that has no tree."""
    return next((number for number in range(most) if samples[number].tree is None), None)


def _check_array(name: str, values: Values, given: Any, first: Any) -> int:
    """The rows of an array that has the right type and shape."""
    if not isinstance(given, np.ndarray):
        repair = f"{values.name}.numpy()" if isinstance(given, torch.Tensor) else f"numpy.array({values.name})"
        raise ValueError(f"{name}: {values.name}: given {_shown(given)}, expected a numpy array; use {repair}")
    if given.dtype not in values.dtypes:
        known = ", ".join(sorted(map(str, values.dtypes)))
        raise ValueError(f"{name}: {values.name}: given {given.dtype}, expected one of {known}")
    if given.ndim != 1 + len(values.row) or given.shape[1:] != values.row:
        shape = ", ".join(("length", *map(str, values.row)))
        comma = "" if values.row else ","
        raise ValueError(f"{name}: {values.name}: given shape {given.shape}, expected ({shape}{comma})")
    if given.dtype != getattr(first, "dtype", given.dtype):
        raise ValueError(f"{name}: {values.name}: given {given.dtype}, but sample 0 has {first.dtype}; give one type")
    return len(given)


def _check_target(name: str, target: Any, task: Task, first: Any) -> None:
    if type(target) is int and task.kind != "regression":
        return
    if isinstance(target, torch.Tensor):
        raise ValueError(f"{name}: target: given a torch.Tensor, expected a number or a numpy array; use .numpy()")
    found = np.asarray(target)
    if task.kind != "regression":
        if found.dtype != np.int64 or found.shape != ():
            shown = f"{_shown(target)} of {found.dtype}"
            raise ValueError(f"{name}: target: given {shown}, expected a class as an int; use int(target)")
        return
    shapes = {(task.output_size,), ()} if task.output_size == 1 else {(task.output_size,)}
    if found.dtype.kind not in "fiu" or found.shape not in shapes:
        raise ValueError(
            f"{name}: target: given {_shown(target)}, expected {task.output_size} number(s), a float32 array"
        )
    if found.shape != np.shape(first):
        raise ValueError(f"{name}: target: given shape {found.shape}, but sample 0 has {np.shape(first)}")


def _check_labels(name: str, what: str, labels: Any, task: Task, expected: bool, count: int, of: str) -> None:
    """Whether there is a label at each place, where the task says that there is."""
    if labels is None and not expected:
        return
    if labels is None:
        raise ValueError(f"{name}: {what}: given none, but the task says {what}=True")
    if task.kind != "regression":
        _check_array(name, Values(what, frozenset([np.dtype("int64")]), (), np.isfinite, ""), labels, None)
    if len(labels) != count:
        raise ValueError(
            f"{name}: {what}: given {len(labels)} labels, expected one for each of {count} {of} ({NO_TARGET}: none)"
        )


def _columns(task: Task, chunk: Sequence[Sample]) -> list[tuple[Values, list[np.ndarray | None]]]:
    """What each array of the samples must hold, and the arrays: None where a sample has none."""
    targets: list[np.ndarray | None] = [np.atleast_1d(np.asarray(sample.target)) for sample in chunk]
    found = [(_inputs(task), _of(chunk, "inputs")), (_tree_inputs(task), _of(chunk, "tree_inputs"))]
    if task.kind == "regression":
        return [*found, (Values("target", REAL, (), np.isfinite, "a finite number"), targets)]
    classes = f"a class from 0 to {task.output_size - 1}"
    found.append((Values("target", WHOLE, (), lambda v: (v >= 0) & (v < task.output_size), classes), targets))
    for name in ("step_targets", "tree_targets"):
        known = Values(name, WHOLE, (), _label(task.output_size), f"{classes}, or {NO_TARGET} for no label")
        found.append((known, _of(chunk, name)))
    if task.writes:
        found.append((_written(task), _of(chunk, "target_sequence")))
    return found


def _of(chunk: Sequence[Sample], name: str) -> list[np.ndarray | None]:
    return [None if name.startswith("tree") and sample.tree is None else getattr(sample, name) for sample in chunk]


def _label(classes: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda values: (values == NO_TARGET) | ((values >= 0) & (values < classes))


def _check_values(names: list[str], values: Values, arrays: list[np.ndarray | None]) -> None:
    of = [np.zeros(0) if one is None else one for one in arrays]
    there = [one for one in of if len(one)]
    if not there:
        return
    joined = np.concatenate(there)
    right = values.right(joined)
    if right.all():
        return
    row, *rest = (int(place) for place in np.argwhere(~right)[0])
    ends = np.cumsum([len(one) for one in of])
    number = int(np.searchsorted(ends, row, side="right"))
    place = row - int(ends[number]) + len(of[number])
    at = f" at {[place, *rest]}" if values.name != "target" else ""
    raise ValueError(f"{names[number]}: {values.name}: given {joined[(row, *rest)]}{at}, expected {values.expected}")


def _written(task: Task) -> Values:
    """What is to be written, without its end."""
    expected = f"a class from {END + 1} to {task.output_size - 1}"
    return Values("target_sequence", WHOLE, (), lambda v: (v > END) & (v < task.output_size), expected)


def _inputs(task: Task) -> Values:
    return _read(task, "inputs", NO_INPUT + 1, f"a token from {NO_INPUT + 1} to {task.input_size - 1}")


def _tree_inputs(task: Task) -> Values:
    return _read(task, "tree_inputs", NO_INPUT, f"a token from 1 to {task.input_size - 1}, or {NO_INPUT} for none")


def _read(task: Task, name: str, least: int, expected: str) -> Values:
    """What a model reads: tokens from `least`, or numbers."""
    if not task.tokens:
        return Values(name, REAL, (task.input_size,), np.isfinite, "a finite number")
    return Values(name, WHOLE, (), lambda values: (values >= least) & (values < task.input_size), expected)


def _shown(value: Any) -> str:
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 20 else f"a {name}"


def _read_as(sample: Sample, trees: bool) -> bytes:
    """A digest of what a model reads of a sample: equal numbers give one, whatever their type."""
    digest = hashlib.blake2b(digest_size=16)
    parts = (sample.tree_inputs, sample.tree.arity) if trees and sample.tree is not None else ()
    for values in (sample.inputs, *parts):
        array = np.ascontiguousarray(values)
        if array.dtype.kind == "f":
            array = array.astype(np.float64) + 0.0  # -0.0 is 0.0
        array = array.astype(np.int64) if array.dtype.kind in "iub" else array
        digest.update(f"{array.dtype.kind}{array.shape}".encode() + array.tobytes())
    return digest.digest()


def check_disjoint(sets: Mapping[str, Sequence[Sample]], most: Mapping[str, int], trees: bool = False) -> str:
    """What to say of the first sample that is in two sets by its inputs; empty where there is none.

    No sample of train is in another set, and none of val in test. Of each set the first `most` are read. With `trees` a
    sample's tree is one of its inputs.
    """
    seen: dict[bytes, tuple[str, int]] = {}
    for name in ("train", "val", *(name for name in sets if name not in ("train", "val"))):
        for number in range(most[name]):
            key = _read_as(sets[name][number], trees)
            where, before = seen.setdefault(key, (name, number)) if name in ("train", "val") else seen.get(key, ("", 0))
            apart = where == "train" or (where == "val" and name == "test")
            if apart and where != name:
                return f"sample {number} of {name}: its inputs are those of sample {before} of {where}"
    return ""
