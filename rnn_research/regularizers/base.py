"""The contract of a regularizer.

To add one, subclass `Regularizer` in one file and implement one of `penalty`, `after_backward` and `after_step`, by
what it needs: a penalty is differentiated with the loss; what reads adjoints must wait for the backward pass; a
projection of the weights comes after the optimiser's step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from rnn_research.cells.base import Cell
from rnn_research.structures import Chain, Forest
from rnn_research.unroll import Unrolled


@dataclass(frozen=True, eq=False)
class Step:
    """What a regularizer is given of one training batch.

    `cells` are the layers from the bottom up, `inputs` what the lowest reads, at the structure's positions. `unrolled`
    has the states and, after the backward pass, where the regularizer `needs_adjoints`, their adjoints. `number` counts
    the optimiser's steps taken before it; so many `labels` make up its mean loss. `inside`: a clipping strategy acts
    inside backpropagation, so that an adjoint is not what the later state's adjoint gives. `place` is the number of the
    layer and its direction (0 forward, 1 backward, where positions are in reverse order), of a part that is one
    direction of a layer; None of others. `part` is 0 of an encoder and 1 of a decoder; None where there is one part.
    `read` are the data's own inputs at these positions, tokens say, where they are not those of the batch.
    """

    cells: Sequence[Cell]
    structure: Chain | Forest
    inputs: Float[Tensor, "*positions input"]
    unrolled: Unrolled
    number: int = 0
    inside: bool = False
    labels: int = 1
    place: tuple[int, int] | None = None
    part: int | None = None
    read: Tensor | None = None


class Regularizer(nn.Module):
    """A regularizer acts on training beside the loss. It is given each part of a model by itself: an encoder and a
    decoder, one direction of a layer. Its value at each step is recorded, the sum over the parts of what `penalty`,
    `after_backward` or `after_step` returned (of accumulated batches the mean, by their labels or by what it `counts`),
    NaN where that is None. The task's loss is reported without it."""

    weight: float = 1.0
    """The factor of `penalty` in the loss. Recorded is the penalty without it; 0: it is only measured."""

    needs_adjoints: ClassVar[bool] = False
    """Whether the adjoint of every state must be kept in the backward pass."""

    needs_whole: ClassVar[bool] = False
    """Whether it has no meaning where backpropagation through time is truncated."""

    accumulates: ClassVar[bool] = True
    """Whether what it does to accumulated batches is what it does to all of them as one batch."""

    counts: ClassVar[bool] = False
    """Whether accumulated batches weigh by what `counted` says, and not by their labels, in what `after_backward` adds
    and returns."""

    def attach(self, cells: Sequence[Cell], trees: bool | None = None) -> None:
        """Learn what is regularized. Called once before training.

        Args:
            trees: whether the data are laid out as trees; None: as chains or trees, not known.

        Raises:
            ValueError: the regularizer has no meaning there; says why.
        """

    def penalty(self, step: Step) -> Float[Tensor, ""] | None:
        """The number that is added, times `weight`, to the batch's mean loss, and differentiated with it. None: nothing
        is added."""
        return None

    def after_backward(self, step: Step, unit: Float[Tensor, ""]) -> Float[Tensor, "*cells"] | None:
        """Add to the gradients of the cells' parameters what is not the derivative of a penalty.

        Args:
            unit: the derivative of what is differentiated with respect to the batch's mean loss (accumulation and loss
                scaling included): what is added must be multiplied by it.

        Returns:
            The regularizer's value at this step, to be recorded: one number, or one a cell, which are summed up.
            None: it has none.
        """
        return None

    def counted(self, step: Step) -> Tensor | float:
        """What the value that `after_backward` has just returned was divided by: samples, or what else it counts; one
        number, or one a cell where the value has as many. Called where the regularizer `counts`."""
        return len(step.structure)

    def after_step(self, number: int) -> Float[Tensor, ""] | None:
        """Change the weights after the optimiser's step, in place.

        Args:
            number: the optimiser's steps taken before this one.

        Returns:
            The regularizer's value, to be recorded at this step; None: it has none.
        """
        return None


def refuse_trees(structure: Chain | Forest | bool | None, reason: str) -> None:
    """Refuse data that are laid out as trees, which have no such quantity, as `reason` says.

    Args:
        structure: a batch's structure, or what `attach` was told.

    Raises:
        ValueError: it is a forest, or True.
    """
    if structure is True or isinstance(structure, Forest):
        raise ValueError(
            f"structure: given trees, expected chains: {reason}; use structure=chain, or leave the regularizer out"
        )


def recurrent_weights(cells: Sequence[Cell], gates: Sequence[str] | None = None) -> list[list[Tensor]]:
    """The gates' square recurrent matrices of each layer, (hidden, hidden), as views of the parameters.

    Args:
        gates: those of these gates alone; None: all.

    Raises:
        ValueError: a layer has no such gate.
    """
    found = [list(cell.recurrent_blocks()) for cell in cells]
    for known in ({name for name, _ in blocks} for blocks in found):
        for gate in set(gates or ()) - known:
            raise ValueError(f"gates: given {gate}, expected some of {', '.join(sorted(known))}, or null for all")
    return [[block for name, block in blocks if gates is None or name in gates] for blocks in found]


def checked_gates(gates: Sequence[str] | None) -> tuple[str, ...] | None:
    """`gates` as a tuple.

    Raises:
        ValueError: it is neither None nor a non-empty list of names.
    """
    if gates is None:
        return None
    if isinstance(gates, str) or not isinstance(gates, Sequence) or not gates:
        raise ValueError(f"gates: given {gates!r}, expected a list of gates, or null for all")
    return tuple(map(str, gates))
