"""More forms of users' cells, whose updates look at what they are given, or return tensors that share their memory."""

from __future__ import annotations

from typing import Any

import torch
from forms import Form, Pair, product, total
from torch import Tensor

from rnn_research.cells import Hidden


def _before(cell: Any, x: Tensor, previous: Any) -> Tensor:
    return x + cell.recur(cell.summed(x, previous).hidden)


def _before_node(cell: Any, x: Tensor, previous: Any) -> Tensor:
    return x + product(cell, total(cell, previous, 0, x))


def _outer(cell, x, *previous):
    u = torch.tanh(_before(cell, x, previous))
    return Hidden(0.3 * (u[:, :, None] * u[:, None, :]).sum(1) + 0.2 * u[..., None].sum(-2))


def _outer_node(cell, own, x, previous):
    u = torch.tanh(_before_node(cell, x, previous))
    own(0, 0.3 * u * u.sum() + 0.2 * u.sum())


def _caught(cell, x, *previous):
    z = _before(cell, x, previous)
    try:
        h = torch.where(z > 0, z, 0.1 * z) * 0.5
    except Exception:  # as a fallback for old releases of torch
        h = torch.tanh(z)
    return Hidden(h)


def _caught_node(cell, own, x, previous):
    z = _before_node(cell, x, previous)
    own(0, torch.where(z > 0, z, 0.1 * z) * 0.5)


def _of_device(cell, x, *previous):
    z = _before(cell, x, previous)
    return Hidden(torch.tanh(z) if x.device.type == "cpu" else torch.sigmoid(z))


def _of_type(cell, x, *previous):
    z = _before(cell, x, previous)
    return Hidden(torch.tanh(z) if type(x) is Tensor else torch.sigmoid(z))


def _tanh_node(cell, own, x, previous):
    own(0, torch.tanh(_before_node(cell, x, previous)))


def _view(cell, x, *previous):
    z = torch.tanh(_before(cell, x, previous) + cell.summed(x, previous).other)
    return Pair(z * cell.peephole + 0.5 * z, z.view(len(z), -1))


def _power(cell, x, *previous):
    z = torch.tanh(_before(cell, x, previous) + cell.summed(x, previous).other)
    return Pair(z * cell.peephole + 0.5 * z, z**1)


def _view_node(cell, own, x, previous):
    z = torch.tanh(_before_node(cell, x, previous) + total(cell, previous, 1, x))
    own(0, z * cell.peephole + 0.5 * z)
    own(1, z)


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return 0.3 * gradient


def _scaled(cell, x, *previous):
    h = torch.tanh(_before(cell, x, previous) + 0.5 * cell.summed(x, previous).other)
    return Pair(h, _ScaledGradient.apply(h))


def _scaled_node(cell, own, x, previous):
    h = own(0, torch.tanh(_before_node(cell, x, previous) + 0.5 * total(cell, previous, 1, x)))
    own(1, 0.3 * h + (0.7 * h).detach())


def _learnt(cell, x, *previous):
    if not previous:
        return Pair(cell.peephole.expand(len(x), -1), cell.peephole.expand(len(x), -1))
    c = 0.5 * cell.summed(x, previous).other + torch.tanh(x)
    return Pair(c + 0.3 * cell.recur(cell.summed(x, previous).hidden), c)


def _learnt_node(cell, own, x, previous):
    if not previous:
        own(0, cell.peephole)
        own(1, cell.peephole)
        return
    c = own(1, 0.5 * total(cell, previous, 1, x) + torch.tanh(x))
    own(0, c + 0.3 * product(cell, total(cell, previous, 0, x)))


ODD_FORMS = {
    "a new last axis": Form(Hidden, _outer, _outer_node),
    "an exception that it catches": Form(Hidden, _caught, _caught_node),
    "a branch for the device": Form(Hidden, _of_device, _tanh_node),
    "a branch for the type": Form(Hidden, _of_type, _tanh_node),
    "a view of what the other part reads": Form(Pair, _view, _view_node),
    "a power of one": Form(Pair, _power, _view_node),
    "a gradient that is scaled": Form(Pair, _scaled, _scaled_node),
    "a first state that is learnt": Form(Pair, _learnt, _learnt_node),
}
