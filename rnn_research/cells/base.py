"""The contract of a cell: one update at one node of a structure, `(input, previous states) -> state`.

An update has two halves, because they cost differently. `project` is everything that reads the input alone
(W x_t + b): a structure's nodes are projected at once, in one product. `step` is the rest, which must wait for the
previous states. A chain gives `step` one previous state, a tree one per child, a chain's start and a leaf none.

To add a cell, subclass `Cell` in one file: name its `gates`, build its weights, implement `step`. There, mark what each
gate's nonlinearity reads by `self.preactivation(z)`, for strategies that clamp its gradient (Graves 2013).
"""

from __future__ import annotations

import contextlib
import contextvars
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rnn_research.checks import flag, integer

Initialisation = Callable[["Cell"], None]
"""Overwrites a new cell's parameters in place. See `cells.initialisation`."""


class Hidden(NamedTuple):
    """The state of a cell that carries h alone."""

    hidden: Float[Tensor, "nodes hidden"]


class HiddenCell(NamedTuple):
    """The state of an LSTM: h, which the readout and the gates read, and c, its linear memory."""

    hidden: Float[Tensor, "nodes hidden"]
    cell: Float[Tensor, "nodes hidden"]


State = Any
"""A NamedTuple of tensors of shape (nodes, hidden). Its first field, `hidden`, is what the readout reads."""


_mark: contextvars.ContextVar[Callable[[Tensor], Tensor] | None] = contextvars.ContextVar("mark", default=None)


@contextlib.contextmanager
def marking(mark: Callable[[Tensor], Tensor] | None) -> Iterator[None]:
    """A context, for this thread, in which a cell's pre-activations are what `mark` makes of them (None:
    themselves)."""
    before = _mark.set(mark)
    try:
        yield
    finally:
        _mark.reset(before)


_tell: contextvars.ContextVar[Callable[[Tensor], None] | None] = contextvars.ContextVar("tell", default=None)


@contextlib.contextmanager
def telling_previous(tell: Callable[[Tensor], None]) -> Iterator[None]:
    """A context, for this thread, in which `tell` is called with each tensor that stands for a part of the previous
    state: zeros where there is none, and sums over children."""
    before = _tell.set(tell)
    try:
        yield
    finally:
        _tell.reset(before)


def _told(part: Tensor) -> Tensor:
    if (tell := _tell.get()) is not None:
        tell(part)
    return part


