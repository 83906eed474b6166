"""Strategies with a memory: buffers that keep their precision and may have any length, and each parameter's place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from torch import Tensor, nn

from rnn_research.clipping.base import Clipping


class StatefulClipping(Clipping):
    """A strategy that keeps a memory in buffers. A checkpoint keeps them bit by bit.

    They stay float64 and int64 when a model is cast to a lower precision: only the device follows the model's. Those
    named in `grows` are loaded in any length.
    """

    grows: ClassVar[tuple[str, ...]] = ()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        return super()._apply(lambda tensor: tensor.to(fn(tensor).device), recurse)

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: Any,
        local_metadata: Any,
        strict: Any,
        missing_keys: Any,
        unexpected_keys: Any,
        error_msgs: Any,
    ) -> None:
        for name in self.grows:
            if prefix + name in state_dict:
                setattr(self, name, getattr(self, name).new_empty(state_dict[prefix + name].shape))
        others = local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        super()._load_from_state_dict(state_dict, prefix, *others)


class Places:
    """Where in a flat memory each parameter's part begins: in the order in which parameters are first named.

    A strategy names those it is attached to at once, so that a resumed run finds its memory whichever parameters have a
    gradient at its first step.
    """

    def __init__(self) -> None:
        self.length = 0
        self._starts: dict[nn.Parameter, int] = {}

    def name(self, parameters: Iterable[nn.Parameter], each: bool = False) -> list[int]:
        """The parameters' beginnings, new ones behind the others.

        Args:
            each: a place for each element of a parameter; else one a parameter.
        """
        starts = []
        for parameter in parameters:
            if parameter not in self._starts:
                self._starts[parameter] = self.length
                self.length += parameter.numel() if each else 1
            starts.append(self._starts[parameter])
        return starts


def lengthened(memory: Tensor, length: int, value: float) -> Tensor:
    """`memory`, with `value` behind it where it is shorter than `length`."""
    missing = length - len(memory)
    return nn.functional.pad(memory, (0, missing), value=value) if missing > 0 else memory
