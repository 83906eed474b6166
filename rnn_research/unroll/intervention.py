"""What acts inside backpropagation: on the adjoint of every state of a layer, as it is carried from node to node.

At a node with state s (parts h and, where there is one, c), the backward pass has three points, in this order:

1. `recurrent`: the recurrent part r of the adjoint, what reaches s from the later state that read it (of a chain the
   next step, of a tree the parent), before h's own path to c. r_k <- keep_k r_k, then r <- r (n_later / n)^exponent
   with n = ||r|| over all parts jointly, and n_later the norm of the later state's delta after point 2.
2. `adjoint`: delta = r + what reaches s from its own position; delta <- delta min(1, max_norm / ||delta||).
3. `preactivation`: the gradients in the cell's marked pre-activations (`Cell.preactivation`) are clamped to
   [-max_value, max_value], element by element (Graves 2013, arXiv:1308.0850, section 2.1). Previous states, inputs and
   weights see the clamped ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rnn_research.cells.base import Cell
from rnn_research.checks import number
from rnn_research.structures import Chain, Forest

Parts = tuple[Tensor, ...]
"""(nodes, hidden) each: h and, where there is one, c."""
NormsByPoint = dict[str, tuple[Tensor, Tensor]]
"""Of each point that acts, the norms before and after it."""


@dataclass
class LossScale:
    """What thresholds are measured in, read when the backward pass comes by: the size of a sample's own loss in the
    total, so that a threshold does not depend on the batch's size, accumulation or loss scaling. At least 0."""

    value: float = 1.0


@dataclass(frozen=True, eq=False)
class Intervention:
    """What acts at every node of one layer. The points and their order: see this module.

    Args:
        keep: a factor for each part of the state, of the structure's positions (batch, time) or (nodes,); None: 1.
            0 cuts: what is not finite is cut as well. 0 for h and None for c is h-detach (Kanuparthi et al. 2019).
        exponent: of (n_later / n): 0 leaves the recurrent part, 1 gives it the later delta's norm. It is also left
            where n is 0, where either norm is not finite, and where there is no later state.
        max_norm: the largest norm of delta, times `unit.value`; infinite: none. A delta whose norm is not finite is
            left as it is.
        max_value: the largest gradient of a pre-activation, times `unit.value`; infinite: none. NaN stays NaN.
        unit: what the thresholds are measured in.
        on_recurrent, on_adjoint: of the user's own, (parts) -> parts, after what acts at that point; (nodes, hidden)
            each, of some nodes at a time. The reference engine alone calls them.
        on_preactivation: the same of a gradient, which has the shape of what the cell marked.

    Raises:
        ValueError: a threshold that is not above 0, an exponent below 0 or not finite, factors that are no tensors.
    """

    keep: Sequence[Tensor | None] = ()
    exponent: float = 0.0
    max_norm: float = math.inf
    max_value: float = math.inf
    unit: LossScale = field(default_factory=LossScale)
    on_recurrent: Callable[[Parts], Parts] | None = None
    on_adjoint: Callable[[Parts], Parts] | None = None
    on_preactivation: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        number("exponent", self.exponent, least=0)
        for name in ("max_norm", "max_value"):
            _threshold(name, getattr(self, name))
        for factor in self.keep:
            if factor is not None and not (isinstance(factor, Tensor) and not factor.is_complex()):
                raise ValueError(f"keep: given {factor!r}, expected None or a tensor of real factors, one a part")

    @property
    def points(self) -> tuple[str, ...]:
        """The points at which something acts."""
        kept = any(factor is not None for factor in self.keep)
        acts = {
            "recurrent": kept or self.exponent != 0 or self.on_recurrent is not None,
            "adjoint": self.max_norm < math.inf or self.on_adjoint is not None,
            "preactivation": self.max_value < math.inf or self.on_preactivation is not None,
        }
        return tuple(point for point, does in acts.items() if does)

    @property
    def calls(self) -> tuple[str, ...]:
        """The points of the user's own callables."""
        return tuple(name for name in CALLS if getattr(self, name) is not None)

    @property
    def limits(self) -> tuple[float, float]:
        """max_norm and max_value in the loss's units as they are now; none where that is no number (0 infinity)."""
        limits = self.max_norm * self.unit.value, self.max_value * self.unit.value
        return limits[0] if limits[0] >= 0 else math.inf, limits[1] if limits[1] >= 0 else math.inf


