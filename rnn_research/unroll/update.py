"""One call of a cell's `step`, such that each part of the new state is a variable of its own to autograd.

What a cell returns need not be one. It may hand on a previous state (a lag) or an input, return one tensor as two
parts, or a number (a part that is zero where there is no previous state). The adjoint of a part s_k is dL/ds_k where
s_k alone varies:

* What is handed on (a sum over children, as `Cell.summed` makes it, too) is copied: the copy's readers are the new
  state's alone.
* Of parts that are one tensor, the second is a copy of the first: what reaches it reaches the first as well.
* A number that the update itself made, and that another part of the new state may have read, is a variable from the
  start, so that what reads it inside the update counts, as with any other part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from rnn_research.cells.base import Cell, State, telling_previous

StepFunction = Callable[..., State]
"""As `Cell.step`."""


def of_this_package(cell: Cell) -> bool:
    """Whether a cell's update is this package's own, and none of a user's."""
    return type(cell).__module__.startswith("rnn_research.")


class UpdateCaller:
    """Calls of one cell's `step`, for autograd to tell the parts of their results apart. Where gradients are switched
    off they are plain calls."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self._same_each_time = of_this_package(cell)  # others may look at what they read
        self._numbers: dict[int, bool] = {}  # by the number of previous states: whether the update makes numbers

    def __call__(self, projected: Tensor, *previous: State, step: StepFunction | None = None) -> State:
        """The new state. `step`: what calls the cell's own; None: that itself.

        Raises:
            ValueError: a part of it is not (nodes, hidden).
        """
        state = self._called(step or self.cell.step, projected, previous)
        expected = (len(projected), self.cell.hidden_size)
        if any(part.shape != expected for part in state):
            raise ValueError(
                f"{type(self.cell).__name__}.step: returned parts of shapes {[tuple(part.shape) for part in state]}, "
                f"expected {expected} each, (nodes, hidden)"
            )
        return state

    def _called(self, step: StepFunction, projected: Tensor, previous: tuple[State, ...]) -> State:
        if not torch.is_grad_enabled():
            return step(projected, *previous)
        arity, handed = len(previous), [projected, *(part for state in previous for part in state)]
        # Of a single part, nothing else can have read the number that it is.
        if len(self.cell.state_names) == 1 or (self._same_each_time and self._numbers.get(arity) is False):
            if arity == 1:  # it is the previous state itself
                return _apart(step(projected, *previous), handed)
            with telling_previous(handed.append):
                return _apart(step(projected, *previous), handed)
        with _Numbers((len(projected), self.cell.hidden_size)) as numbers, telling_previous(handed.append):
            state = step(projected, *previous)
        self._numbers[arity] = numbers.made
        return _apart(state, handed)


VALUES = ("__float__", "__int__", "__complex__", "__index__", "__array__", "item", "tolist", "numpy")
"""What torch warns of, or refuses, for a variable."""


class _Numbers(TorchFunctionMode):
    """Within it, what is made of no variable, and has the shape of a part, is a variable."""

    def __init__(self, shape: tuple[int, int]) -> None:
        super().__init__()
        self.shape, self.made = shape, False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in VALUES:  # of what the update has detached, and is a variable here
            args = (args[0].detach(), *args[1:])
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            return self._variable(result, args)
        if type(result) in (tuple, list):
            return type(result)(self._variable(one, args) for one in result)
        return result

    def _variable(self, result: Any, args: Any) -> Any:
        if not isinstance(result, Tensor) or result.requires_grad or result.shape != self.shape:
            return result
        if not result.is_floating_point() or any(result is one for one in args):  # in place
            return result
        self.made = True
        with torch.enable_grad():
            return result.detach().requires_grad_().clone()  # no leaf: it may be changed in place


def _apart(state: State, handed: list[Tensor]) -> State:
    parts: list[Tensor] = []
    for part in state:
        if not part.requires_grad:
            part = part.detach().requires_grad_()
        elif any(part is one or (part._is_view() and _memory(part) == _memory(one)) for one in handed):
            part = part.view_as(part)
        elif any(part is one for one in state[: len(parts)]):
            part = parts[next(k for k, one in enumerate(state) if one is part)].view_as(part)
        parts.append(part)
    return type(state)(*parts)


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
