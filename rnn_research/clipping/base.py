"""The contract of a clipping strategy, and the record of what it did at one step.

To add a strategy, write one file with a subclass of `Clipping` that implements `forward`. For one that acts inside
backpropagation or cuts the graph, subclass `BackwardStrategy` and implement `intervention`. A strategy is an
`nn.Module`: it keeps its memory in buffers, which are checkpointed with the model.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rnn_research.cells.base import Cell
from rnn_research.clipping.module_mapping import ModuleMapping
from rnn_research.structures import Chain, Forest
from rnn_research.unroll import Intervention, LossScale, combine
from rnn_research.unroll.norms import norm as l2_norm

SLACK = 1e-13
"""By how much a coefficient below 1 is made smaller, beside an epsilon of the gradient's precision."""


class ClippingEffect(NamedTuple):
    """What a strategy did to one step's gradient; 0-dimensional tensors on the gradient's device, float64.

    `coefficient` is what the strategy says it scaled the gradient's norm by; it `fired` where that is not 1. `cosine`
    is that of the angle between the gradient before and after (1 where nothing was changed, NaN where one of them is
    zero or not finite). `skipped` is 1 where the step is not taken at all: then the norm after and the coefficient
    are 0.
    """

    norm_before: Float[Tensor, ""]
    norm_after: Float[Tensor, ""]
    coefficient: Float[Tensor, ""]
    cosine: Float[Tensor, ""]
    skipped: Float[Tensor, ""]


