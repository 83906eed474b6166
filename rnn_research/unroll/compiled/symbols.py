"""The tensors that a traced update is given: they have shapes, and blocks in place of numbers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rnn_research.unroll.compiled.graph import Untraceable
from rnn_research.unroll.compiled.tracer import Tracer


class Traced(Tensor):
    """A tensor of the trace, without memory. What is done to it, `functions.Tracing` sees."""

    tracer: Tracer

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]


class Input(Traced):
    """The inputs x, (nodes, size): only products read them."""

    @staticmethod
    def __new__(cls, tracer: Tracer, size: int) -> Input:
        made = torch.empty(tracer.nodes, size, dtype=tracer.dtype, device="meta").as_subclass(cls)
        made.tracer = tracer
        return made

    def __init__(self, tracer: Tracer, size: int) -> None:
        super().__init__()

    @property
    def array(self) -> np.ndarray:
        raise Untraceable("the inputs are used outside a product")


class Symbol(Traced):
    """A tensor (nodes, ..., features): `array` has its axes, the last one counting blocks of `hidden_size` features."""

    array: np.ndarray

    @staticmethod
    def __new__(cls, tracer: Tracer, array: np.ndarray) -> Symbol:
        shape = (*array.shape[:-1], array.shape[-1] * tracer.hidden)
        made = torch.empty(shape, dtype=tracer.dtype, device="meta").as_subclass(cls)
        made.tracer, made.array = tracer, array
        return made

    def __init__(self, tracer: Tracer, array: np.ndarray) -> None:
        super().__init__()

    def like(self, array: np.ndarray) -> Symbol:
        """Other blocks in the same trace."""
        return Symbol(self.tracer, array)

    def to_blocks(self, features: int) -> int:
        """How many blocks so many features are.

        Raises:
            Untraceable: they end within a block.
        """
        if features % self.tracer.hidden:
            raise Untraceable(f"{features} features are cut off, expected multiples of hidden_size")
        return features // self.tracer.hidden
