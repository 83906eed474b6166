"""The contract of a form: how the torch engine computes one cell along one structure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from rnn_research.unroll.passes import aside
from rnn_research.unroll.torch_kernels.plan import RowOrder


class Unsupported(Exception):
    """There is no such form of this cell: says why."""


@dataclass(frozen=True)
class Found:
    """What one pass back along the structure gives, rows as the plan's, an entry a part of the state.

    `recurrent` makes the part of the adjoints that comes from later states, before it is carried inside the update:
    each state's is one product with what is already there, so nothing is subtracted.
    """

    adjoints: list[Tensor]
    recurrent: Callable[[], list[Tensor]]

    def __add__(self, other: Found) -> Found:
        adjoints = [a + b for a, b in zip(self.adjoints, other.adjoints, strict=True)]
        return Found(adjoints, lambda: [a + b for a, b in zip(self.recurrent(), other.recurrent(), strict=True)])


@dataclass
class Recorded:
    """What backward passes left: the gradients from outside in each part of the states, and what was found in passing.
    Both add up over passes, as `.grad` does."""

    direct: dict[int, Tensor] = field(default_factory=dict)
    found: Found | None = None
    passes: int = 0

    def add(self, direct: Sequence[Tensor | None], found: Found | None = None, first: int = 0) -> None:
        """The gradients in the parts from the `first` on."""
        if aside():
            return
        self.passes += 1
        for part, grad in enumerate(direct, first):
            if grad is not None:
                self.direct[part] = self.direct[part] + grad if part in self.direct else grad
        if found is not None:
            self.found = found if self.found is None else self.found + found


class ChainKernel(ABC):
    """One cell along one structure.

    Attributes:
        how: what computes it, in a few words.
        plan: the rows, which all tensors here have.
    """

    how: str
    plan: RowOrder

    @abstractmethod
    def part(self, index: int) -> Tensor:
        """One part of the states, in the graph of autograd, in which it is the same tensor each time."""

    @abstractmethod
    def handed(self) -> dict[int, Tensor]:
        """The parts that have been handed out."""

    @abstractmethod
    def buffers(self) -> list[Tensor]:
        """Each part of the initial states, if there are any, and of the states, detached."""

    @abstractmethod
    def back(self, direct: dict[int, Tensor]) -> Found:
        """The adjoints, given the gradient from outside in each part of the states that has one."""
