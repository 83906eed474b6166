"""W enters u J twice: through f', and as the matrix. Only the second is differentiated here.

A product z = x W^T enters a vector-Jacobian product twice: f'(z) depends on W, and the gradient in x is multiplied by
W. Within `ProductWeight`, the results of a cell's products with `weight_hh` are constants to the weight. On the way
back they multiply by `leaf`, a variable of its own with the same numbers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from rnn_research.cells.base import Cell


class ProductWeight(TorchFunctionMode):
    """A context in which products with a cell's `weight_hh`, or with views of it, differentiate in `leaf` instead.

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
                return self._product(args[0], args[1], args[2] if len(args) > 2 else kwargs.get("bias"))
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

    def _product(self, x: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
        self.found = True
        view = self.leaf.as_strided(matrix.shape, matrix.stride(), matrix.storage_offset())
        return InputOnlyProduct.apply(x, (view, bias))  # type: ignore[return-value]

    def _refusal(self, use: str) -> ValueError:
        return ValueError(
            f"regularizer: differentiates products x W^T with weight_hh, but {self.name}.step uses weight_hh in {use}; "
            "write it with self.recur(h), torch.nn.functional.linear or @, or leave the regularizer out"
        )


PRODUCTS = (torch.matmul, torch.mm, Tensor.matmul, Tensor.mm, Tensor.__matmul__)


class InputOnlyProduct(torch.autograd.Function):
    """x W^T + b, differentiated in x alone. `held` is (W, b) in a tuple: autograd sees W only on the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, held: tuple[Tensor, Tensor | None]) -> Tensor:  # type: ignore[override]
        ctx.matrix = held[0]
        return torch.nn.functional.linear(x, *held)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient @ ctx.matrix, None