CALLS = ("on_recurrent", "on_adjoint", "on_preactivation")


def combine(parts: Iterable[Intervention | None]) -> Intervention | None:
    """All of them at once: factors multiply, callables are called one after the other; None: nothing acts.

    Raises:
        ValueError: two exponents, two thresholds at one point, or thresholds in two units.
    """
    given = [one for one in parts if one is not None and one.points]
    if len(given) <= 1:
        return given[0] if given else None
    scaled = [one.unit for one in given if one.max_norm < math.inf or one.max_value < math.inf]
    if len(set(map(id, scaled))) > 1:
        raise ValueError("unit: given two units, expected one: give both thresholds the same LossScale")
    joined: dict[str, Any] = {name: _chained([getattr(one, name) for one in given]) for name in CALLS}
    return Intervention(
        _product([one.keep for one in given]),
        exponent=_only("exponent", [one.exponent for one in given], 0.0),
        max_norm=_only("max_norm", [one.max_norm for one in given], math.inf),
        max_value=_only("max_value", [one.max_value for one in given], math.inf),
        unit=scaled[0] if scaled else given[0].unit,
        **joined,
    )


def check(interventions: Sequence[Intervention | None], cells: Sequence[Cell], structure: Chain | Forest) -> None:
    """Raise ValueError where there is not one a layer, or its factors don't fit the layer's state or the structure."""
    if len(interventions) != len(cells):
        raise ValueError(f"interventions: given {len(interventions)}, expected {len(cells)}: one (or None) a layer")
    positions = structure.shape
    for one, cell in zip(interventions, cells, strict=True):
        if one is None or not one.keep:
            continue
        given = [None if factor is None else tuple(factor.shape) for factor in one.keep]
        if len(given) != len(cell.state_names) or any(shape not in (None, positions) for shape in given):
            parts = ", ".join(cell.state_names)
            raise ValueError(f"keep: given shapes {given}, expected None or {positions} for each part ({parts})")


def unmarked(cell: Cell) -> ValueError:
    """The reason why nothing can act on a cell's pre-activations."""
    name = type(cell).__name__
    return ValueError(
        f"max_value: given for {name}, expected a cell that marks its pre-activations: in {name}.step, write "
        "self.preactivation(z) for the z that each gate's nonlinearity reads"
    )


def cut_or_scaled(values: Tensor, factor: Tensor) -> Tensor:
    """values * factor, and 0 where the factor is 0, whatever the value."""
    return torch.where(factor == 0, 0.0, values * factor)


def _threshold(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ValueError(f"{name}: given {value!r}, expected a number > 0, or infinity for none")


def _only(name: str, values: Sequence[float], none: float) -> float:
    acting = [value for value in values if value != none]
    if len(acting) > 1:
        raise ValueError(
            f"{name}: given {' and '.join(f'{value:g}' for value in acting)} at one point, expected one: which comes "
            "first would be by chance; leave one out"
        )
    return acting[0] if acting else none


def _product(keeps: Sequence[Sequence[Tensor | None]]) -> tuple[Tensor | None, ...]:
    """Part by part; a description without factors has 1."""
    sizes = {len(keep) for keep in keeps if keep}
    if len(sizes) > 1:
        raise ValueError(f"keep: given {sorted(sizes)} factors, expected as many in each: one a part of the state")
    return tuple(_times([keep[part] for keep in keeps if keep]) for part in range(max(sizes, default=0)))


def _times(factors: Sequence[Tensor | None]) -> Tensor | None:
    product: Tensor | None = None
    for factor in factors:
        if factor is not None:
            product = factor if product is None else product * factor
    return product


def _chained(functions: Sequence[Callable[[Any], Any] | None]) -> Callable[[Any], Any] | None:
    acting = [function for function in functions if function is not None]
    if not acting:
        return None

    def one_after_the_other(value: Any) -> Any:
        for function in acting:
            value = function(value)
        return value

    return one_after_the_other
