"""Truncated backpropagation through time (Williams and Peng 1990): BPTT(k2; k1), by the cuts of whole passes.

Windows are k1 steps long, from the start. The losses in window w, the steps [w k1, (w + 1) k1), reach back to step
max(0, (w + 1) k1 - k2). With m = ceil(k2 / k1), the spans of windows w, w + m, w + 2 m, ... do not overlap. So class
j of windows, those with w mod m = j, is one pass whose recurrent part is cut where a span starts; the states that are
handed out at a step are those of its window's class, and gradients and adjoints add up over the classes. k2 = k1 is one
pass, whose cuts lie between windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from rnn_research.cells.base import State
from rnn_research.checks import integer
from rnn_research.structures import Chain, Forest
from rnn_research.unroll.arguments import Made, UnrollArguments, stacked
from rnn_research.unroll.intervention import Intervention, NormsByPoint, combine
from rnn_research.unroll.passes import added
from rnn_research.unroll.undisturbed import random_state, set_random_state
from rnn_research.unroll.unfolding import Unfolding, Update


class TruncatedUnfolding(Unfolding):
    """One layer's folds, one a class of windows.

    Args:
        folds: of each class. Their states are the same numbers.
        classes: (time,), the class of each step's window.
    """

    def __init__(self, folds: Sequence[Unfolding], classes: Tensor) -> None:
        super().__init__(folds[0].cell, folds[0].structure, folds[0].record)
        self.folds, self.classes = folds, classes
        self._states: State | None = None

    @property
    def states(self) -> State:
        if self._states is None:
            self._states = self.cell.state_type(
                *map(self._chosen, zip(*(fold.states for fold in self.folds), strict=True))
            )
        return self._states

    @property
    def passes(self) -> int:
        return sum(fold.passes for fold in self.folds)

    def adjoints(self) -> State:
        return self._sum([fold.adjoints() for fold in self.folds if fold.passes])

    def direct(self) -> State:
        return self._sum([fold.direct() for fold in self.folds if fold.passes])

    def recurrent(self) -> State:
        return self._sum([fold.recurrent() for fold in self.folds if fold.passes])

    def acted(self) -> NormsByPoint | None:
        found = [points for fold in self.folds if (points := fold.acted()) is not None]
        if not found:
            return None
        names = dict.fromkeys(name for points in found for name in points)
        return {name: self._added([points[name] for points in found if name in points]) for name in names}

    def adjoints_of(self, loss: Tensor) -> State:
        return self._sum([fold.adjoints_of(loss) for fold in self.folds])

    def updates(self) -> Iterator[Update]:
        return self.folds[0].updates()

    def read_again(self) -> dict[str, Sequence[Tensor]]:
        read = [fold.read_again() for fold in self.folds]
        return {name: [tensor for one in read for tensor in one[name]] for name in read[0]}

    def _chosen(self, parts: tuple[Tensor, ...]) -> Tensor:
        """At each step, that of its window's class."""
        out = parts[0]
        for number, part in enumerate(parts[1:], 1):
            out = torch.where((self.classes == number)[:, None], part, out)
        return out

    def _added(self, norms: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        before, after = zip(*norms, strict=True)
        return added(before), added(after)

    def _sum(self, states: Sequence[State]) -> State:
        return self.cell.state_type(*map(added, zip(*states, strict=True)))


def truncated(stack: UnrollArguments, inside: Sequence[Intervention | None], windows: tuple[int, int]) -> Made:
    """The layers, their gradients truncated to `windows` = (k1, k2).

    Each class's pass draws the same random numbers (dropout), as it is the same states.

    Raises:
        ValueError: a forest; or not k2 >= k1 >= 1.
    """
    if isinstance(stack.structure, Forest):
        raise ValueError("truncate: given for a forest, expected a chain: a tree has no windows of steps; leave it out")
    k1, k2 = _sizes(windows)
    classes = min(-(-k2 // k1), -(-stack.structure.time // k1))
    device = stack.inputs.device
    drawn, passes = random_state(device), []
    family: list[Unfolding] = []
    for number in range(classes):
        set_random_state(device, drawn)
        keep = _cut(stack.structure, k1, k2, number).to(device)
        cut = [None if keep.all() else Intervention([keep for _ in cell.state_names]) for cell in stack.cells]
        passes.append(stacked(stack, [combine(pair) for pair in zip(inside, cut, strict=True)], family))
    if classes == 1:
        return passes[0]
    of_step = torch.arange(stack.structure.time, device=device) // k1 % -(-k2 // k1)
    return [
        (TruncatedUnfolding([fold for fold, _ in layer], of_step), layer[0][1]) for layer in zip(*passes, strict=True)
    ]


def _sizes(windows: tuple[int, int]) -> tuple[int, int]:
    if not isinstance(windows, tuple | list) or len(windows) != 2:
        raise ValueError(
            f"truncate: given {windows!r}, expected (k1, k2): the steps of a window, and how far it reaches"
        )
    k1 = integer("truncate: k1", windows[0])
    return k1, integer("truncate: k2", windows[1], least=k1)


def _cut(chain: Chain, k1: int, k2: int, number: int) -> Tensor:
    """(batch, time): 0 for the last state before the span of each window of class `number`, else 1."""
    keep = torch.ones(chain.time)
    every = -(-k2 // k1) * k1
    first = torch.arange((number + 1) * k1 - k2, chain.time, every)  # where spans start
    keep[first[first > 0] - 1] = 0
    return keep.expand(len(chain), -1)