class Cell(nn.Module, ABC):
    """One update h = f(W x + U h' + b), with as many gates as the cell has.

    Weights are stacked over `gates` and named as in `torch.nn.LSTMCell`, so that a state dict of torch's own cell
    loads: `weight_ih` (gates * hidden, input), `weight_hh` (gates * hidden, hidden), `bias_ih`, `bias_hh`
    (gates * hidden).

    Args:
        input_size: features of the input x at a node.
        hidden_size: features of the state h.
        bias: whether there are biases.
        initialise: applied in order to the new cell; none: torch's default, U(-1/sqrt(hidden), 1/sqrt(hidden)).
        max_children: the most children of a node in the data; cells that treat each child apart size their weights
            by it, the others ignore it.

    Raises:
        ValueError: a size below 1.
    """

    state_type: ClassVar[type] = Hidden
    gates: ClassVar[tuple[str, ...]] = ("hidden",)
    bounds: dict[str, tuple[float, float]] = {}  # noqa: RUF012 (replaced whole, never changed in place)
    """The interval each bounded activation saturates to, by its name in `activations`."""
    reads_children: ClassVar[bool] = False
    """Whether the cell reads each child by itself (a tree cell). Other cells sum the children's states first."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        initialise: tuple[Initialisation, ...] = (),
        max_children: int = 1,
    ) -> None:
        super().__init__()
        self.input_size = integer("input_size", input_size)
        self.hidden_size = integer("hidden_size", hidden_size)
        self.max_children = integer("max_children", max_children)
        self.bias = flag("bias", bias)
        self.build()
        bound = hidden_size**-0.5
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-bound, bound)
            for initialisation in initialise:
                initialisation(self)

    def build(self) -> None:
        """Create the parameters (their values are set afterwards)."""
        rows = len(self.gates) * self.hidden_size
        self.weight_ih = nn.Parameter(torch.empty(rows, self.input_size))
        self.weight_hh = nn.Parameter(torch.empty(rows, self.hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(rows)) if self.bias else None
        self.bias_hh = nn.Parameter(torch.empty(rows)) if self.bias else None

    @property
    def state_names(self) -> tuple[str, ...]:
        """The names of the state's parts, `hidden` first."""
        return self.state_type._fields

    def initial_state(self, nodes: int) -> State:
        """The state before a chain's first step, and in place of a leaf's children: zero."""
        zero = _told(self.weight_hh.new_zeros(nodes, self.hidden_size))
        return self.state_type(*(zero for _ in self.state_names))

    def project(self, inputs: Float[Tensor, "... input"]) -> Float[Tensor, "... projected"]:
        """What the inputs alone contribute: W x + b_ih, for any number of nodes."""
        return nn.functional.linear(inputs, self.weight_ih, self.bias_ih)

    @abstractmethod
    def step(self, projected: Float[Tensor, "nodes projected"], *previous: State) -> State:
        """The new states, given the projected inputs and each child's states (shape (nodes, hidden) each)."""

    def forward(self, inputs: Float[Tensor, "nodes input"], *previous: State) -> State:
        """One whole update: `step(project(inputs), *previous)`."""
        return self.step(self.project(inputs), *previous)

    def summed(self, projected: Float[Tensor, "nodes projected"], previous: tuple[State, ...]) -> State:
        """The previous state of a sequence cell: on a tree, the sum of the children's states (as h~ in Tai et al.
        2015, eq. 2); none: zero, for as many nodes as `projected` has."""
        if not previous:
            zero = _told(projected.new_zeros(len(projected), self.hidden_size))
            return self.state_type(*(zero for _ in self.state_names))
        if len(previous) == 1:
            return previous[0]
        return self.state_type(*(_told(torch.stack(parts).sum(0)) for parts in zip(*previous, strict=True)))

    def recur(self, hidden: Float[Tensor, "nodes hidden"]) -> Float[Tensor, "nodes rows"]:
        """U h' + b_hh."""
        return nn.functional.linear(hidden, self.weight_hh, self.bias_hh)

    def preactivation(self, z: Tensor) -> Tensor:
        """z itself, marked as the argument of one or several gates' nonlinearity: where a strategy clamps the
        gradients of pre-activations, it clamps z's. Several gates may lie side by side in z."""
        mark = _mark.get()
        return z if mark is None else mark(z)

    def activations(self, projected: Float[Tensor, "nodes projected"], *previous: State) -> dict[str, Tensor]:
        """Each gate's and the state's activation, by name, for the saturation probe: by default the state's parts
        that have `bounds`."""
        state = self.step(projected, *previous)
        return {name: getattr(state, name) for name in self.state_names if name in self.bounds}

    def input_blocks(self) -> Iterator[tuple[str, Tensor]]:
        """Each gate's rows of W, (hidden, input), as views to initialise in place."""
        yield from zip(self.gates, self.weight_ih.view(len(self.gates), self.hidden_size, -1), strict=True)

    def recurrent_blocks(self) -> Iterator[tuple[str, Tensor]]:
        """Each gate's square blocks of U, (hidden, hidden), as views to initialise in place."""
        yield from zip(self.gates, self.weight_hh.view(len(self.gates), self.hidden_size, -1), strict=True)

    def bias_blocks(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Each gate's part of b_ih and of b_hh (only their sum acts, save in a reset-after GRU's candidate)."""
        if self.bias_ih is not None and self.bias_hh is not None:
            pairs = self.bias_ih.view(len(self.gates), -1), self.bias_hh.view(len(self.gates), -1)
            yield from zip(self.gates, *pairs, strict=True)
