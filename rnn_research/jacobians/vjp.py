"""Vector-Jacobian products u J, J = ds_{k+1}/ds_k, of every update of a chain, and their derivative in the recurrent
weight that multiplies in them, with all else constant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rnn_research.cells.base import Cell
from rnn_research.jacobians.product_weight import ProductWeight
from rnn_research.structures import Chain
from rnn_research.unroll import GateActivations, LayerStates
from rnn_research.unroll.update import UpdateCaller as OwnParts

ROWS_AT_ONCE = 512 * 128
"""Numbers of one part of the state that are worked on at once: what is made of them stays in the cache. Divided by the
hidden size it is a number of rows."""


@dataclass(frozen=True, eq=False)
class UpdateBatch:
    """Some updates s_k -> s_{k+1} of a cell.

    `project` computes the projected inputs, (updates, projected). `previous`, `state` and `adjoints` are s_k, s_{k+1}
    and dL/ds_{k+1} as the unroll has it, (updates, hidden) for each part of the state.

    `before` is dL/dh_k where that is known to be what this update passes on, and nothing else; None where it is not.
    `gates` are the activations of each gate, (updates, hidden), where the unroll has kept them; else None.
    """

    cell: Cell
    project: Callable[[], Tensor]
    previous: tuple[Tensor, ...]
    state: tuple[Tensor, ...]
    adjoints: tuple[Tensor, ...]
    before: Tensor | None
    gates: list[Tensor] | None


@dataclass(frozen=True, eq=False)
class VectorJacobian:
    """The vector-Jacobian products of some of a layer's updates.

    `norms` are ||dL/ds_{k+1}||, over all parts of the state jointly, float64, one number an update. `product` is u J
    for u = dL/ds_{k+1} / ||dL/ds_{k+1}||, (updates, hidden) for each part of s_k, and zero where the norm is.
    `immediate` takes a gradient in `product` to the one in `weight_hh`, with u, the states and the activations
    constant.
    """

    norms: Tensor
    product: tuple[Tensor, ...]
    immediate: Callable[[Sequence[Tensor]], Tensor]


def updates_of(layer: LayerStates, silent: Tensor | None = None, inputs: Tensor | None = None) -> Iterator[UpdateBatch]:
    """All updates of a layer along a chain, the first ones (from the zero state) included, some at a time: what is
    computed of them stays in the cache.

    Args:
        silent: (batch, time), where a state's gradient comes from the next update alone; None: not known.
        inputs: what the layer read, (batch, time, input); None: the unroll says it, which takes longer.

    Raises:
        RuntimeError: the layer has no adjoints.
    """
    states, adjoints, kept = tuple(part.detach() for part in layer.states), layer.adjoints, layer.kept()
    for sample, step, project, previous in _asked(layer) if inputs is None else _known(layer, inputs.detach()):
        after, gradients = (tuple(_taken(part, sample, step) for part in both) for both in (states, adjoints))
        known = silent is not None and bool(((step > 0) & silent[sample, step - 1]).all())
        before = _taken(adjoints.hidden, sample, step - 1) if known else None
        gates = None if kept is None else _gates(kept, kept.place[sample, step])
        yield UpdateBatch(layer.cell, project, previous, after, gradients, before, gates)


Asked = Iterator[tuple[Tensor, Tensor, Callable[[], Tensor], tuple[Tensor, ...]]]
"""Samples, steps, what makes the projected inputs, and previous states."""


def _asked(layer: LayerStates) -> Asked:
    """As the unroll tells its updates."""
    assert isinstance(layer.structure, Chain)
    for rows, projected, previous in layer.updates():
        first = previous[0] if previous else layer.cell.initial_state(len(rows))
        for some, inputs, *parts in zip(
            *(part.split(_rows_at_once(layer)) for part in (rows, projected, *first)), strict=True
        ):
            yield some // layer.structure.time, some % layer.structure.time, inputs.clone, tuple(parts)


def _known(layer: LayerStates, inputs: Tensor) -> Asked:
    """The first steps, then all others in time's order, from the inputs and the states."""
    states, (steps, samples) = [part.detach() for part in layer.states], layer.mask.T.nonzero(as_tuple=True)
    batch = len(inputs)
    first, later = (
        (steps[:batch], samples[:batch]),
        (part[batch:].split(_rows_at_once(layer)) for part in (steps, samples)),
    )
    for step, sample in (first, *zip(*later, strict=True)):
        if not len(step):  # every sequence has one step
            continue
        if step is first[0]:
            previous = layer.cell.initial_state(batch)
        else:
            previous = [_taken(part, sample, step - 1) for part in states]
        project = partial(_projected, layer.cell, inputs, sample, step)
        yield sample, step, project, tuple(part.detach() for part in previous)


