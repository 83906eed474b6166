"""The contract of a kernel of the torch engine: one cell along one structure, and its adjoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from rnn_research.unroll.backward import BackwardRecord
from rnn_research.unroll.torch_kernels.row_order import RowOrder


class Unsupported(Exception):
    """The torch engine has no kernel for this cell, structure or precision: says why."""


@dataclass(frozen=True)
class BackwardPass:
    """The adjoints that one pass back along the structure gives. Rows are in the kernel's order, entries are the parts
    of the state.

    `recurrent` computes the part of the adjoints that comes from later states, before it is carried inside the update.
    Each state's is one product with what is already there; nothing is subtracted.
    """

    adjoints: list[Tensor]
    recurrent: Callable[[], list[Tensor]]

    def __add__(self, other: BackwardPass) -> BackwardPass:
        adjoints = [a + b for a, b in zip(self.adjoints, other.adjoints, strict=True)]
        return BackwardPass(adjoints, lambda: [a + b for a, b in zip(self.recurrent(), other.recurrent(), strict=True)])


@dataclass
class KernelRecord(BackwardRecord):
    """The record of a kernel that finds the adjoints in the backward pass itself."""

    found: BackwardPass | None = None
    """What was found, summed over passes; None: it is to be computed from `direct`."""

    def add_found(self, direct: Sequence[Tensor | None], found: BackwardPass) -> None:
        """Count a pass, of which the adjoints are known."""
        self.add(direct)
        self.found = found if self.found is None else self.found + found


class ChainKernel(ABC):
    """One cell along one structure.

    Attributes:
        how: what computes it, in a few words.
        row_order: the rows that all tensors here have.
        last: each part of the states after the last step, where the kernel gave them and all sequences are equally
            long; None: they are to be taken from all states.
    """

    how: str
    row_order: RowOrder
    last: tuple[Tensor, ...] | None = None

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
    def back(self, direct: dict[int, Tensor]) -> BackwardPass:
        """The adjoints, given the gradient from outside in each part of the states that has one."""
