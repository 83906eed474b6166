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
from rnn_research.unroll.arguments import Layers, UnrollArguments, unfold_layers
from rnn_research.unroll.backward import added
from rnn_research.unroll.intervention import Intervention, NormsByPoint, combine
from rnn_research.unroll.undisturbed import random_state, set_random_state
from rnn_research.unroll.unfolding import PastUpdate, Unfolding


class TruncatedUnfolding(Unfolding):
    """One layer's unfoldings, one a class of windows.

    Args:
        unfoldings: of each class. Their states are the same numbers.
        classes: (time,), the class of each step's window.
    """

    def __init__(self, unfoldings: Sequence[Unfolding], classes: Tensor) -> None:
        super().__init__(unfoldings[0].cell, unfoldings[0].structure, unfoldings[0].record)
        self.unfoldings, self.classes = unfoldings, classes
        self._states: State | None = None

    @property
    def states(self) -> State:
        if self._states is None:
            self._states = self.cell.state_type(
                *map(self._chosen, zip(*(unfolding.states for unfolding in self.unfoldings), strict=True))
            )
        return self._states

    @property
    def passes(self) -> int:
        return sum(unfolding.passes for unfolding in self.unfoldings)

    def ends(self) -> State:
        return self.unfoldings[0].ends()

    def adjoints(self) -> State:
        return self._sum([unfolding.adjoints() for unfolding in self.unfoldings if unfolding.passes])

    def direct(self) -> State:
        return self._sum([unfolding.direct() for unfolding in self.unfoldings if unfolding.passes])

    def recurrent(self) -> State:
        return self._sum([unfolding.recurrent() for unfolding in self.unfoldings if unfolding.passes])

    def norms_by_point(self) -> NormsByPoint | None:
        found = [points for unfolding in self.unfoldings if (points := unfolding.norms_by_point()) is not None]
        if not found:
            return None
        names = dict.fromkeys(name for points in found for name in points)
        return {name: self._added([points[name] for points in found if name in points]) for name in names}

    def adjoints_of(self, loss: Tensor) -> State:
        return self._sum([unfolding.adjoints_of(loss) for unfolding in self.unfoldings])

    def updates(self) -> Iterator[PastUpdate]:
        return self.unfoldings[0].updates()

    def read_again(self) -> dict[str, Sequence[Tensor]]:
        read = [unfolding.read_again() for unfolding in self.unfoldings]
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


def unfold_truncated(
    arguments: UnrollArguments, interventions: Sequence[Intervention | None], windows: tuple[int, int]
) -> Layers:
    """The layers, their gradients truncated to `windows` = (k1, k2).

    Each class's pass draws the same random numbers (dropout), as it is the same states.

    Raises:
        ValueError: a forest; or not k2 >= k1 >= 1.
    """
    if isinstance(arguments.structure, Forest):
        raise ValueError("truncate: given for a forest, expected a chain: a tree has no windows of steps; leave it out")
    k1, k2 = _sizes(windows)
    classes = min(-(-k2 // k1), -(-arguments.structure.time // k1))
    device = arguments.inputs.device
    drawn, passes = random_state(device), []
    family: list[Unfolding] = []
    for number in range(classes):
        set_random_state(device, drawn)
        keep = _cut(arguments.structure, k1, k2, number).to(device)
        cut = [None if keep.all() else Intervention([keep for _ in cell.state_names]) for cell in arguments.cells]
        passes.append(
            unfold_layers(arguments, [combine(pair) for pair in zip(interventions, cut, strict=True)], family)
        )
    if classes == 1:
        return passes[0]
    of_step = torch.arange(arguments.structure.time, device=device) // k1 % -(-k2 // k1)
    return [
        (TruncatedUnfolding([unfolding for unfolding, _ in layer], of_step), layer[0][1])
        for layer in zip(*passes, strict=True)
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
