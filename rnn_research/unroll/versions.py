"""Tell whether tensors that are read again after a backward pass have been changed in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

CHANGED = (
    "adjoints: the cell's parameters have changed since this unroll; read direct and recurrent "
    "before the optimiser's step"
)


def version(tensor: Tensor) -> int:
    """How often a tensor, or what it is a view of, has been changed in place."""
    return -1 if tensor.is_inference() else tensor._version


class Versions:
    """The versions of some tensors, by name, as they are now."""

    def __init__(self, read: Mapping[str, Sequence[Tensor]]) -> None:
        self._read = {name: (tensors, list(map(version, tensors))) for name, tensors in read.items()}

    def check(self) -> None:
        """Raise RuntimeError where one has been changed in place since."""
        changed = [name for name, (tensors, before) in self._read.items() if list(map(version, tensors)) != before]
        if changed:
            raise RuntimeError(
                f"adjoints: the {' and '.join(changed)} of this unroll have been changed in place since; read "
                "adjoints, direct and recurrent before that, or change a copy"
            )
