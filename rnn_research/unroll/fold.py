"""The contract of an engine's result: one layer's states along a structure, and how their adjoints are had."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rnn_research.cells.base import Cell, State
from rnn_research.structures import Chain, Forest
from rnn_research.unroll.inside import Points
from rnn_research.unroll.norms import norm

Record = bool | Literal["parts"]
"""Whether adjoints are kept; "parts": and the norms of their direct and recurrent parts, in passing."""

GRADIENTS = ("adjoints", "direct", "recurrent")
"""The total gradient in a state, and its two parts."""


class Kept(NamedTuple):
    """Gates' activations of some updates, side by side with what else was kept: those of gate k, in the order of their
    rows in the weights, are `values[:, slot[k]]`. `place` says which row a position's are; -1: none."""

    place: Int[Tensor, "batch time"]
    values: Float[Tensor, "updates kept hidden"]
    slot: list[int]


class Fold(ABC):
    """One cell along a structure. Everything is aligned with the structure's positions, with zeros at padding."""

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

    @property
    @abstractmethod
    def reached(self) -> bool:
        """Whether a backward pass has reached these states."""

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
    def acted(self) -> Points | None:
        """Of each point at which something acts within the backward pass, the norms before and after it, by position,
        float64; None: no backward pass has come by."""

    @abstractmethod
    def adjoints_of(self, loss: Tensor) -> State:
        """d loss/ds of every state, for another loss, leaving every `.grad` as it is."""

    @abstractmethod
    def updates(self) -> Iterator[tuple[Tensor, Tensor, tuple[State, ...]]]:
        """Every update again: flat positions, projected inputs and previous states, detached; those with equally many
        previous states come together."""

    def kept(self) -> Kept | None:
        """The gates' activations, where the forward pass left them; None: it left none."""
        return None

    def norms(self, which: str) -> State:
        """The L2 norms of `adjoints`, `direct` or `recurrent`, in float64."""
        parts: State = getattr(self, which)()
        return type(parts)(*(norm(part, -1) for part in parts))

    def _as_unrolled(self) -> ExitStack:
        """The mixed precision that the states were made in, which updates are replayed in."""
        stack = ExitStack()
        for kind, dtype in self._mixed.items():
            stack.enter_context(torch.autocast(kind, dtype=dtype))
        return stack

    def inside_update(self, grads: list[Tensor]) -> State:
        """Gradients in the states as they left their updates, carried to the parts inside the update they depend on
        (an LSTM's h depends on its c): one batched, local vector-Jacobian product, with the previous states fixed.
        """
        if len(grads) == 1:
            return self.cell.state_type(*grads)
        flat = [grad.reshape(-1, grad.shape[-1]) for grad in grads]
        out = [torch.zeros_like(grad) for grad in flat]
        for rows, projected, previous in self.updates():
            with torch.enable_grad(), self._as_unrolled():
                state = self.cell.step(projected.requires_grad_(), *previous)
            for part, grad in zip(out, flat, strict=True):
                part[rows] = grad[rows]
            inside = [k for k, part in enumerate(state) if part.requires_grad]  # others are previous states, or numbers
            if inside:
                made = [state[k] for k in inside]
                given = [flat[k][rows].to(part.dtype) for k, part in zip(inside, made, strict=True)]
                for k, value in zip(inside, torch.autograd.grad(made, made, given), strict=True):
                    out[k][rows] = value.to(out[k].dtype)
        return self.cell.state_type(*(part.view_as(grad) for part, grad in zip(out, grads, strict=True)))
