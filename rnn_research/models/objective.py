"""What a model is trained for, by the kind of task: the loss, what counts as its prediction, and the metrics."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanSquaredError, Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from rnn_research.datasets.base import SPLITS, Task
from rnn_research.models.metrics import ErrorRate, WithinTolerance, fraction_within


class Objective(ABC):
    """Compares outputs with targets.

    Args:
        task: whose targets they are.
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    def aligned(self, targets: Tensor, outputs: Tensor) -> Tensor:
        """Targets in the shape and the type that `losses` takes beside these outputs."""
        return targets

    @abstractmethod
    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each label."""

    def weighted(self, losses: Tensor, targets: Tensor) -> Tensor:
        """What is learnt from: the losses, each times the weight of its label's class where the task has weights."""
        return losses

    def mean_loss(self, outputs: Tensor, targets: Tensor, weighted: bool) -> Tensor:
        """The mean over the labels of `losses`, or of what is `weighted`."""
        losses = self.losses(outputs, targets)
        return (self.weighted(losses, targets) if weighted else losses).mean()

    @abstractmethod
    def predictions(self, outputs: Tensor) -> Tensor:
        """What outputs say, detached."""

    @abstractmethod
    def correct(self, predictions: Tensor, targets: Tensor) -> Tensor | None:
        """Whether each prediction is right; None where the task does not say what that is."""

    def classes(self, predictions: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """What the table of answers keeps of them: of classes `predicted` and `true`, as numbers; else nothing."""
        return {}

    @abstractmethod
    def answer_metrics(self) -> MetricCollection:
        """Metrics of (predictions, targets), one a sample."""

    @abstractmethod
    def position_metrics(self, split: str = "test") -> MetricCollection | None:
        """Metrics of (predictions, targets), one a labelled position; None: the split has none."""

    def of_loss(self, loss: float, split: str) -> dict[str, float]:
        """What else is said of a split's mean loss, by name."""
        return {}

    def success(self, metrics: Sequence[str], positions: bool, stop: bool = False) -> dict[str, Any]:
        """The task's rule for when it is solved, as a run's record keeps it; empty where there is none, or none that
        fits what the model learns from.

        Args:
            metrics: the names of what is measured.
            positions: whether the model learns from labelled positions.
            stop: whether training is to end there.

        Raises:
            ValueError: it is, and there is no rule; or the rule is of a metric that is not measured.
        """
        rule = self.task.success
        if rule is None or (rule.of_positions and not positions):
            if stop:
                raise ValueError(
                    "stop_when_solved: given true, but nothing says when this task is solved; expected false, or data "
                    "with a rule (of every position: with structure=chain model.loss=auto)"
                )
            return {}
        if rule.metric not in metrics:
            raise ValueError(f"success: given the metric {rule.metric!r}, expected one of {', '.join(metrics)}")
        return {"metric": rule.metric, "bound": rule.bound, "above": rule.above, "step": None}


class Classification(Objective):
    """Cross-entropy; a prediction is the likeliest class; `accuracy` is the share of samples right.

    Where the task has class weights, the training loss is the mean over labels of weight x cross-entropy; the losses of
    validation and test are without them. Where classes have names, `macro_f1` is the mean over classes of F1 = 2 right
    / (predicted + labelled), of those that are predicted or labelled at all.
    """

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, targets, reduction="none")

    def weighted(self, losses: Tensor, targets: Tensor) -> Tensor:
        if self.task.class_weights is None:
            return losses
        return losses * losses.new_tensor(self.task.class_weights)[targets]

    def predictions(self, outputs: Tensor) -> Tensor:
        found = outputs.detach()
        if found.device.type == "cpu" and found.dtype in (torch.float32, torch.float64):
            return torch.from_numpy(found.numpy().argmax(-1))  # 5 times as fast as torch's, with the same ties
        return found.argmax(-1)

    def correct(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return predictions == targets

    def classes(self, predictions: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"predicted": predictions, "true": targets}

    def answer_metrics(self) -> MetricCollection:
        metrics: dict[str, Metric | MetricCollection] = {"accuracy": self._accuracy()}
        if self.task.classes is not None:
            metrics["macro_f1"] = MulticlassF1Score(self.task.output_size, average="macro", validate_args=False)
        return MetricCollection(metrics, compute_groups=False)

    def position_metrics(self, split: str = "test") -> MetricCollection | None:
        """`position_accuracy`."""
        return MetricCollection({"position_accuracy": self._accuracy()})

    def _accuracy(self) -> MulticlassAccuracy:
        return MulticlassAccuracy(self.task.output_size, average="micro", validate_args=False)


class NextTokens(Classification):
    """Cross-entropy of the next token in nats, and what is made of its mean L: `bits` a token, L / ln 2; `perplexity`,
    e^L; where tokens are no characters `bits_per_character`, the bits of a split's tokens over its characters. (Of
    words it is too low by what the unknown ones would take: all of them are one token.) `position_accuracy` is the
    share of tokens that were the likeliest."""

    def of_loss(self, loss: float, split: str) -> dict[str, float]:
        found = {"bits": loss / math.log(2), "perplexity": math.exp(loss) if not loss > 700 else math.inf}
        if self.task.characters is not None:
            found["bits_per_character"] = found["bits"] / self.task.characters[SPLITS.index(split)]
        return found

    def answer_metrics(self) -> MetricCollection:
        """None: there is no answer to a sample as a whole."""
        return MetricCollection({})


class WrittenSequences(Classification):
    """Cross-entropy of the tokens of a target sequence, its end among them, in nats; `perplexity` is e to their mean.

    `token_accuracy` is the share of tokens that were the likeliest, given the target's tokens before. `accuracy` is the
    share of sequences of which all were: those that greedy search writes without a mistake, since it reads the target's
    own tokens as long as it makes none.
    """

    def of_loss(self, loss: float, split: str) -> dict[str, float]:
        return {"perplexity": math.exp(loss) if not loss > 700 else math.inf}

    def answer_metrics(self) -> MetricCollection:
        return MetricCollection({"accuracy": MulticlassAccuracy(2, average="micro", validate_args=False)})

    def position_metrics(self, split: str = "test") -> MetricCollection | None:
        """`token_accuracy`."""
        return MetricCollection({"token_accuracy": self._accuracy()})


class Transcripts(Classification):
    """Connectionist temporal classification: `loss` is -ln p a symbol of the transcripts, see `models.alignment`.

    `accuracy` is the share of transcripts that the best path writes without a mistake. `character_error_rate`, of
    validation and test alone, is the edits between what it writes and what is right over the symbols of what is right;
    of transcripts that are too long it is above 1.
    """

    def answer_metrics(self) -> MetricCollection:
        return MetricCollection({"accuracy": MulticlassAccuracy(2, average="micro", validate_args=False)})

    def position_metrics(self, split: str = "test") -> MetricCollection | None:
        return None if split == "train" else MetricCollection({"character_error_rate": ErrorRate()})


class Regression(Objective):
    """The squared error averaged over components: `mse`; where the task has a tolerance, `accuracy` is the share of
    samples within it."""

    def aligned(self, targets: Tensor, outputs: Tensor) -> Tensor:
        return targets.to(outputs.dtype).view_as(outputs)  # one number a sample may come without its axis

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean over components; of one it is that, without the mean's own backward pass."""
        squares = nn.functional.mse_loss(outputs, targets, reduction="none")
        return squares.squeeze(-1) if squares.shape[-1] == 1 else squares.mean(-1)

    def mean_loss(self, outputs: Tensor, targets: Tensor, weighted: bool) -> Tensor:
        """Of one component the same number and gradient by one operation, where it were three."""
        if outputs.shape[-1] == 1:
            return nn.functional.mse_loss(outputs, targets)
        return super().mean_loss(outputs, targets, weighted)

    def predictions(self, outputs: Tensor) -> Tensor:
        return outputs.detach()

    def correct(self, predictions: Tensor, targets: Tensor) -> Tensor | None:
        if self.task.tolerance is None:
            return None
        return fraction_within(self.task.tolerance, predictions, targets.to(predictions.dtype))

    def answer_metrics(self) -> MetricCollection:
        metrics: dict[str, Metric | MetricCollection] = {"mse": MeanSquaredError()}
        if self.task.tolerance is not None:
            metrics["accuracy"] = WithinTolerance(self.task.tolerance)
        return MetricCollection(metrics, compute_groups=False)

    def position_metrics(self, split: str = "test") -> MetricCollection | None:
        raise ValueError("position_metrics: of numbers there are none, expected classes at positions")


OBJECTIVES: dict[str, type[Objective]] = {
    "classification": Classification,
    "regression": Regression,
    "next_token": NextTokens,
    "sequence": WrittenSequences,
    "transcript": Transcripts,
}
"""By `Task.kind`."""


def objective_of(task: Task) -> Objective:
    """The objective of a task's kind."""
    return OBJECTIVES[task.kind](task)
