"""The metrics of items that come one after another: those that a run's record has of its test set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnn_research.structures import Batch
from rnn_research.structures.layouts import NO_TARGET


@dataclass(frozen=True, eq=False)
class ScoredItem:
    """How an item was answered whose label is known.

    Attributes:
        losses: of each of its labels, in nats (of a regression the squared error), float64: one, or where the model
            learns from labelled positions one each.
        answer: the prediction of its class and the class, (1,) each.
        positions: the prediction and the class at each labelled position; None: the model does not learn from them.
    """

    losses: Tensor
    answer: tuple[Tensor, Tensor]
    positions: tuple[Tensor, Tensor] | None = None

    @property
    def loss(self) -> float:
        """The mean over its labels; 0 where it has none."""
        return float(self.losses.sum() / max(len(self.losses), 1))


def scored_items(model: Any, batch: Batch, answers: Tensor, labelled: tuple[Tensor, Tensor] | None) -> list[ScoredItem]:
    """How a `Model` answered to each item of a batch, as its architecture's `answers` and `labelled` gave it."""
    objective = model.objective
    target, said = objective.aligned(batch.target, answers), objective.predictions(answers)
    pairs = list(zip(said.split(1), target.split(1), strict=True))
    if labelled is None:
        losses = objective.losses(answers, target).split(1)
        return [ScoredItem(loss, pair) for loss, pair in zip(losses, pairs, strict=True)]
    outputs, targets = labelled
    assert batch.position_targets is not None
    sample = batch.structure.sample[batch.position_targets != NO_TARGET]
    losses, found = objective.losses(outputs, targets), objective.predictions(outputs)
    places = [sample == number for number in range(len(batch))]
    return [ScoredItem(losses[at], pair, (found[at], targets[at])) for at, pair in zip(places, pairs, strict=True)]


class Score:
    """Counts items, as the evaluation of a run counts its test set.

    Args:
        model: whose metrics they are.
    """

    def __init__(self, model: Any) -> None:
        self._metrics = model.running_metrics("test")
        self.items = 0

    def add(self, item: ScoredItem) -> None:
        """Count one more."""
        self.items += 1
        labels = len(item.losses)
        positions = item.positions if labels else None
        self._metrics.add(torch.tensor(item.loss, dtype=torch.float64), labels, item.answer, positions)

    def measured(self) -> dict[str, float]:
        """The loss and the metrics by the names that a record has them under, without the set's; empty where nothing
        was counted."""
        return self._metrics.measured() if self.items else {}
