"""What a batch's answers are worth: sample by sample, or, of a model that answers at every step, step by step."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from rnn_research.models.objective import Objective
from rnn_research.models.transcripts import TranscriptLosses
from rnn_research.structures import Batch, Chain, Forest
from rnn_research.structures.layouts import NO_TARGET
from rnn_research.unroll import Unrolled


class StepLosses:
    """The loss of each labelled step of a batch.

    Args:
        batch: whose labels they are: those of its positions, or of the sequences that are to be written.
        objective: compares.
        outputs: (labels, classes), in the order of the batch's labelled steps.
        targets: (labels,).
    """

    def __init__(self, batch: Batch, objective: Objective, outputs: Tensor, targets: Tensor) -> None:
        self.batch, self.targets = batch, targets
        self.losses = objective.losses(outputs, targets)
        self.predictions = objective.predictions(outputs)
        self.labels = len(targets)
        self.mean = self.losses.sum() / max(self.labels, 1)  # 0 where the batch has no label

    @property
    def _structure(self) -> Chain | Forest:
        return self.batch.structure if self.batch.target_sequence is None else self.batch.target_chain

    @cached_property
    def _labelled(self) -> Tensor:
        batch = self.batch
        labels = batch.position_targets if batch.target_sequence is None else batch.target_sequence
        assert labels is not None
        return labels != NO_TARGET

    @property
    def terminal(self) -> Tensor:
        """The summed loss of the last steps alone."""
        return self.losses[self._structure.distance[self._labelled] == 0].sum()

    def compared(self, split: str) -> tuple[Tensor, Tensor]:
        """What the split's metrics of positions are given: predictions and targets."""
        return self.predictions, self.targets

    def whole(self) -> tuple[Tensor, Tensor] | None:
        """Of sequences that are to be written, whether each is right from its first token to its end, beside what it
        should be, as 0 and 1; None of others."""
        if self.batch.target_sequence is None:
            return None
        wrong = self._summed((self.predictions != self.targets).double())
        right = (wrong == 0).long()
        return right, torch.ones_like(right)

    @torch.no_grad()
    def of_samples(self) -> dict[str, Tensor]:
        """Each sequence's mean `loss`, in float64; and whether one that was to be written is `correct` as a whole."""
        whole = self.whole()
        found = {} if whole is None else {"correct": whole[0].bool()}
        return found | {"loss": self._summed(self.losses.detach().double()) / self._summed(None)}

    def _summed(self, values: Tensor | None) -> Tensor:
        """The sum of a value a label over each sample, float64; of None how many it has."""
        sample = self._structure.sample[self._labelled]
        if values is None:
            return torch.bincount(sample, minlength=len(self.batch))
        return torch.zeros(len(self.batch), dtype=torch.float64, device=sample.device).index_add(0, sample, values)


def count_steps(model: Any, batch: Batch, unrolled: Unrolled, split: str) -> StepLosses | TranscriptLosses:
    """What the outputs at all steps are worth, counted in the split's metrics: a `Model` reads them out once."""
    steps: StepLosses | TranscriptLosses = model.architecture.losses(model, batch, unrolled)
    model.tallies[f"{split}_"].add(steps.mean.detach(), steps.labels, steps.whole(), steps.compared(split))
    return steps


def count_samples(model: Any, batch: Batch, unrolled: Unrolled, split: str) -> tuple[Tensor, int, Tensor | None]:
    """The mean loss of a `Model` that answers to samples, the number of labels it is the mean of, and the summed loss
    of the answers where that is not all of it. Counts the batch in the split's metrics."""
    objective, answers = model.objective, model.architecture.answers(model, batch, unrolled)
    target, labelled = objective.aligned(batch.target, answers), model.architecture.labelled(model, batch, unrolled)
    positions = None
    if labelled is None:
        loss, labels, terminal = objective.mean_loss(answers, target, split == "train"), answers.shape[0], None
    else:
        weigh = objective.weighted if split == "train" else _unweighted
        outputs, targets = labelled
        labels, terminal = len(targets), weigh(objective.losses(answers, target), target).sum()
        losses = weigh(objective.losses(outputs, targets), targets)
        loss = losses.sum() / max(labels, 1)  # 0 where the batch has no label
        positions = (objective.predictions(outputs), targets) if labels else None
    model.tallies[f"{split}_"].add(loss.detach(), labels, (objective.predictions(answers), target), positions)
    return loss, labels, terminal


def _unweighted(losses: Tensor, targets: Tensor) -> Tensor:
    return losses


def answers_to_samples(model: Any, batch: Batch, unrolled: Unrolled) -> dict[str, Tensor]:
    """Of each sample: of classes the `predicted` and the `true` one; `correct`, where the task says what that is; and
    `loss`, taken in float64."""
    answers, objective = model.architecture.answers(model, batch, unrolled), model.objective
    predictions, exact = objective.predictions(answers), answers.double()
    target = objective.aligned(batch.target, answers)
    right, classes = objective.correct(predictions, target), objective.classes(predictions, target)
    loss = objective.losses(exact, objective.aligned(batch.target, exact))
    return classes | ({} if right is None else {"correct": right}) | {"loss": loss}
