"""What acts inside the backward pass, for the reference engine: functions of autograd that are identities forwards."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from rnn_research.cells.base import Cell, State, marking
from rnn_research.unroll import norms
from rnn_research.unroll.intervention import Intervention, NormsByPoint, cut_or_scaled, unmarked

Rows = slice | Tensor
"""Which rows of the loop."""


class ActiveIntervention:
    """An `Intervention` at the rows of one loop, and the record of what it did.

    Args:
        later: the row of the state that reads each row's; -1: none does.
        positions: the row's place among the structure's flat positions.
        record: keep the direct and the recurrent part of the adjoints, as they are added to each other.
    """

    def __init__(
        self, intervention: Intervention, cell: Cell, positions: Tensor, later: Tensor, like: Tensor, record: bool
    ) -> None:
        rows, device = len(positions), like.device
        self.intervention, self.cell, self.later = intervention, cell, later.to(device)
        factors = [None if one is None else one.detach().to(device).reshape(-1)[positions] for one in intervention.keep]
        self.keep = [None if one is None else one.to(like.dtype)[:, None] for one in factors]
        zeros = functools.partial(torch.zeros, rows, dtype=torch.float64, device=device)
        self.norms = zeros()  # of each delta of this pass, after the second point
        self.norms_by_point: NormsByPoint = {point: (zeros(), zeros()) for point in intervention.points}
        self.clamped_norms = zeros(), zeros()  # of this pass's gradients of pre-activations, before and after
        parts = len(cell.state_names) if record else 0
        self.direct = [like.new_zeros(rows, cell.hidden_size) for _ in range(parts)]
        self.recurrent = [like.new_zeros(rows, cell.hidden_size) for _ in range(parts)]
        self.recording, self.reached, self.marks = True, False, 0

    def step(self, rows: Rows, projected: Tensor, *previous: State) -> State:
        """`cell.step` of these rows, with what acts on its pre-activations."""
        acts = "preactivation" in self.norms_by_point
        with marking(functools.partial(self._mark, rows)) if acts else contextlib.nullcontext():
            return self.cell.step(projected, *previous)

    def readers(self, rows: Rows, state: State) -> tuple[State, State]:
        """The state for its readers at its own position, and for the later state."""
        made = _StateFunction.apply(self, rows, *state)
        count = len(state)
        return type(state)(*made[:count]), type(state)(*made[count:])

    @contextlib.contextmanager
    def disabled(self) -> Iterator[None]:
        """Within it, passes act and leave no trace."""
        self.recording = False
        try:
            yield
        finally:
            self.recording = True

    def check(self) -> None:
        """Raise ValueError where pre-activations are to be clamped and none was marked."""
        if "preactivation" in self.norms_by_point and not self.marks:
            raise unmarked(self.cell)

    def points(self) -> NormsByPoint:
        """The norms before and after each point: of every pass, added up."""
        self._finish(slice(None))
        return self.norms_by_point

    def _mark(self, rows: Rows, z: Tensor) -> Tensor:
        self.marks += 1
        return _PreactivationFunction.apply(self, rows, z)  # type: ignore[return-value]

    def act(self, rows: Rows, recurrent: Sequence[Tensor], direct: Sequence[Tensor]) -> list[Tensor]:
        """The first two points: the gradients of a state's two readers -> the state's adjoint."""
        max_norm, _ = self.intervention.limits
        came, later = norm(recurrent), self.later[rows]
        kept = self._kept(rows, recurrent)
        kept = self._scaled(kept, torch.where(later < 0, torch.nan, self.norms[later]))
        kept = self._own(self.intervention.on_recurrent, kept)
        total = [r + d for r, d in zip(kept, direct, strict=True)]
        before = norm(total)
        factor = torch.where((before > max_norm) & before.isfinite(), max_norm / before, 1.0).to(total[0].dtype)
        delta = self._own(self.intervention.on_adjoint, [part * factor[:, None] for part in total])
        self.norms[rows] = norm(delta)
        if self.recording:
            self._finish(rows)
            self.reached = True
            self._record("recurrent", rows, came, norm(kept))
            self._record("adjoint", rows, before, self.norms[rows])
            for own, parts in ((self.direct, direct), (self.recurrent, kept)):
                for sum_, part in zip(own, parts, strict=False):
                    sum_[rows] += part * factor[:, None]
        return delta

    def _kept(self, rows: Rows, parts: Sequence[Tensor]) -> list[Tensor]:
        if not self.keep:
            return list(parts)
        pairs = zip(parts, self.keep, strict=True)
        return [part if factor is None else cut_or_scaled(part, factor[rows]) for part, factor in pairs]

    def _scaled(self, parts: list[Tensor], later: Tensor) -> list[Tensor]:
        """To the later state's norm, as far as the exponent goes."""
        if self.intervention.exponent == 0:
            return parts
        own = norm(parts)
        fits = (own > 0) & own.isfinite() & later.isfinite()
        factor = torch.where(fits, (later / own) ** self.intervention.exponent, 1.0)
        factor = factor.clamp(max=torch.finfo(parts[0].dtype).max).to(parts[0].dtype)[:, None]
        return [cut_or_scaled(part, factor) for part in parts]

    def _own(self, function: Callable[[Any], Any] | None, parts: Sequence[Tensor]) -> list[Tensor]:
        return list(parts if function is None else function(tuple(parts)))

    def clamped(self, rows: Rows, grad: Tensor) -> Tensor:
        """The third point."""
        _, limit = self.intervention.limits
        out = grad.clamp(-limit, limit)
        if self.intervention.on_preactivation is not None:
            out = self.intervention.on_preactivation(out)
        if self.recording:
            for total, value in zip(self.clamped_norms, (grad, out), strict=True):
                total[rows] = torch.hypot(total[rows], norms.norm(value.flatten(1), -1))
        return out

    def _record(self, point: str, rows: Rows, before: Tensor, after: Tensor) -> None:
        if point in self.norms_by_point:
            for total, value in zip(self.norms_by_point[point], (before, after), strict=True):
                total[rows] += value

    def _finish(self, rows: Rows) -> None:
        """The norms of the last pass that reached these rows are whole."""
        if "preactivation" in self.norms_by_point:
            self._record("preactivation", rows, *(total[rows] for total in self.clamped_norms))
            for total in self.clamped_norms:
                total[rows] = 0


