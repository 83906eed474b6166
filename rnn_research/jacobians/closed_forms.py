"""Vector-Jacobian products of the vanilla RNN, the LSTM and the GRU in closed form.

`vjp` has that of any cell, which takes longer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from rnn_research.cells.gru import GRU
from rnn_research.cells.lstm import LSTM
from rnn_research.cells.nonlinearities import Nonlinearity, nonlinearity_of
from rnn_research.cells.rnn import RNN
from rnn_research.jacobians.vjp import UpdateBatch, VectorJacobian, autograd_vjp, norms_of, updates_of
from rnn_research.unroll import LayerStates


def layer_vjps(
    layer: LayerStates, silent: Tensor | None = None, inputs: Tensor | None = None
) -> Iterator[VectorJacobian]:
    """Yield the vector-Jacobian products of all updates of a layer along a chain, some at a time. Padding may come as
    updates of norm 0.

    Args:
        silent: (batch, time), where a state's gradient comes from the next update alone; None: not known.
        inputs: what the layer read; None: the unroll says it.

    Raises:
        ValueError: the cell uses `weight_hh` otherwise than as the matrix of a product.
        RuntimeError: the layer has no adjoints.
    """
    if type(layer.cell) is RNN and (f := nonlinearity_of(layer.cell.f)) is not None:
        yield _vanilla_vjp(layer, f)
        return
    reset_after = type(layer.cell) is GRU and layer.cell.reset_after
    of_updates = _lstm_vjp if type(layer.cell) is LSTM else _gru_vjp if reset_after else autograd_vjp
    for given in updates_of(layer, silent, inputs):
        yield of_updates(given)


def _vanilla_vjp(layer: LayerStates, f: Nonlinearity) -> VectorJacobian:
    """u J = (u f') U, from the states alone."""
    weight, size = layer.cell.weight_hh.detach(), layer.cell.hidden_size
    (adjoints,), hidden = layer.adjoints, layer.hidden.detach()
    if not adjoints.is_contiguous():  # time-major: then these are views
        adjoints, hidden = adjoints.transpose(0, 1), hidden.transpose(0, 1)
    adjoints, hidden = adjoints.reshape(-1, size), hidden.reshape(-1, size)
    norms, inverse = norms_of([adjoints])
    at_product = adjoints * inverse * f.derivative(hidden)
    return VectorJacobian(norms, (at_product @ weight,), lambda gradients: at_product.T @ gradients[0])


def _lstm_vjp(given: UpdateBatch) -> VectorJacobian:
    """With d_c all that reaches c, its own h included: the gates' gradients are (d_c g i', d_c c' f', d_c i g',
    u_h tanh(c) o'), and u J is (gates' gradients U, d_c f)."""
    weight, (_, cell), (to_hidden, to_cell) = given.cell.weight_hh.detach(), given.previous, given.adjoints
    i, f, g, o = _gates(given) if given.gates is None else given.gates
    tanh = given.state[0] / o.clamp(min=torch.finfo(o.dtype).tiny)  # h = o tanh(c)
    by_output = to_hidden * o
    to_tanh = by_output * tanh
    norms, inverse = norms_of([to_hidden, torch.addcmul(to_cell - by_output, to_tanh, tanh)])
    d_c = to_cell * inverse
    through, pulled_cell = d_c * i, d_c * f
    to_i, to_f, to_o = through * g, pulled_cell * cell, to_tanh * inverse
    at_product = i.new_empty(len(i), 4 * i.shape[1])
    terms = (to_i, to_i, i), (to_f, to_f, f), (through, to_i, g), (to_o, to_o, o)
    for (first, factor, gate), out in zip(terms, at_product.chunk(4, -1), strict=True):
        torch.addcmul(first, factor, gate, value=-1, out=out)  # sigmoid' = s (1 - s), tanh' = 1 - t^2
    product = at_product @ weight if given.before is None else given.before * inverse
    return VectorJacobian(norms, (product, pulled_cell), lambda gradients: (gradients[0].T @ at_product).T)


def _gru_vjp(given: UpdateBatch) -> VectorJacobian:
    """The gradients in U h' + b are (u_n q r', u (h' - n) z', u_n r) with u_n = u (1 - z) n' and q what the candidate
    reads of h'; u J is these U, and u z."""
    weight, bias, size = given.cell.weight_hh.detach(), given.cell.bias_hh, given.cell.hidden_size
    (previous,), (adjoint,) = given.previous, given.adjoints
    norms, inverse = norms_of([adjoint])
    u = adjoint * inverse
    projected = given.project()
    at_product = torch.nn.functional.linear(previous, weight, None if bias is None else bias.detach())
    r, z = projected[:, : 2 * size].add_(at_product[:, : 2 * size]).sigmoid_().chunk(2, -1)
    to_r, to_z, read = at_product.chunk(3, -1)
    n = torch.addcmul(projected[:, 2 * size :], r, read).tanh_()
    to_n = torch.addcmul(u, u, z, value=-1)
    to_n = torch.addcmul(to_n, to_n, n * n, value=-1)
    for first, gate, out in ((to_n * read, r, to_r), (u * (previous - n), z, to_z)):
        torch.mul(first, torch.addcmul(gate, gate, gate, value=-1), out=out)
    torch.mul(to_n, r, out=read)
    product = torch.addcmul(at_product @ weight, u, z) if given.before is None else given.before * inverse
    return VectorJacobian(norms, (product,), lambda gradients: (gradients[0].T @ at_product).T)


def _gates(given: UpdateBatch) -> Sequence[Tensor]:
    """i, f, g and o, in the place of the projected inputs."""
    size, bias = given.cell.hidden_size, given.cell.bias_hh
    gates = given.project().addmm_(given.previous[0], given.cell.weight_hh.detach().T)
    gates = gates if bias is None else gates.add_(bias.detach())
    gates[:, : 2 * size].sigmoid_()
    gates[:, 2 * size : 3 * size].tanh_()
    gates[:, 3 * size :].sigmoid_()
    return gates.chunk(4, -1)
