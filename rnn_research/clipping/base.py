"""The contract of a clipping strategy, and the record of what it did at one step.

To add a strategy, subclass `Clipping` in one file and implement `forward`. It is an `nn.Module` so that a strategy with
a memory keeps it in buffers, which are checkpointed with the model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn


class Clipped(NamedTuple):
    """What a strategy did to one step's gradient; 0-dimensional tensors on the gradient's device, float64.

    `coefficient` is what the strategy says it scaled the gradient's norm by; it `fired` where that is not 1.
    """

    norm_before: Float[Tensor, ""]
    norm_after: Float[Tensor, ""]
    coefficient: Float[Tensor, ""]


class Clipping(nn.Module, ABC):
    """Rescales gradients in place, once an optimiser step, after accumulation and unscaling."""

    @abstractmethod
    def forward(self, parameters: list[nn.Parameter]) -> Float[Tensor, ""] | None:
        """Change each `parameter.grad` in place.

        Args:
            parameters: those that have a gradient.

        Returns:
            The coefficient: the factor by which the global norm was scaled (1: the gradient was left as it is). None:
            the ratio of the norms after and before, which are measured anyway (1 where the norm was zero).
        """


class History:
    """What clipping did at every step so far, at 32 bytes a step."""

    TOGETHER = 256  # steps whose tensors wait: a look at each would cost a wait on a device

    def __init__(self) -> None:
        self._waiting: list[tuple[int, Clipped]] = []
        self._tables: list[np.ndarray] = []

    def add(self, step: int, did: Clipped) -> None:
        """Keep what was done at one step."""
        self._waiting.append((step, did))
        if len(self._waiting) >= self.TOGETHER:
            self._settle()

    def table(self) -> np.ndarray:
        """A row a step: `step`, and what `Clipped` has, in order."""
        self._settle()
        self._tables = [np.concatenate(self._tables)]
        return self._tables[0]

    def _settle(self) -> None:
        table = np.empty(len(self._waiting), [("step", np.int64), *((name, np.float64) for name in Clipped._fields)])
        if self._waiting:
            steps, clipped = zip(*self._waiting, strict=True)
            table["step"] = steps
            for name, values in zip(Clipped._fields, zip(*clipped, strict=True), strict=True):
                table[name] = torch.stack(values).cpu().numpy()
            self._waiting.clear()
        self._tables.append(table)


def global_norm(parameters: Iterable[nn.Parameter]) -> Float[Tensor, ""]:
    """The L2 norm of all gradients together, accumulated in float64: squares of 1e-25 do not vanish."""
    norms = [torch.linalg.vector_norm(p.grad, dtype=torch.float64) for p in parameters if p.grad is not None]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros((), dtype=torch.float64)


def clip(strategy: Clipping, parameters: Iterable[nn.Parameter]) -> Clipped:
    """Apply `strategy` to the gradients of `parameters`, and say what it did."""
    with torch.no_grad():
        present = [parameter for parameter in parameters if parameter.grad is not None]
        before = global_norm(present)
        coefficient = strategy(present)
        after = global_norm(present)
        if coefficient is None:
            coefficient = torch.where(before == 0, torch.ones_like(before), after / before)
        return Clipped(before, after, coefficient)


def scale(parameter: nn.Parameter, coefficient: Float[Tensor, ""]) -> None:
    """Multiply one gradient by `coefficient` (1 changes no bit).

    Below 1 the product is smaller by an epsilon of the gradient's precision (and by 1e-12): rounding could otherwise
    leave its norm above the threshold. It is taken in float64, where the coefficient of an exploding gradient is no
    subnormal number.
    """
    if parameter.grad is not None:
        slack = torch.finfo(parameter.grad.dtype).eps + 1e-12
        factor = torch.where(coefficient < 1.0, coefficient * (1.0 - slack), coefficient)
        parameter.grad.copy_(parameter.grad.double() * factor)
