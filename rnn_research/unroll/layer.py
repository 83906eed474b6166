"""What an unrolled cell hands back: its states and, after `backward`, their adjoints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rnn_research.cells.base import Cell, State
from rnn_research.structures import Chain, Forest
from rnn_research.unroll.reference import Call, Fold


class Layer:
    """One cell's states along a structure, and, after `backward`, the gradient of the loss in each of them.

    All are aligned with the structure's positions: (batch, time, hidden) on a chain, with zeros at padding, and
    (nodes, hidden) on a forest. Three gradients of a state s (h, and c where there is one):

    * `adjoints`: dL/ds, the total.
    * `direct`: the part that reaches s from the readout (or the layer above) at its own position. c has no readout;
      its direct part is what comes through the h of the same position.
    * `recurrent`: the part that reaches s from later states (towards the root). direct + recurrent = adjoints.

    `distance` is the number of cell applications between the state and the last state of its structure, whose loss
    it is measured to: `length - 1 - t` in a chain, the depth in a tree, plus one a layer above. Every path is as long.
    Where there is a loss at every position, the adjoint at distance d is the sum over the losses at 0..d
    applications, and `adjoints_of` gives the part of any one loss.
    """

    def __init__(
        self, cell: Cell, structure: Chain | Forest, fold: Fold, above: int, record: bool, layers: list[Layer]
    ) -> None:
        self.cell, self.structure = cell, structure
        self._fold, self._above, self._record, self._layers = fold, above, record, layers
        self._placed: dict[str, Tensor] = {}
        self._weights = self._versions()

    @property
    def hidden(self) -> Tensor:
        """h at every position: what the readout reads."""
        return self._part("hidden")

    @cached_property
    def states(self) -> State:
        """The states at every position."""
        return self.cell.state_type(*(self._part(name) for name in self.cell.state_names))

    @cached_property
    def distance(self) -> Tensor:
        """Cell applications to the last state of the top layer; negative at padding."""
        return torch.where(self.mask, self.structure.distance + self._above, -1)

    @property
    def mask(self) -> Tensor:
        """False at padding."""
        return self.structure.mask

    @cached_property
    def adjoints(self) -> State:
        """dL/ds of every state.

        Raises:
            RuntimeError: no backward pass has been run, or the layer was unrolled without `record`.
        """
        self._check()
        return self._by_call([[part.grad for part in call.state] for call in self._fold.calls])

    @cached_property
    def direct(self) -> State:
        """The part of dL/ds from the state's own position. Read it before the cell's parameters change.

        Raises:
            RuntimeError: as `adjoints`, or the parameters of a cell with h and c have changed since.
        """
        self._check()
        for name in self.cell.state_names:
            self._part(name)  # a part that nothing read has a zero gradient
        return self._through_step([self._flat(_grad(self._placed[name])) for name in self.cell.state_names])

    @cached_property
    def recurrent(self) -> State:
        """The part of dL/ds from later states. Read it, and raises, as `direct`."""
        self._check()
        passed = self._fold.passed
        return self._through_step([torch.cat([_grad(state[part]) for state in passed]) for part in self._parts])

    def adjoints_of(self, loss: Tensor) -> State:
        """d loss/ds of every state, for a scalar of this unroll's graph other than the one trained on.

        Call it before `backward` (which frees the graph); it leaves every `.grad` of the unroll and of the
        parameters as it is.
        """
        parts = [part for call in self._fold.calls for part in call.state]
        retained = [tensor for layer in self._layers for tensor in layer._retained()]
        before = [tensor.grad for tensor in retained]
        grads = iter(torch.autograd.grad(loss, parts, retain_graph=True, allow_unused=True))
        for tensor, grad in zip(retained, before, strict=True):
            tensor.grad = grad  # autograd.grad, too, adds to each gradient that is retained on its way
        return self._by_call([[next(grads) for _ in call.state] for call in self._fold.calls])

    def updates(self) -> Iterator[tuple[Tensor, Tensor, tuple[State, ...]]]:
        """Every update again: flat positions, projected inputs and previous states, detached; those with equally
        many previous states come together."""
        for rows, projected, previous in self._updates():
            yield self._fold.positions[rows], projected, previous

    def _updates(self) -> Iterator[tuple[Tensor, Tensor, tuple[State, ...]]]:
        calls: dict[int, list[Call]] = {}
        for call in self._fold.calls:
            calls.setdefault(len(call.previous), []).append(call)
        for count, group in calls.items():
            previous = tuple(
                self.cell.state_type(*(_cat([call.previous[child][part] for call in group]) for part in self._parts))
                for child in range(count)
            )
            rows = torch.cat([call.rows for call in group]).to(self._fold.positions.device)
            yield rows, _cat([call.projected for call in group]), previous

    @property
    def _parts(self) -> range:
        return range(len(self.cell.state_names))

    def _retained(self) -> list[Tensor]:
        """Every tensor that keeps its gradient for the adjoints."""
        if not self._record:
            return []
        states = [*(call.state for call in self._fold.calls), *self._fold.passed]
        return [*(part for state in states for part in state), *self._placed.values()]

    def _versions(self) -> list[int]:
        return [parameter._version for parameter in self.cell.parameters()]

    def _check(self) -> None:
        if not self._record:
            raise RuntimeError("adjoints: this unroll recorded none; call unroll(..., record=True)")
        if all(part.grad is None for call in self._fold.calls for part in call.state):
            raise RuntimeError("adjoints: no backward pass has reached these states; call backward on a loss of them")

    def _part(self, name: str) -> Tensor:
        """One part of the states at every position, made once, so that its gradient is the readout's."""
        if name not in self._placed:
            index = self.cell.state_names.index(name)
            placed = self._scatter(torch.cat([state[index] for state in self._fold.states]))
            if self._record and placed.requires_grad:
                placed.retain_grad()
            self._placed[name] = placed
        return self._placed[name]

    def _scatter(self, flat: Tensor) -> Tensor:
        """Rows of the fold -> the structure's positions."""
        if isinstance(self.structure, Forest):
            return flat
        batch, time = len(self.structure), self.structure.time
        if len(flat) == batch * time:
            return flat.view(time, batch, -1).transpose(0, 1)
        padded = flat.new_zeros(batch * time, flat.shape[-1]).index_copy(0, self._fold.positions, flat)
        return padded.view(batch, time, -1)

    def _flat(self, placed: Tensor) -> Tensor:
        """The structure's positions -> rows of the fold."""
        return placed.reshape(-1, placed.shape[-1])[self._fold.positions]

    def _by_call(self, grads: list[list[Tensor | None]]) -> State:
        """Gradients in the results of the calls -> the structure's positions; None (not reached) is zero."""
        columns = [torch.zeros_like(_cat([state[part] for state in self._fold.states])) for part in self._parts]
        for call, found in zip(self._fold.calls, grads, strict=True):
            for column, grad in zip(columns, found, strict=True):
                if grad is not None:
                    column[call.rows] = grad
        return self.cell.state_type(*(self._scatter(column) for column in columns))

    def _through_step(self, grads: list[Tensor]) -> State:
        """Gradients in the states as they left their updates, carried to the parts inside the update they depend on
        (an LSTM's h depends on its c): one batched, local vector-Jacobian product, with the previous states fixed.
        """
        if len(grads) > 1:
            grads = self._inside_update(grads)
        return self.cell.state_type(*(self._scatter(flat) for flat in grads))

    def _inside_update(self, grads: list[Tensor]) -> list[Tensor]:
        if self._versions() != self._weights:
            raise RuntimeError(
                "adjoints: the cell's parameters have changed since this unroll; read direct and recurrent "
                "before the optimiser's step"
            )
        out = [torch.zeros_like(grad) for grad in grads]
        for rows, projected, previous in self._updates():
            with torch.enable_grad():
                state = self.cell.step(projected.requires_grad_(), *previous)
                carried = torch.autograd.grad(tuple(state), tuple(state), tuple(grad[rows] for grad in grads))
            for part, value in zip(out, carried, strict=True):
                part[rows] = value
        return out


def _grad(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


def _cat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.detach() for tensor in tensors])


@dataclass(frozen=True, eq=False)
class Unrolled:
    """A cell, or layers of cells, along a structure. Its own attributes are the top layer's; see `Layer`."""

    layers: tuple[Layer, ...]

    @property
    def top(self) -> Layer:
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