def _rows_at_once(layer: LayerStates) -> int:
    return max(1, ROWS_AT_ONCE // layer.cell.hidden_size)


@torch.no_grad()
def _projected(cell: Cell, inputs: Tensor, sample: Tensor, step: Tensor) -> Tensor:
    return cell.project(_taken(inputs, sample, step))


def _gates(kept: GateActivations, place: Tensor) -> list[Tensor] | None:
    """The gates' activations of the updates at these places; None where some were not kept."""
    if bool((place < 0).any()):
        return None
    values = _rows(kept.values, place)
    return [values[:, slot] for slot in kept.slot]


def _taken(values: Tensor, sample: Tensor, step: Tensor) -> Tensor:
    """values[sample, step]; without a copy where these lie side by side, as in sequences of equal lengths."""
    batch, time, size = values.shape
    if values.is_contiguous():
        flat, index = values.view(-1, size), sample * time + step
    else:
        flat, index = values.transpose(0, 1).reshape(-1, size), step * batch + sample
    return _rows(flat, index)


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """values[index]; without a copy where these lie side by side."""
    first, last = int(index[0]), int(index[-1])
    if last - first == len(index) - 1 and bool((index.diff() == 1).all()):
        return values[first : last + 1]
    return values.index_select(0, index)


def autograd_vjp(given: UpdateBatch) -> VectorJacobian:
    """The vector-Jacobian products of any cell, by one batched call of autograd on `cell.step`.

    Raises:
        ValueError: the cell uses `weight_hh` otherwise than as the matrix of a product.
    """
    cell, weight = given.cell, ProductWeight(given.cell)
    previous = [part.detach().requires_grad_() for part in given.previous]
    with torch.enable_grad(), weight:
        state = OwnParts(cell)(given.project(), cell.state_type(*previous))
    adjoints = _outside(state, given.adjoints)
    norms, inverse = norms_of(adjoints)
    product = torch.autograd.grad(
        state, previous, [adjoint * inverse for adjoint in adjoints], create_graph=True, materialize_grads=True
    )

    def immediate(gradients: Sequence[Tensor]) -> Tensor:
        pairs = [(out, gradient) for out, gradient in zip(product, gradients, strict=True) if out.requires_grad]
        outs, grads = zip(*pairs, strict=True)
        return torch.autograd.grad(outs, weight.leaf, grads)[0]

    return VectorJacobian(norms, tuple(part.detach() for part in product), immediate)


def _outside(state: Sequence[Tensor], adjoints: Sequence[Tensor]) -> list[Tensor]:
    """dL/ds with the state's parts taken as independent of each other: an adjoint less what came to its part within
    the update, as to an LSTM's c from its own h. Each round settles the parts one path further in."""
    found = list(adjoints)
    for _ in range(len(state) - 1):
        within = torch.autograd.grad(state, state, found, retain_graph=True)
        found = [adjoint - (gradient - one) for adjoint, gradient, one in zip(adjoints, within, found, strict=True)]
    return found


def norms_of(parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Each row's norm, over all parts, in float64; and 1 / norm, a column in the parts' precision: rows times that
    neither vanish nor overflow in products. It is 0 where the norm is as good as 0 in that precision."""
    each = [torch.linalg.vector_norm(part, dim=-1, dtype=torch.float64) for part in parts]
    norms = each[0] if len(each) == 1 else torch.stack([norm.square() for norm in each]).sum(0).sqrt()
    inverse = torch.where(norms < 2 * torch.finfo(parts[0].dtype).tiny, 0.0, 1 / norms)
    return norms, inverse[:, None].to(parts[0].dtype)
