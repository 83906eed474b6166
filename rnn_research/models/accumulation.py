"""The batches whose gradients one step of the optimiser accumulates, so that it is the step of all as one batch.

The mean loss of one large batch is sum_i n_i L_i / sum_i n_i, with L_i batch i's mean loss over its n_i labels. How
many labels are still to come is not known while a batch is differentiated. So each enters in units of the first one's
labels, as (n_i / n_1) L_i, and the sum is divided by what the window really held once that is known. Losses are as
large as without accumulation (half precision overflows no sooner), and batches of equally many labels are not touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(eq=False)
class Window:
    """What one step of the optimiser has accumulated so far.

    `full` is how many batches a whole window has, by which the trainer divides each loss; the last one of an epoch may
    have fewer. `first` are the labels of the first batch that has any.
    """

    full: int = 1
    batches: int = 0
    labels: int = 0
    first: int = 0
    apart: dict[tuple[str, str], SeparateAverage] = field(default_factory=dict)
    """By name and part, what regularizers add to gradients that is not weighed by labels."""

    @property
    def empty(self) -> bool:
        """Whether there were batches, and none had a label."""
        return self.batches > 0 and self.labels == 0

    def weight(self, labels: int) -> float:
        """Count one more batch. Returns what its mean loss is to be multiplied by (1 without labels: it is 0)."""
        self.batches, self.labels, self.first = self.batches + 1, self.labels + labels, self.first or labels
        return labels / self.first if labels and self.full > 1 else 1.0

    def complete(self, parameters: Iterable[nn.Parameter]) -> None:
        """Make the gradients those of the mean loss over all labels of the window."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        factor = self.first * self.full / self.labels if self.labels else 1.0
        if factor != 1.0:
            for gradient in gradients:
                gradient.mul_(factor)
        for apart in self.apart.values():
            apart.complete()


class SeparateAverage:
    """Gradients that are averaged over a window by weights of their own.

    Args:
        cells: whose parameters' gradients.
    """

    def __init__(self, cells: Sequence[nn.Module]) -> None:
        owned = [(number, parameter) for number, cell in enumerate(cells) for parameter in cell.parameters()]
        self.parameters = [parameter for _, parameter in owned]
        self._cell = [number for number, _ in owned]
        self._sums = [torch.zeros_like(parameter) for parameter in self.parameters]
        self._weights = torch.zeros(len(cells), dtype=torch.float64)

    @contextmanager
    def collecting(self) -> Iterator[list[Tensor]]:
        """What is added to the parameters' gradients within goes to the list, and leaves them as they are."""
        before = [parameter.grad for parameter in self.parameters]
        collected = [torch.zeros_like(parameter) for parameter in self.parameters]
        for parameter, gradient in zip(self.parameters, collected, strict=True):
            parameter.grad = gradient
        try:
            yield collected
        finally:
            for parameter, gradient in zip(self.parameters, before, strict=True):
                parameter.grad = gradient

    def add(self, collected: Sequence[Tensor], weight: Tensor | float, scale: float) -> None:
        """One batch's, times `scale`, as `weight` among all: one number, or one a cell."""
        weights = torch.as_tensor(weight, dtype=torch.float64).cpu().expand_as(self._weights)
        self._weights = self._weights + weights
        factors = (scale * weights).tolist()
        for total, gradient, cell in zip(self._sums, collected, self._cell, strict=True):
            total += gradient * factors[cell]

    def complete(self) -> None:
        """Add the mean to the parameters' gradients."""
        weights = self._weights.tolist()
        for parameter, total, cell in zip(self.parameters, self._sums, self._cell, strict=True):
            mean = total / weights[cell] if weights[cell] else torch.zeros_like(total)
            parameter.grad = mean if parameter.grad is None else parameter.grad.add_(mean)


def mean_of(values: Sequence[tuple[Tensor, Tensor | float]]) -> Tensor:
    """The mean of values by their weights, where any weighs something; of one value, that.

    Values are one number each, or one a cell with a weight each: then their means are summed.
    """
    if len(values) == 1:
        return values[0][0].sum()
    stack = torch.stack([value for value, _ in values])
    given = [torch.as_tensor(weight, dtype=torch.float64, device=stack.device) for _, weight in values]
    weights = torch.stack([weight.expand(stack.shape[1:]) for weight in given])
    total = weights.sum(0)
    shares = torch.where(total == 0, 1 / len(values), weights / torch.where(total == 0, 1.0, total))
    return (stack * shares).sum()
