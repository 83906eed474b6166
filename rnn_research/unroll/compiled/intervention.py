"""What acts within one backward pass of the driver: its parameters, and where the driver leaves what it did."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rnn_research.unroll.compiled.structs import InterventionStruct, pointers
from rnn_research.unroll.intervention import Intervention, NormsByPoint

Limits = tuple[float, float]
"""The largest norm of an adjoint and the largest gradient of a pre-activation, in this pass."""


class DriverIntervention:
    """One pass's.

    Args:
        rows: of the states; `before` them lie those of initial states.
        rows_of: a number a position -> a number a row.
        parts: of a state.
        limits: the thresholds; None: as they are now.
    """

    def __init__(
        self,
        intervention: Intervention,
        rows: int,
        before: int,
        rows_of: Callable[[Tensor], Tensor],
        parts: int,
        limits: Limits | None,
    ) -> None:
        self.limits = intervention.limits if limits is None else limits
        self.points: NormsByPoint = {point: (_zeros(rows), _zeros(rows)) for point in intervention.points}
        self.factor = torch.ones(rows, dtype=torch.float64)
        keep = [None if factor is None else rows_of(factor.detach()) for factor in intervention.keep or [None] * parts]
        later = torch.full((before + rows,), -1.0, dtype=torch.float64) if intervention.exponent != 0 else None
        self._held = [None if one is None else one.to("cpu", torch.float64).contiguous() for one in keep], later
        self.struct = InterventionStruct(
            keep=pointers(self._held[0]),
            exponent=intervention.exponent,
            max_norm=self.limits[0],
            max_value=self.limits[1],
            factor=self.factor.data_ptr(),
        )
        if later is not None:
            self.struct.later = later[before:].data_ptr()
        for point, norms in self.points.items():
            getattr(self.struct, point)[:] = [one.data_ptr() for one in norms]

    def add_to(self, points: NormsByPoint) -> None:
        """Norms add up over passes."""
        for point, (before, after) in self.points.items():
            if point in points:
                before, after = points[point][0] + before, points[point][1] + after
            points[point] = before, after


def _zeros(rows: int) -> Tensor:
    return torch.zeros(rows, dtype=torch.float64)