class Clipping(nn.Module, ABC):
    """A clipping strategy. It changes gradients in place, once an optimiser step, after accumulation and unscaling."""

    changes_gradients: bool = True
    """Whether `forward` may change a gradient."""
    acts_inside: bool = False
    """Whether `intervention` or `truncate` says something."""
    truncate: tuple[int, int] | None = None
    """k1 and k2 of truncated backpropagation through time; None: whole. See `unroll`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "inside" in vars(cls):
            raise TypeError(f"{cls.__name__}.inside: this method is now called `intervention`; rename it, nothing else")

    def attach(self, cells: Sequence[Cell], readout: nn.Module, trees: bool | None = None) -> None:
        """Learn what the parameters belong to: the layers' cells, and the last linear layer. Called once before
        training.

        Args:
            trees: whether the data are laid out as trees; None: as chains or trees, not known.

        Raises:
            ValueError: the strategy has no meaning there; says why.
        """
        if trees and self.truncate is not None:
            raise ValueError(
                f"clipping={type(self).__name__.lower()}: cuts time into windows, but this structure is a tree; use "
                "clipping=depth_detach, or structure=chain"
            )

    def intervention(self, cell: Cell, structure: Chain | Forest, layer: int, unit: LossScale) -> Intervention | None:
        """The intervention in the backward pass through this layer, for one training batch; None: none.

        Called once a layer and training batch, from the bottom up.

        Args:
            unit: to be handed to `Intervention`, so that thresholds are in units of a sample's own summed loss.
        """
        return None

    @abstractmethod
    def forward(self, parameters: list[nn.Parameter]) -> Float[Tensor, ""] | None:
        """Change each `parameter.grad` in place, or `skip` the step.

        Args:
            parameters: those that have a gradient.

        Returns:
            The coefficient: the factor by which the global norm was scaled (1: the gradient was left as it is). None:
            the ratio of the norms after and before, which are measured anyway (1 where the norm was zero).
        """


class BackwardStrategy(Clipping):
    """A strategy that acts inside backpropagation, at every state. It leaves the parameters' gradients as they come out
    of that."""

    changes_gradients = False
    acts_inside = True

    @abstractmethod
    def intervention(
        self, cell: Cell, structure: Chain | Forest, layer: int, unit: LossScale
    ) -> Intervention | None: ...

    def forward(self, parameters: list[nn.Parameter]) -> Tensor:
        return constant(1.0)


class Composed(Clipping):
    """Strategies one after another. Each acts on what the one before left.

    `did` says what each did at the last step.

    Args:
        strategies: by name.

    Raises:
        ValueError: two of them contradict each other.
    """

    def __init__(self, strategies: dict[str, Clipping]) -> None:
        super().__init__()
        self.strategies: Any = ModuleMapping(strategies)
        self.did: dict[str, ClippingEffect] = {}
        self.changes_gradients = any(one.changes_gradients for one in strategies.values())
        self.acts_inside = any(one.acts_inside for one in strategies.values())
        truncating = {name: one.truncate for name, one in strategies.items() if one.truncate is not None}
        if len(truncating) > 1:
            raise ValueError(f"clipping: given {' and '.join(truncating)}, expected one way to truncate; leave one out")
        self.truncate = next(iter(truncating.values()), None)
        if "none" in strategies and len(strategies) > 1:
            others = ",".join(name for name in strategies if name != "none")
            raise ValueError(f"clipping: given none beside {others}, which contradict; leave none out")

    def attach(self, cells: Sequence[Cell], readout: nn.Module, trees: bool | None = None) -> None:
        for strategy in self.strategies.values():
            strategy.attach(cells, readout, trees)

    def intervention(self, cell: Cell, structure: Chain | Forest, layer: int, unit: LossScale) -> Intervention | None:
        return combine(one.intervention(cell, structure, layer, unit) for one in self.strategies.values())

    def forward(self, parameters: list[nn.Parameter]) -> None:
        self.did = {name: clip(strategy, parameters) for name, strategy in self.strategies.items()}


def global_norm(parameters: Iterable[nn.Parameter]) -> Float[Tensor, ""]:
    """The L2 norm of all gradients together, accumulated in float64: squares of 1e-25 do not vanish."""
    present = [parameter for parameter in parameters if parameter.grad is not None]
    if not present:
        return torch.zeros((), dtype=torch.float64)
    gradient = side_by_side(present)  # one operation: as many as there are parameters take three times as long
    if gradient.dtype == torch.float64:
        return l2_norm(gradient)
    return torch.linalg.vector_norm(gradient, dtype=torch.float64)  # which holds the squares of all that float32 holds


def factor_to_bound(norm: Tensor, most: Tensor | float) -> Tensor:
    """min(1, most / norm): the coefficient that scales a norm to at most `most`. 1 where the norm is zero or `most` is
    infinite; else NaN where the norm is NaN."""
    if isinstance(most, float):
        return torch.ones_like(norm) if most == torch.inf else (most / norm).clamp(max=1.0)
    free = (norm == 0) | (most == torch.inf)
    return torch.where(free, 1.0, (most / norm).clamp(max=1.0))


def clip(strategy: Clipping, parameters: Iterable[nn.Parameter]) -> ClippingEffect:
    """Apply `strategy` to the gradients of `parameters`; returns what it did."""
    with torch.no_grad():
        present = [parameter for parameter in parameters if parameter.grad is not None]
        if not strategy.changes_gradients or not present:
            norm, coefficient = global_norm(present), strategy(present)
            one, zero = constant(1.0, norm.device), constant(0.0, norm.device)
            return ClippingEffect(norm, norm, one if coefficient is None else coefficient, one, zero)
        before = side_by_side(present)
        coefficient = strategy(present)
        skipped = all(parameter.grad is None for parameter in present)
        return measure_effect(before, None if skipped else side_by_side(present), coefficient)


@functools.cache
def constant(value: float, device: torch.device | None = None) -> Tensor:
    """A number of an effect, float64, that is the same at most steps. It is shared: nothing may change it in place."""
    return torch.full((), value, dtype=torch.float64, device=device)


def measure_effect(before: Tensor, after: Tensor | None, coefficient: Tensor | None) -> ClippingEffect:
    """The effect that a change of a gradient had.

    Args:
        before, after: all of it side by side; after None: the step is skipped.
        coefficient: as `Clipping.forward` gave it.
    """
    norm = torch.linalg.vector_norm(before, dtype=torch.float64)
    one, zero = constant(1.0, norm.device), constant(0.0, norm.device)
    if after is None:
        return ClippingEffect(norm, zero, zero, torch.full_like(norm, torch.nan), one)
    norm_after = torch.linalg.vector_norm(after, dtype=torch.float64)
    if coefficient is None:
        coefficient = torch.where(norm == 0, one, norm_after / norm)
    return ClippingEffect(norm, norm_after, coefficient, _cosine(before, after, norm, norm_after), zero)


def skip(parameters: Iterable[nn.Parameter]) -> None:
    """Skip the optimiser's step: without a gradient a parameter and its moments stay as they are."""
    for parameter in parameters:
        parameter.grad = None


def scale(parameter: nn.Parameter, coefficient: Float[Tensor, ""]) -> None:
    """Multiply one gradient by `coefficient` (1 changes no bit).

    Below 1 the product is smaller by an epsilon of the gradient's precision (and by 1e-13): rounding could otherwise
    leave its norm above the threshold. It is taken in float64, where the coefficient of an exploding gradient is no
    subnormal number.
    """
    gradient = parameter.grad
    if gradient is not None:
        slack = torch.finfo(gradient.dtype).eps + SLACK
        factor = torch.where(coefficient < 1.0, coefficient * (1.0 - slack), coefficient)
        gradient.copy_(gradient.double() * factor)


def side_by_side(parameters: list[nn.Parameter]) -> Float[Tensor, " n"]:
    """All gradients in one vector; a copy."""
    return torch.cat([parameter.grad.reshape(-1) for parameter in parameters if parameter.grad is not None])


def _cosine(before: Tensor, after: Tensor, norm_before: Tensor, norm_after: Tensor) -> Tensor:
    """Of float64 each is divided by its norm first: the product of two small ones would vanish, of two large ones be
    infinite. Products of any two float32 are within float64's range."""
    if before.dtype == torch.float64:
        return torch.dot(before / norm_before, after / norm_after)
    return torch.dot(before.double(), after.double()) / norm_before / norm_after
