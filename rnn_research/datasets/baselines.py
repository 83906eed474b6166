"""What the best answer reaches that does not look at the input: fitted on train, measured on val and test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np

from rnn_research.structures import Layout, Sample
from rnn_research.structures.layouts import END, NO_TARGET

MOST = 10_000
"""Samples of a split that are read."""


def majority_baseline(targets: Mapping[str, np.ndarray], metric: str) -> dict[str, float]:
    """Return the accuracy on val and test of always answering what is most frequent in train.

    Empty where train has no label; a split without labels is left out.
    """
    if not len(targets["train"]):
        return {}
    answer = np.bincount(targets["train"]).argmax()
    present = [split for split in ("val", "test") if len(targets[split])]
    return {f"{split}_{metric}": float((targets[split] == answer).mean()) for split in present}


def mean_baseline(targets: Mapping[str, np.ndarray], tolerance: float | None) -> dict[str, float]:
    """Return the mean squared error on val and test of always answering train's mean; with a tolerance also the share
    of targets within it of the mean."""
    found, mean = {}, targets["train"].mean(axis=0)
    for split in ("val", "test"):
        errors = targets[split] - mean
        found[f"{split}_mse"] = float((errors**2).mean())
        if tolerance is not None:
            within = np.abs(errors.reshape(len(errors), -1)) <= tolerance
            found[f"{split}_accuracy"] = float(within.all(1).mean())
    return found


def targets_of(samples: Sequence[Sample]) -> np.ndarray:
    """Return the targets of the first samples, `MOST` of them."""
    return np.asarray([samples[index].target for index in range(min(len(samples), MOST))])


def sequences_of(samples: Sequence[Sample]) -> Iterator[np.ndarray]:
    """Yield each sample's target sequence, without its end."""
    for index in range(len(samples)):
        written = samples[index].target_sequence
        assert written is not None
        yield written


def written_tokens(samples: Sequence[Sample]) -> np.ndarray:
    """Return all classes that are to be written, each sequence's end among them, of the first samples, `MOST` of
    them."""
    found = list(islice(sequences_of(samples), MOST))
    return np.concatenate([*found, np.full(len(found), END)])


def position_labels(samples: Sequence[Sample], layout: Layout) -> np.ndarray:
    """Return the labels of all positions that have one, of the first samples, `MOST` of them."""
    batch = layout.collate([samples[index] for index in range(min(len(samples), MOST))])
    assert batch.position_targets is not None
    labels = batch.position_targets.numpy()
    return labels[labels != NO_TARGET]
