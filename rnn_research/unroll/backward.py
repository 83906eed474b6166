"""What backward passes leave in a layer, and what is asked of the passes themselves."""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rnn_research.cells.base import Cell

_recording_disabled = contextvars.ContextVar("recording_disabled", default=False)  # each thread its own


def recording_disabled() -> bool:
    """Whether gradients flow for `adjoints_of`. Then nothing is recorded, and no weight's gradient is made."""
    return _recording_disabled.get()


def unrecorded_gradients(loss: Tensor, parts: Sequence[Tensor]) -> list[Tensor | None]:
    """d loss/d parts. Nothing is recorded on the way."""
    before = _recording_disabled.set(True)
    try:
        return list(torch.autograd.grad(loss, parts, retain_graph=True, allow_unused=True))
    finally:
        _recording_disabled.reset(before)


@dataclass
class BackwardRecord:
    """What backward passes brought to one layer's states. Engines add what they find in passing.

    The graph of autograd holds it, so it must not hold the layer.
    """

    passes: int = 0
    """How many backward passes have come by."""
    direct: dict[int, Tensor] = field(default_factory=dict)
    """The gradient that reached each part of the states from outside, by the part's number. It adds up over passes, as
    `.grad` does."""
    enabled: bool = True

    def add(self, direct: Sequence[Tensor | None], first: int = 0) -> None:
        """Count a pass, and add its gradients from outside in the parts from the `first` on."""
        if not self.enabled or recording_disabled():
            return
        self.passes += 1
        for part, grad in enumerate(direct, first):
            if grad is not None:
                self.direct[part] = self.direct[part] + grad if part in self.direct else grad

    @contextlib.contextmanager
    def disabled(self) -> Iterator[None]:
        """Within it, passes leave no trace."""
        self.enabled = False
        try:
            yield
        finally:
            self.enabled = True


def refuse_second_derivative(engine: str) -> None:
    """Refuse a backward pass that is itself to be differentiated. To be called within the pass.

    Raises:
        RuntimeError: derivatives of the gradients were asked for.
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