def norm(parts: Sequence[Tensor]) -> Tensor:
    """L2 over all parts jointly, a row each, in float64."""
    return norms.norm(torch.cat(list(parts), -1), -1)


class _StateFunction(torch.autograd.Function):
    """(active, rows, *parts) -> each part for its own position's readers, then each for the later state."""

    @staticmethod
    def forward(ctx: Any, active: ActiveIntervention, rows: Rows, *parts: Tensor) -> Any:
        ctx.active, ctx.rows = active, rows
        return (*(part.view_as(part) for part in parts), *(part.view_as(part) for part in parts))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        _refuse_second_derivative()
        count = len(grads) // 2
        return None, None, *ctx.active.act(ctx.rows, grads[count:], grads[:count])


class _PreactivationFunction(torch.autograd.Function):
    """(active, rows, z) -> z, whose gradient is clamped."""

    @staticmethod
    def forward(ctx: Any, active: ActiveIntervention, rows: Rows, z: Tensor) -> Tensor:
        ctx.active, ctx.rows = active, rows
        return z.view_as(z)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        _refuse_second_derivative()
        return None, None, ctx.active.clamped(ctx.rows, grads[0])


def _refuse_second_derivative() -> None:
    if torch.is_grad_enabled():
        raise RuntimeError(
            "interventions: what acts within the backward pass has no derivative, but create_graph=True asks for one; "
            "leave interventions out"
        )
