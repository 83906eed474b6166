"""Metrics of the validation set that decide how training goes on."""

from __future__ import annotations

from rnn_research.checks import choice
from rnn_research.models.model import Model


def check_watched(model: Model) -> None:
    """Every metric that is looked at is one that a validation measures.

    Raises:
        ValueError: names the key, and what is measured.
    """
    if model.scheduler.metric is not None:
        choice("scheduler.metric", model.scheduler.metric, model.tallies["val_"].names)
