"""Gradients pulled back through every update of a chain at once, u J with J = ds_{k+1}/ds_k, as a function of the
recurrent weight that multiplies in it, all else constant.

A vector-Jacobian product reads two things of an update: activations, and weights. `immediate` differentiates it in
`weight_hh` as it stands in the product, not in the activations that depend on `weight_hh` too. For that, `Apart`
intercepts the update's products with `weight_hh`: their results are constants to the weight, and on the way back they
multiply by `leaf`, a variable of its own with the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from rnn_research.cells.base import NONLINEARITIES, Cell
from rnn_research.cells.rnn import RNN
from rnn_research.structures import Chain
from rnn_research.unroll import Layer

DERIVATIVES: dict[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor | None]] = {
    NONLINEARITIES["tanh"].apply: lambda h: 1 - h * h,
    NONLINEARITIES["sigmoid"].apply: lambda h: h * (1 - h),
    NONLINEARITIES["relu"].apply: lambda h: (h > 0).to(h.dtype),
    NONLINEARITIES["identity"].apply: lambda h: None,
}
"""f' of a vanilla RNN, from h = f(.); None: 1."""

TOGETHER = 1024
"""Updates of a general cell that are pulled back at once."""


@dataclass(frozen=True, eq=False)
class Pullback:
    """Some of a layer's updates, s_k -> s_{k+1}.

    `norms` are ||dL/ds_{k+1}||, over all parts of the state jointly, float64, one number an update. `pulled` is u J for
    u = dL/ds_{k+1} / ||dL/ds_{k+1}||, (updates, hidden) for each part of s_k, and zero where the norm is. `immediate`
    takes a gradient in `pulled` to the one in `weight_hh`, with u, the states and the activations constant.
    """

    norms: Tensor
    pulled: tuple[Tensor, ...]
    immediate: Callable[[Sequence[Tensor]], Tensor]


def pullbacks(layer: Layer) -> Iterator[Pullback]:
    """All updates of a layer along a chain, the first ones (from the initial state) included, some at a time: what is
    computed of them stays in the cache. Padding may come as updates of norm 0.

    Raises:
        ValueError: the cell uses `weight_hh` otherwise than as the matrix of a product.
        RuntimeError: the layer has no adjoints.
    """
    if type(layer.cell) is RNN and layer.cell.f in DERIVATIVES:
        yield _vanilla(layer, layer.cell)
        return
    for rows, projected, previous in layer.updates():
        before = previous[0] if previous else layer.cell.initial_state(len(rows))
        parts = (rows, projected, *(part.detach() for part in before))
        for some in zip(*(part.split(TOGETHER) for part in parts), strict=True):
            yield _general(layer, *some)


def _vanilla(layer: Layer, cell: RNN) -> Pullback:
    """u J = (u f') U, from the states alone."""
    weight = cell.weight_hh.detach()
    (adjoints,), hidden = layer.adjoints, layer.hidden.detach()
    if not adjoints.is_contiguous():  # time-major: then a view is contiguous
        adjoints, hidden = adjoints.transpose(0, 1), hidden.transpose(0, 1)
    adjoints, slope = adjoints.reshape(-1, cell.hidden_size), DERIVATIVES[cell.f](hidden)
    norms, (at_product,) = _directions([adjoints])
    if slope is not None:
        at_product = at_product * slope.reshape(-1, cell.hidden_size)
    return Pullback(norms, (at_product @ weight,), lambda gradients: at_product.T @ gradients[0])


def _general(layer: Layer, rows: Tensor, projected: Tensor, *previous: Tensor) -> Pullback:
    """By one batched vector-Jacobian product of `cell.step`."""
    cell, apart = layer.cell, Apart(layer.cell)
    before = [part.detach().requires_grad_() for part in previous]
    with torch.enable_grad(), apart:
        state = cell.step(projected, cell.state_type(*before))
    kept = [part.is_leaf for part in state]  # a previous state, handed on
    after = [part.view_as(part) if leaf else part for part, leaf in zip(state, kept, strict=True)]
    adjoints = [_rows(part, layer.structure, rows) for part in layer.adjoints]
    inner = [part for part, leaf in zip(after, kept, strict=True) if part.requires_grad and not leaf]
    norms, directions = _directions(_outside(after, inner, adjoints))
    reached = [k for k, part in enumerate(after) if part.requires_grad]
    pulled = torch.autograd.grad(
        [after[k] for k in reached],
        before,
        [directions[k] for k in reached],
        create_graph=True,
        materialize_grads=True,
    )

    def immediate(gradients: Sequence[Tensor]) -> Tensor:
        pairs = [(out, grad) for out, grad in zip(pulled, gradients, strict=True) if out.requires_grad]
        outs, grads = zip(*pairs, strict=True)
        return torch.autograd.grad(outs, apart.leaf, grads)[0]

    return Pullback(norms, tuple(part.detach() for part in pulled), immediate)


