"""The nonlinearities of the cells: f, its derivative in terms of its value, and the interval that it saturates to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Nonlinearity(NamedTuple):
    """f, and what is known of it.

    Attributes:
        apply: f itself.
        interval: what f saturates to; None: it is unbounded.
        derivative: f'(a), given f(a).
        apply_in_place: the same as `apply`, on its argument's own memory.
        backward: (gradient in f(a), f(a), out). It writes the gradient in a to `out`.
    """

    apply: Callable[[Tensor], Tensor]
    interval: tuple[float, float] | None
    derivative: Callable[[Tensor], Tensor]
    apply_in_place: Callable[[Tensor], Any]
    backward: Callable[[Tensor, Tensor, Tensor], Any]


# One operation each, which is quicker than the product with the derivative.
_tanh = torch.ops.aten.tanh_backward.grad_input
_relu = torch.ops.aten.threshold_backward.grad_input
_sigmoid = torch.ops.aten.sigmoid_backward.grad_input

NONLINEARITIES = {
    "tanh": Nonlinearity(
        torch.tanh,
        interval=(-1.0, 1.0),
        derivative=lambda value: (value * value).neg_().add_(1),
        apply_in_place=torch.tanh_,
        backward=lambda gradient, value, out: _tanh(gradient, value, grad_input=out),
    ),
    "relu": Nonlinearity(
        torch.relu,
        interval=None,
        derivative=lambda value: (value > 0).to(value.dtype),
        apply_in_place=torch.relu_,
        backward=lambda gradient, value, out: _relu(gradient, value, 0, grad_input=out),
    ),
    "sigmoid": Nonlinearity(
        torch.sigmoid,
        interval=(0.0, 1.0),
        derivative=lambda value: value * (1 - value),
        apply_in_place=torch.sigmoid_,
        backward=lambda gradient, value, out: _sigmoid(gradient, value, grad_input=out),
    ),
    "identity": Nonlinearity(
        lambda x: x,
        interval=None,
        derivative=torch.ones_like,
        apply_in_place=lambda x: x,
        backward=lambda gradient, value, out: out.copy_(gradient),
    ),
}

TANH, SIGMOID = NONLINEARITIES["tanh"], NONLINEARITIES["sigmoid"]


def nonlinearity_of(f: Callable[[Tensor], Tensor]) -> Nonlinearity | None:
    """The nonlinearity whose `apply` is `f`; None: it is none of these."""
    return next((known for known in NONLINEARITIES.values() if known.apply is f), None)


def intervals(**gates: str) -> dict[str, tuple[float, float]]:
    """The interval of each gate, given the name of its nonlinearity. Unbounded ones are left out."""
    found = {gate: NONLINEARITIES[name].interval for gate, name in gates.items()}
    return {gate: interval for gate, interval in found.items() if interval is not None}
