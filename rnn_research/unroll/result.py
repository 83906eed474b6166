"""The result of an unroll: states and, after `backward`, their adjoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from rnn_research.cells.base import State
from rnn_research.checks import choice
from rnn_research.structures import Chain, Forest
from rnn_research.unroll.intervention import NormsByPoint
from rnn_research.unroll.select import EngineChoice
from rnn_research.unroll.unfolding import GRADIENTS, GateActivations, Unfolding
from rnn_research.unroll.versions import CHANGED, Versions


class LayerStates:
    """One layer's states along a structure and, after `backward`, the gradient of the loss in each of them.

    All are aligned with the structure's positions: (batch, time, hidden) on a chain, with zeros at padding, and
    (nodes, hidden) on a forest. Three gradients of a state s (h, and c where there is one):

    * `adjoints`: dL/ds, the total. Where something acts inside the backward pass (`unroll(..., interventions=...)`),
      what flows after it has acted on the adjoint at this position.
    * `direct`: the part that reaches s from the readout (or the layer above) at its own position. c has no readout;
      its direct part is what comes through the h of the same position.
    * `recurrent`: the part that reaches s from later states (towards the root). direct + recurrent = adjoints. Where
      something acts inside: after it has acted on that part, and both parts times the factor that scales their sum,
      so that this still holds. (Not included in the parts: what a callable of the user's makes of the sum; and a
      clamp of a pre-activation that reads another part of the same new state, as that of a peephole does.)

    `distance` is the number of cell applications between the state and the last state of its structure, whose loss
    it is measured to: `length - 1 - t` in a chain, the depth in a tree, plus one a layer above, and where another chain
    goes on from the last state (a decoder) plus its steps. Every path through states is as long.
    `engine` says which engine computed it, and why.
    Where there is a loss at every position, the adjoint at distance d is the sum over the losses at 0..d
    applications, and `adjoints_of` gives the part of any one loss.
    """

    def __init__(self, unfolding: Unfolding, above: int | Tensor, engine: EngineChoice) -> None:
        self.cell, self.structure, self.engine = unfolding.cell, unfolding.structure, engine
        self._unfolding, self._above = unfolding, above
        self._weights = self._versions()
        self._read = (
            Versions({"lengths": _lengths(self.structure), **unfolding.read_again()}) if unfolding.record else None
        )
        self._found: dict[str, tuple[int, State]] = {}

    @property
    def hidden(self) -> Tensor:
        """h at every position: what the readout reads."""
        return self._unfolding.hidden

    @cached_property
    def states(self) -> State:
        """The states at every position."""
        return self._unfolding.states

    def ends(self) -> State:
        """The states after each sequence's last step, or at the roots, as numbers alone: without a gradient."""
        return self._unfolding.ends()

    @cached_property
    def distance(self) -> Tensor:
        """Cell applications to the last state of the top layer; negative at padding."""
        return torch.where(self.mask, self.structure.distance + self._above, -1)

    @property
    def mask(self) -> Tensor:
        """False at padding."""
        return self.structure.mask

    @property
    def adjoints(self) -> State:
        """dL/ds of every state; over several backward passes their sum, as `.grad` is.

        Raises:
            RuntimeError: no backward pass has been run, or the layer was unrolled without `record`.
        """
        return self._once("adjoints")

    @property
    def direct(self) -> State:
        """The part of dL/ds from the state's own position. Read it before the cell's parameters change.

        Raises:
            RuntimeError: as `adjoints`; the cell's parameters have changed since, or what the unroll read or gave has
                been changed in place; the cell's updates can't be run again as they were (they draw random numbers).
        """
        return self._once("direct")

    @property
    def recurrent(self) -> State:
        """The part of dL/ds from later states. Read it, and raises, as `direct`."""
        return self._once("recurrent")

    def norms(self, which: str = "adjoints") -> State:
        """The L2 norm of each of the `adjoints`, of their `direct` or their `recurrent` part: one number a position,
        float64 (squares of 1e-25 do not vanish). Unrolled with `record="parts"` they are there already.

        Raises:
            RuntimeError: as the gradients themselves.
            ValueError: `which` is none of the three.
        """
        choice("which", which, GRADIENTS)
        self._check(again=which != "adjoints")
        passes, known = self._found.get(which, (0, None))
        return self._unfolding.norms(which, known if passes == self._unfolding.passes else None)

    def norms_by_point(self) -> NormsByPoint:
        """The L2 norms before and after each point at which an intervention acted in the backward pass.

        The points are among "recurrent", "adjoint" and "preactivation". A norm is over all parts of the state jointly
        (over all marked pre-activations of the node), float64, one a position, zero at padding. They are there
        whatever `record` was. Over several backward passes, and over the passes of a truncated one, they add up.

        Raises:
            RuntimeError: something acts, and no backward pass has been run.
        """
        points = self._unfolding.norms_by_point()
        if points is None:
            raise RuntimeError(
                "norms_by_point: no backward pass has reached these states; call backward on a loss of them"
            )
        return points

    def adjoints_of(self, loss: Tensor) -> State:
        """d loss/ds of every state, for a scalar of this unroll's graph other than the one trained on.

        Call it before `backward` (which frees the graph); it leaves every `.grad` of the unroll and of the
        parameters as it is. What acts inside the backward pass acts on this loss's as well, and leaves no record.

        Raises:
            RuntimeError: the parameters have changed since the unroll, or what it read in place.
        """
        self._check_unchanged()
        return self._unfolding.adjoints_of(loss)

    def updates(self) -> Iterator[tuple[Tensor, Tensor, tuple[State, ...]]]:
        """Yield what every update read: flat positions, projected inputs and previous states, detached. Updates with
        equally many previous states come together."""
        self._check_unchanged()
        for rows, projected, previous, _ in self._unfolding.updates():
            yield rows, projected, previous

    def as_unrolled(self) -> AbstractContextManager[Any]:
        """A context in which updates have the mixed precision of this unroll, if it had one."""
        return self._unfolding.as_unrolled()

    def kept(self) -> GateActivations | None:
        """The gates' activations that the engine's forward pass kept; None: it kept none."""
        return self._unfolding.kept()

    def _versions(self) -> list[int]:
        return [parameter._version for parameter in self.cell.parameters()]

    def _once(self, which: str) -> State:
        """A gradient by its name. It is computed once after each backward pass."""
        self._check()
        passes = self._unfolding.passes
        if which not in self._found or self._found[which][0] != passes:
            self._check(again=which != "adjoints")
            self._found[which] = passes, getattr(self._unfolding, which)()
        return self._found[which][1]

    def _check(self, again: bool = False) -> None:
        if not self._unfolding.record:
            raise RuntimeError("adjoints: this unroll recorded none; call unroll(..., record=True)")
        if not self._unfolding.passes:
            raise RuntimeError("adjoints: no backward pass has reached these states; call backward on a loss of them")
        if again:
            self._check_unchanged()

    def _check_unchanged(self) -> None:
        if self._versions() != self._weights:
            raise RuntimeError(CHANGED)
        if self._read is not None:
            self._read.check()


def _lengths(structure: Chain | Forest) -> list[Tensor]:
    return [structure.lengths] if isinstance(structure, Chain) else [structure.distance, structure.order]


@dataclass(frozen=True, eq=False)
class Unrolled:
    """The layers of one unroll, from the bottom up. Its other attributes are the top layer's: see `LayerStates`."""

    layers: tuple[LayerStates, ...]

    @property
    def top(self) -> LayerStates:
        return self.layers[-1]

    @property
    def states(self) -> State:
        """The top layer's states at every position."""
        return self.top.states

    @property
    def hidden(self) -> Tensor:
        """The top layer's h at every position."""
        return self.top.hidden

    @property
    def distance(self) -> Tensor:
        """Cell applications between each of the top layer's states and the last one; negative at padding."""
        return self.top.distance

    @property
    def mask(self) -> Tensor:
        """False at padding."""
        return self.top.mask

    @property
    def adjoints(self) -> State:
        """dL/ds of the top layer's states."""
        return self.top.adjoints

    @property
    def direct(self) -> State:
        """The part of the adjoints from each state's own position."""
        return self.top.direct

    @property
    def recurrent(self) -> State:
        """The part of the adjoints from later states."""
        return self.top.recurrent
