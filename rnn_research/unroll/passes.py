"""What the engines with a backward pass of their own share about the passes that reach them."""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from rnn_research.cells.base import Cell

_aside = contextvars.ContextVar("aside", default=False)  # each thread its own


def aside() -> bool:
    """Whether gradients flow for `adjoints_of`: then nothing is recorded, and no weight's gradient is made."""
    return _aside.get()


def gradients_aside(loss: Tensor, parts: Sequence[Tensor]) -> list[Tensor | None]:
    """d loss/d parts, with nothing recorded on the way."""
    before = _aside.set(True)
    try:
        return list(torch.autograd.grad(loss, parts, retain_graph=True, allow_unused=True))
    finally:
        _aside.reset(before)


def once(engine: str) -> None:
    """To be called on the way back: derivatives of the gradients are not to be had.

    Raises:
        RuntimeError: they were asked for.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(
            f"engine={engine}: gives first derivatives alone, but create_graph=True asks for the derivative of one; "
            "use engine=reference"
        )


def added(tensors: Sequence[Tensor]) -> Tensor:
    """Their sum."""
    return functools.reduce(torch.add, tensors)


def reachable(inputs: Tensor, cell: Cell, record: object) -> Tensor:
    """The inputs; where nothing would learn, such that there is a backward pass to record."""
    learns = inputs.requires_grad or any(parameter.requires_grad for parameter in cell.parameters())
    return inputs.detach().requires_grad_() if record and torch.is_grad_enabled() and not learns else inputs