def _outside(state: Sequence[Tensor], inner: Sequence[Tensor], adjoints: list[Tensor]) -> list[Tensor]:
    """dL/ds with the state's parts taken as independent of each other: an adjoint less what came to its part within
    the update, as to an LSTM's c from its own h. Each round settles the parts one path further in."""
    found = list(adjoints)
    places = [k for k, part in enumerate(state) if any(part is one for one in inner)]
    for _ in range(len(inner) - 1):
        within = torch.autograd.grad(inner, inner, [found[k] for k in places], retain_graph=True)
        pairs = zip(places, within, strict=True)
        found = [*found[: places[0]], *(adjoints[k] - (grad - found[k]) for k, grad in pairs), *found[places[-1] + 1 :]]
    return found


def _directions(parts: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Each row's norm, over all parts, in float64; and the rows divided by it (0 where it is 0): their products neither
    vanish nor overflow."""
    norms = torch.linalg.vector_norm(parts[0], dim=-1, dtype=torch.float64)
    for part in parts[1:]:
        norms = torch.hypot(norms, torch.linalg.vector_norm(part, dim=-1, dtype=torch.float64))
    safe = torch.where(norms == 0, 1.0, norms)[:, None]
    return norms, [(part / safe).to(part.dtype) for part in parts]


def _rows(part: Tensor, structure: Any, rows: Tensor) -> Tensor:
    """The rows at these flat positions, whatever the layout of `part`."""
    return part[rows // structure.time, rows % structure.time] if isinstance(structure, Chain) else part[rows]


class Apart(TorchFunctionMode):
    """Within it, products with a cell's `weight_hh`, or with views of it, differentiate in `leaf` instead.

    Raises:
        ValueError: on leaving, no such product was made; or `weight_hh` was used for anything else.
    """

    def __init__(self, cell: Cell) -> None:
        self.name, self.storage = type(cell).__name__, cell.weight_hh.untyped_storage().data_ptr()
        self.leaf = cell.weight_hh.detach().requires_grad_()
        self.found = False

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if len(args) > 1 and not self._ours(args[0]) and self._ours(args[1]):
            if function is torch.nn.functional.linear:
                bias = args[2] if len(args) > 2 else kwargs.get("bias")
                product = self._product(args[0], args[1])
                return product if bias is None else product + bias
            if function in PRODUCTS:
                return self._product(args[0], args[1].mT)
        result, name = function(*args, **kwargs), getattr(function, "__name__", str(function))
        reads = not name.startswith("new_") and not name.endswith("_like")
        if reads and any(map(self._ours, args)) and isinstance(result, Tensor) and not self._ours(result):
            raise self._refusal(name)
        return result

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        if error[0] is None and not self.found:
            raise self._refusal("nothing")

    def _ours(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value.untyped_storage().data_ptr() == self.storage

    def _product(self, x: Tensor, matrix: Tensor) -> Tensor:
        self.found = True
        view = self.leaf.as_strided(matrix.shape, matrix.stride(), matrix.storage_offset())
        return Product.apply(x, (view,))  # type: ignore[return-value]

    def _refusal(self, use: str) -> ValueError:
        return ValueError(
            f"regularizer: differentiates products x W^T with weight_hh, but {self.name}.step uses weight_hh in {use}; "
            "write it with self.recur(h), torch.nn.functional.linear or @, or leave the regularizer out"
        )


PRODUCTS = (torch.matmul, torch.mm, Tensor.matmul, Tensor.mm, Tensor.__matmul__)


class Product(torch.autograd.Function):
    """x W^T, whose derivative in x is of W. `held` is W in a tuple: autograd sees it only on the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, held: tuple[Tensor]) -> Tensor:  # type: ignore[override]
        ctx.held = held
        return torch.nn.functional.linear(x, held[0])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient @ ctx.held[0], None
