"""Whether a run may go on from another's checkpoint: it has to be one of the same training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Trainer

from rnn_research.datasets.base import DataModule
from rnn_research.models.model import Model
from rnn_research.records import runs
from rnn_research.records.canonical import canonical
from rnn_research.records.identity import may_differ, values_of
from rnn_research.records.version1 import renamed

if TYPE_CHECKING:
    from rnn_research.training.resume import ResumedRun


class ResumeError(ValueError):
    """A run that can't be trained on from: the message says what was given, what was expected, and the repair."""


class NoCheckpoint(ResumeError):
    """There is no checkpoint, or it is damaged: one written before it may be whole."""


def check_limits(earlier: ResumedRun, trainer: Trainer, spans_run: bool = False) -> None:
    """Whether the limits leave something to train, or the run was stopped between its last step and its end.

    Args:
        spans_run: the learning rate's schedule goes over the whole run, so that it must have the same limits.

    Raises:
        ResumeError: they don't, or have to be the same and are not.
    """
    for name, before in earlier.limits.items() if spans_run else ():
        if (given := getattr(trainer, name)) != before:
            raise ResumeError(
                f"resume: given trainer.{name}={given}, but {earlier.folder} has {before}, and its scheduler goes over "
                "the run's steps; give the same, or start both with scheduler.steps=N"
            )
    steps, epochs, over = trainer.max_steps, trainer.max_epochs, earlier.record.status == "done"
    if steps not in (None, -1) and steps < earlier.place.step + over:
        raise ResumeError(
            f"resume: given {earlier.folder}, which is at step {earlier.place.step}, and trainer.max_steps={steps}; "
            "expected more steps than that"
        )
    if epochs not in (None, -1) and epochs < earlier.next[0] + over:
        raise ResumeError(
            f"resume: given {earlier.folder}, which has {earlier.next[0]} epochs behind it, and trainer.max_epochs="
            f"{epochs}; expected more epochs than that (or trainer.max_epochs=-1 trainer.max_steps=N)"
        )


def check_config(folder: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Refuse another value of a key that makes the training what it is.

    A run without a config, from a notebook, is told from others by its facts alone.
    """
    if not theirs or not ours:
        return
    before, now = (values_of(renamed(runs.plain(dict(config)))) for config in (theirs, ours))
    for key in dict.fromkeys((*now, *before)):
        both = key in now and key in before
        if may_differ(key) or (both and canonical(now[key], key) == canonical(before[key], key)):
            continue
        given, expected = (f"{key}={values[key]}" if key in values else f"no {key}" for values in (now, before))
        raise ResumeError(f"resume: given {given}, but {folder} has {expected}; give the same")


def check_record(folder: Path, record: runs.RunRecord, data: DataModule, seed: int) -> None:
    """The same seed and data."""
    if seed != record.seed:
        raise ResumeError(f"resume: given seed={seed}, but {folder} has seed={record.seed}; give the same")
    found = {"name": type(data).__name__, "fingerprint": data.fingerprint}
    if any(record.data.get(key) != value for key, value in found.items()):
        said = [f"{one.get('name')} with fingerprint {one.get('fingerprint')}" for one in (found, record.data)]
        raise ResumeError(f"resume: given data {said[0]}, but {folder} has {said[1]}; give the same data")


def check_facts(folder: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    for key, given in ours.items():
        if theirs.get(key) != given:
            raise ResumeError(f"resume: given {key} {given}, but {folder} has {theirs.get(key)}; give the same")


def check_weights(path: Path, weights: Mapping[str, torch.Tensor], model: Model) -> None:
    """Every parameter has its shape; a buffer, such as a clipping strategy's memory, may have grown."""
    buffers = {name for name, _ in model.named_buffers()}
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    for name in (*expected, *found):
        if expected.get(name) != found.get(name) and not (name in buffers and name in found):
            here, there = (shapes.get(name, "none") for shapes in (expected, found))
            raise ResumeError(
                f"resume: given a model whose {name} has shape {here}, but {path} has {there}; give the same model"
            )
