"""The contract of an engine's result: one layer's states along a structure, and the way to their adjoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rnn_research.cells.base import Cell, State
from rnn_research.structures import Chain, Forest
from rnn_research.unroll.intervention import NormsByPoint
from rnn_research.unroll.norms import norm
from rnn_research.unroll.undisturbed import undisturbed
from rnn_research.unroll.update import UpdateCaller

Record = bool | Literal["parts"]
"""Whether adjoints are kept; "parts": and the norms of their direct and recurrent parts, in passing."""

GRADIENTS = ("adjoints", "direct", "recurrent")
"""The total gradient in a state, and its two parts."""


PastUpdate = tuple[Tensor, Tensor, tuple[State, ...], State]
"""Flat positions, projected inputs, previous states and the states that came of them, detached."""

NOT_AGAIN = (
    "direct and recurrent: {0}.step, run again on what it read, gives other states: it draws random numbers, "
    "keeps something between its calls, or has been changed since the unroll; the adjoints themselves are right"
)


class GateActivations(NamedTuple):
    """The gates' activations of some updates, on the tape of the forward pass.

    Gate k, in the order of the rows of the weights, is `values[:, slot[k]]`. `place` says which row of `values` belongs
    to a position; -1: none.
    """

    place: Int[Tensor, "batch time"]
    values: Float[Tensor, "updates kept hidden"]
    slot: list[int]


class Unfolding(ABC):
    """One cell along a structure. Everything is aligned with the structure's positions, and zero at padding."""

    def __init__(self, cell: Cell, structure: Chain | Forest, record: Record) -> None:
        self.cell, self.structure = cell, structure
        self.record: Record = record
        self._mixed = {k: torch.get_autocast_dtype(k) for k in ("cpu", "cuda") if torch.is_autocast_enabled(k)}

    @property
    @abstractmethod
    def states(self) -> State:
        """Every state, in the graph of autograd."""

    @property
    def hidden(self) -> Tensor:
        """The states' h alone, where that is less work."""
        return self.states.hidden

    def ends(self) -> State:
        """The states after each sequence's last step, or at the roots; detached."""
        return self.cell.state_type(*(self.structure.terminal(part.detach()) for part in self.states))

    slack = 30.0
    """How far an update that is run again may be off, in roots of a rounding error."""

    @property
    @abstractmethod
    def passes(self) -> int:
        """Grows with each backward pass that reaches these states; 0: none has."""

    @abstractmethod
    def adjoints(self) -> State:
        """dL/ds of every state, after a backward pass."""

    @abstractmethod
    def direct(self) -> State:
        """The part of it from the state's own position."""

    @abstractmethod
    def recurrent(self) -> State:
        """The part of it from later states."""

    @abstractmethod
    def norms_by_point(self) -> NormsByPoint | None:
        """The norms before and after each point at which an intervention acts, by position, float64. None: no backward
        pass has come by."""

    @abstractmethod
    def adjoints_of(self, loss: Tensor) -> State:
        """d loss/ds of every state, for another loss. Every `.grad` stays as it is."""

    @abstractmethod
    def updates(self) -> Iterator[PastUpdate]:
        """Yield what every update read and gave. Updates with equally many previous states come together."""

    def replays(self) -> Sequence[Callable[[], Iterator[PastUpdate]]]:
        """Ways to run the updates again. The first one that gives the same results is right."""
        return [self.updates]

    def read_again(self) -> dict[str, Sequence[Tensor]]:
        """By name, the tensors that `direct`, `recurrent`, `updates` and `adjoints_of` read. Whether they were changed
        in place must be checked."""
        return {}

    def kept(self) -> GateActivations | None:
        """The gates' activations, where the forward pass left them; None: it left none."""
        return None

    def norms(self, which: str, known: State | None = None) -> State:
        """The L2 norms of `adjoints`, `direct` or `recurrent`, in float64. `known`: these, where they are there."""
        parts: State = getattr(self, which)() if known is None else known
        return type(parts)(*(norm(part, -1) for part in parts))

    def as_unrolled(self) -> ExitStack:
        """The mixed precision that the states were made in, which updates are replayed in."""
        stack = ExitStack()
        for kind, dtype in self._mixed.items():
            stack.enter_context(torch.autocast(kind, dtype=dtype))
        return stack

    def carried_through_update(self, grads: list[Tensor]) -> State:
        """Gradients in the states as they left their updates, carried to the parts inside the update they depend on
        (an LSTM's h depends on its c): one batched, local vector-Jacobian product, with the previous states fixed.
        Zero at padding.

        Raises:
            RuntimeError: the updates can't be had again as they were; says why.
        """
        if not bool(self.structure.mask.all()):
            grads = [torch.where(self.structure.mask[..., None], grad, 0.0) for grad in grads]
        if len(grads) == 1:
            return self.cell.state_type(*grads)
        flat = [grad.reshape(-1, grad.shape[-1]) for grad in grads]
        for replay in self.replays():
            with undisturbed([self.cell]):
                out = self._carried(flat, replay())
            if out is not None:
                return self.cell.state_type(*(part.view_as(grad) for part, grad in zip(out, grads, strict=True)))
        raise RuntimeError(NOT_AGAIN.format(type(self.cell).__name__))

    def _carried(self, flat: list[Tensor], replay: Iterator[PastUpdate]) -> list[Tensor] | None:
        """`carried_through_update` of flat positions; None: some updates came out other than they were."""
        out, updates = [torch.zeros_like(grad) for grad in flat], UpdateCaller(self.cell)
        for rows, projected, previous, before in replay:
            with torch.enable_grad(), self.as_unrolled():
                state = updates(projected.requires_grad_(), *previous)
            if not self._as_before(state, before, projected, previous):
                return None
            given = [grad[rows].to(part.dtype) for grad, part in zip(flat, state, strict=True)]
            with torch.enable_grad():  # of one number: given the gradients of several, torch imports sympy, for long
                pairs = zip(state, given, strict=True)
                total = torch.stack([(part * value).sum().float() for part, value in pairs]).sum()
            for part, value in zip(out, torch.autograd.grad(total, state), strict=True):
                part[rows] = value.to(part.dtype)
        return out

    @torch.no_grad()
    def _as_before(self, state: State, before: State, projected: Tensor, previous: tuple[State, ...]) -> bool:
        """Whether an update's result is the one that it was, but for rounding."""
        dtypes = [part.dtype for part in before] + list(self._mixed.values())
        slack = self.slack * max(torch.finfo(dtype).eps for dtype in dtypes) ** 0.5
        read = [projected, *(part for one in previous for part in one), *before]
        size = torch.stack([part.abs().amax(-1).double() for part in read]).sum(0)
        off = torch.stack([(a - b).abs().amax(-1).double() for a, b in zip(state, before, strict=True)]).amax(0)
        return not bool((off > slack * size).any())  # NaN is not larger
