"""Metrics beside torchmetrics' own; and what is counted of one split: its loss, and metrics of its answers."""

from __future__ import annotations

from collections.abc import Callable
from math import nan
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection


class MeanLoss:
    """The mean over labels of the loss, not over batches: a last, smaller batch weighs less.

    Not torchmetrics' `MeanMetric`, which drops NaN (a diverged model's loss would be the mean of what is left) or,
    told not to, the weights; nor a `Metric` at all, whose calls take longer than what is summed.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start anew."""
        self.total = self.count = torch.zeros((), dtype=torch.float64)

    def update(self, means: Tensor, labels: Tensor) -> None:
        """Add batches: each one's mean, over so many labels."""
        self.total = self.total.to(means.device) + (means.double() * labels).sum()
        self.count = self.count.to(means.device) + labels.sum()

    def compute(self) -> Tensor:
        """The mean; NaN of no label."""
        return self.total / self.count

    @property
    def metric_state(self) -> dict[str, Tensor]:
        """What is summed so far, by the name of its attribute."""
        return {"total": self.total, "count": self.count}


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
        self.right += fraction_within(self.tolerance, preds, target).sum()
        self.count += len(target)

    def compute(self) -> Tensor:
        return self.right / self.count


class ErrorRate(Metric):
    """Edits over the symbols of the true transcripts: of all together, so that long ones weigh more, as
    `torchmetrics.text.CharErrorRate` counts them."""

    edits: Tensor
    symbols: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("edits", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("symbols", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        self.edits += preds.sum()
        self.symbols += target.sum()

    def compute(self) -> Tensor:
        return self.edits / self.symbols


def fraction_within(tolerance: float, predictions: Tensor, targets: Tensor) -> Tensor:
    """Whether each answer is within an absolute distance of the target in every component."""
    return ((predictions - targets).abs() <= tolerance).all(-1)


class RunningMetrics(nn.Module):
    """The loss and the metrics of one split since they were last asked for.

    Batches wait, and are counted `TOGETHER` at a time: a metric's update costs as much as a small cell's whole step.

    Args:
        answers: metrics of (predictions, targets), one a sample; where there are none, samples are not compared.
        positions: the same, one a labelled position; None: positions are not compared.
        of_loss: what else is said of the mean loss, by name.
    """

    TOGETHER = 64

    def __init__(
        self,
        answers: MetricCollection,
        positions: MetricCollection | None = None,
        of_loss: Callable[[float], dict[str, float]] | None = None,
    ) -> None:
        super().__init__()
        self.loss, self.of_loss = MeanLoss(), of_loss or (lambda loss: {})
        self.answers = answers
        self.positions = positions
        self._waiting: list[tuple[Any, ...]] = []

    def add(
        self,
        loss: Tensor,
        labels: int,
        answers: tuple[Tensor, Tensor] | None,
        positions: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        """Count one batch: its mean loss over so many labels, and (predictions, targets), one a sample and, where
        positions are compared, one a labelled position."""
        self._waiting.append((loss, labels, answers, positions))
        if len(self._waiting) >= self.TOGETHER:
            self._count()

    def measured(self) -> dict[str, float]:
        """What was counted since the last call, by name, `loss` first; NaN where nothing was."""
        self._count()
        found, labelled = {"loss": float(self.loss.compute())}, bool(self.loss.count)
        self.loss.reset()
        found |= self.of_loss(found["loss"])
        for metrics in (self.answers, self.positions):
            if metrics is not None:
                counted = labelled or metrics is self.answers
                values = metrics.compute() if counted else dict.fromkeys(metrics, nan)
                found |= {str(name): float(value) for name, value in values.items()}
                metrics.reset()
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """What is measured, `loss` first."""
        return ("loss", *self.of_loss(0.0), *map(str, (*self.answers, *(self.positions or ()))))

    def state(self) -> dict[str, Any]:
        """What was counted since the last call of `measured`, to be restored by another process; changes nothing, not
        even how batches are put together to be counted."""
        return {"counted": {name: dict(one.metric_state) for name, one in self._metrics()}, "waiting": [*self._waiting]}

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on from a `state`."""
        state = move_data_to_device(state, device)
        for name, metric in self._metrics():
            for key, value in state["counted"][name].items():
                setattr(metric, key, value)
            if isinstance(metric, Metric):
                metric._update_count = 1  # or torchmetrics would warn that nothing was counted
        self._waiting = [tuple(batch) for batch in state["waiting"]]

    def _metrics(self) -> list[tuple[str, MeanLoss | Metric]]:
        return [("loss", self.loss), *((name, one) for name, one in self.named_modules() if isinstance(one, Metric))]

    def _count(self) -> None:
        if not self._waiting:
            return
        losses, labels, answers, positions = zip(*self._waiting, strict=True)
        self._waiting.clear()
        means = torch.stack(losses)
        self.loss.update(means, torch.tensor(labels, device=means.device))
        if len(self.answers):
            self.answers.update(*map(_joined, zip(*answers, strict=True)))
        labelled = [pair for pair in positions if pair is not None]
        if self.positions is not None and labelled:
            self.positions.update(*map(_joined, zip(*labelled, strict=True)))


def _joined(parts: tuple[Tensor, ...]) -> Tensor:
    """Sums over many batches want more than half precision."""
    joined = torch.cat(parts)
    return joined.float() if joined.dtype in (torch.float16, torch.bfloat16) else joined
