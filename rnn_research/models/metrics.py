"""The task's metrics, from torchmetrics: of the whole sample (last step or root), and of every labelled node."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import MeanSquaredError, Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from rnn_research.datasets.base import Task


class MeanLoss(Metric):
    """The mean over labels of the loss, not over batches: a last, smaller batch weighs less.

    Not torchmetrics' `MeanMetric`, which drops NaN (a diverged model's loss would be the mean of what is left) or,
    told not to, the weights.
    """

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, mean: Tensor, labels: int) -> None:
        self.total += mean.double() * labels
        self.count += labels

    def compute(self) -> Tensor:
        return self.total / self.count


class WithinTolerance(Metric):
    """The share of answers within an absolute distance of the target in every component."""

    right: Tensor
    count: Tensor

    def __init__(self, tolerance: float) -> None:
        super().__init__()
        self.tolerance = tolerance
        self.add_state("right", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        self.right += ((preds - target).abs() <= self.tolerance).all(-1).sum()
        self.count += len(target)

    def compute(self) -> Tensor:
        return self.right / self.count


def answer_metrics(task: Task) -> MetricCollection:
    """Metrics of (predictions, targets), one a sample. Classification: `accuracy` (the share of samples right).
    Regression: `mse` and, where the task has a tolerance, `accuracy` (the share within it)."""
    if task.kind == "classification":
        return MetricCollection({"accuracy": _accuracy(task)})
    metrics: dict[str, Metric | MetricCollection] = {"mse": MeanSquaredError()}
    if task.tolerance is not None:
        metrics["accuracy"] = WithinTolerance(task.tolerance)
    return MetricCollection(metrics, compute_groups=False)


def position_metrics(task: Task) -> MetricCollection:
    """Metrics of every labelled position: `position_accuracy`."""
    return MetricCollection({"position_accuracy": _accuracy(task)})


def _accuracy(task: Task) -> MulticlassAccuracy:
    return MulticlassAccuracy(task.output_size, average="micro", validate_args=False)
