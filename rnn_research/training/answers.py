"""The table of answers: how each sample of the evaluation sets was answered, beside what is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

Columns = dict[str, np.ndarray]
SAID = ("predicted", "true", "correct", "loss")
"""What the model said: the last columns."""


def answers_of(
    name: str, loader: Any, answered: Sequence[Mapping[str, torch.Tensor]], features: Mapping[str, np.ndarray]
) -> Columns:
    """The columns of one set, in the order of its samples: `set`, its features, and what the model said.

    Args:
        loader: whose `batch_sampler` says which samples each batch had.
        answered: of each batch in turn; where the trainer's limits cut the set short, of the first batches.
        features: one number a sample.

    Raises:
        ValueError: a feature has another number of values than the set has samples.
    """
    said = {key: torch.cat([batch[key] for batch in answered]).cpu().numpy() for key in answered[0]}
    served = np.concatenate([np.asarray(batch) for batch in loader.batch_sampler])
    for key, values in features.items():
        if len(values) != len(served):
            raise ValueError(
                f"features: given {len(values)} values of {key} for {name}, expected {len(served)}, one a sample"
            )
    served = served[: len(said["loss"])]
    order = np.argsort(served, kind="stable")
    known = {key: np.asarray(values)[served[order]] for key, values in features.items()}
    return {"set": np.full(len(order), name), **known, **{key: values[order] for key, values in said.items()}}


def together(sets: Sequence[Columns]) -> np.ndarray:
    """The sets one below the other; a feature that only some have is NaN in the others."""
    names = list(dict.fromkeys(name for columns in sets for name in columns))
    names = [*(name for name in names if name not in SAID), *(name for name in SAID if name in names)]
    joined = {name: np.concatenate([_column(columns, name) for columns in sets]) for name in names}
    table = np.empty(len(joined["set"]), [(name, column.dtype) for name, column in joined.items()])
    for name, column in joined.items():
        table[name] = column
    return table


def _column(columns: Columns, name: str) -> np.ndarray:
    return columns[name] if name in columns else np.full(len(columns["set"]), np.nan)
