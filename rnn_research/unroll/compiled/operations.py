"""The elementwise operations that have a native form: each in torch, in C, and the C of its derivative."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, fx

Value = fx.Node | float
"""What an operation reads and gives: a block of the graph, or a number."""


class Operation(NamedTuple):
    """`forward` and `backward` are vector expressions in the operands a and b, the result y, and its adjoint g: the
    result, and what g adds to the adjoint of each operand."""

    function: Callable[..., Tensor]
    forward: str
    backward: tuple[str, ...]
    keep: bool = False
    """Costly: its result goes to the tape rather than being computed again."""


_HALVES = (
    "pick({a} == {b}, {g} / 2, pick({a} > {b}, {g}, splat(0)))",
    "pick({a} == {b}, {g} / 2, pick({a} > {b}, splat(0), {g}))",
)

OPERATIONS = {
    "identity": Operation(torch.clone, "{a}", ("{g}",)),
    "mark": Operation(torch.clone, "{a}", ("{g}",)),  # a pre-activation: `source` clamps its adjoint
    "add": Operation(torch.add, "{a} + {b}", ("{g}", "{g}")),
    "sub": Operation(torch.sub, "{a} - {b}", ("{g}", "-{g}")),
    "mul": Operation(torch.mul, "{a} * {b}", ("{g} * {b}", "{g} * {a}")),
    "div": Operation(torch.div, "{a} / {b}", ("{g} / {b}", "-{g} * {y} / {b}")),
    "neg": Operation(torch.neg, "-{a}", ("-{g}",)),
    "sigmoid": Operation(torch.sigmoid, "sigmoid_({a})", ("{g} * {y} * (1 - {y})",), keep=True),
    "tanh": Operation(torch.tanh, "tanh_({a})", ("{g} * (1 - {y} * {y})",), keep=True),
    "relu": Operation(torch.relu, "relu_({a})", ("pick({y} <= 0, splat(0), {g})",)),
    "exp": Operation(torch.exp, "exp_({a})", ("{g} * {y}",), keep=True),
    "expm1": Operation(torch.expm1, "expm1_({a})", ("{g} * ({y} + 1)",), keep=True),
    "log": Operation(torch.log, "log_({a})", ("{g} / {a}",), keep=True),
    "log1p": Operation(torch.log1p, "log1p_({a})", ("{g} / (1 + {a})",), keep=True),
    "sqrt": Operation(torch.sqrt, "sqrt_({a})", ("{g} / (2 * {y})",), keep=True),
    "sin": Operation(torch.sin, "sin_({a})", ("{g} * cos_({a})",), keep=True),
    "cos": Operation(torch.cos, "cos_({a})", ("-{g} * sin_({a})",), keep=True),
    "erf": Operation(torch.erf, "erf_({a})", ("{g} * splat((real)1.1283791670955126) * exp_(-{a} * {a})",), keep=True),
    "abs": Operation(torch.abs, "abs_({a})", ("{g} * sign_({a})",)),
    "maximum": Operation(torch.maximum, "maximum_({a}, {b})", _HALVES),
    "minimum": Operation(torch.minimum, "minimum_({a}, {b})", (_HALVES[1], _HALVES[0])),
    "clamp_min": Operation(
        torch.clamp_min,
        "maximum_({a}, {b})",
        ("pick({a} >= {b}, {g}, splat(0))", "pick({a} < {b}, {g}, splat(0))"),
    ),
    "clamp_max": Operation(
        torch.clamp_max,
        "minimum_({a}, {b})",
        ("pick({a} <= {b}, {g}, splat(0))", "pick({a} > {b}, {g}, splat(0))"),
    ),
    "above": Operation(  # as hardtanh: no gradient at the bound itself
        torch.maximum,
        "maximum_({a}, {b})",
        ("pick({a} > {b}, {g}, splat(0))", "pick({a} > {b}, splat(0), {g})"),
    ),
    "below": Operation(
        torch.minimum,
        "minimum_({a}, {b})",
        ("pick({a} < {b}, {g}, splat(0))", "pick({a} < {b}, splat(0), {g})"),
    ),
}
"""By torch's name. What other functions are made of these, `functions.COMPOSED` says."""


def folded(name: str, operands: Sequence[Value]) -> Value | None:
    """The result where a number makes it plain: of numbers alone, or with a neutral 0 or 1. Else None.

    0 x is 0 even for an x that is not finite: a zero initial state leaves no code behind.
    """
    numbers = [one for one in operands if not isinstance(one, fx.Node)]
    if len(numbers) == len(operands):
        with torch._C.DisableTorchFunction():  # the trace is not to see this
            return float(OPERATIONS[name].function(*(torch.tensor(one, dtype=torch.float64) for one in numbers)))
    if len(operands) != 2 or not numbers:
        return None
    a, b = operands
    if name == "add":
        return b if a == 0.0 else a if b == 0.0 else None
    if name == "sub":
        return a if b == 0.0 else None
    if name == "mul":
        return 0.0 if 0.0 in numbers else b if a == 1.0 else a if b == 1.0 else None
    return a if name == "div" and b == 1.0 else None
