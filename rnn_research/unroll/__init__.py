"""Unroll a cell along a structure; after `backward`, read the adjoint of every state."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor

from rnn_research.cells.base import Cell, State
from rnn_research.structures import Chain, Forest
from rnn_research.unroll.arguments import UnrollArguments, unfold_layers
from rnn_research.unroll.intervention import Intervention, LossScale, check, combine
from rnn_research.unroll.result import LayerStates, Unrolled
from rnn_research.unroll.select import ENGINES, EngineChoice
from rnn_research.unroll.truncation import unfold_truncated
from rnn_research.unroll.unfolding import GateActivations, Record, Unfolding

__all__ = [
    "ENGINES",
    "EngineChoice",
    "GateActivations",
    "Intervention",
    "LayerStates",
    "LossScale",
    "Record",
    "Unrolled",
    "combine",
    "unroll",
]


def unroll(
    cell: Cell | Sequence[Cell],
    structure: Chain | Forest,
    inputs: Float[Tensor, "*positions input"],
    *,
    initial: Sequence[State] | None = None,
    between: Callable[[Tensor], Tensor] | None = None,
    record: Record = True,
    engine: str = "auto",
    interventions: Sequence[Intervention | None] | None = None,
    truncate: tuple[int, int] | None = None,
    above: int | Tensor = 0,
    family: list[Unfolding] | None = None,
    inside: object = None,
) -> Unrolled:
    """Apply `cell` along `structure`. Several cells are layers: each reads the hidden states of the one below.

    Args:
        cell: one cell, or the layers from the bottom up.
        structure: a `Chain` or a `Forest`.
        inputs: (batch, time, input) on a chain, (nodes, input) on a forest, in the structure's order.
        initial: the state before each sequence's first step, one a layer, (batch, hidden) each; none: zero.
        between: a function of the hidden states that one layer hands to the next (dropout).
        record: True keeps every state's adjoint in the backward pass. "parts" also takes the norms of its direct and
            its recurrent part. The states and gradients are the same bits either way.
        engine: `auto`, or one of `ENGINES`. See `unroll.select`.
        interventions: for each layer what acts within its backward pass; None: nothing. See `unroll.intervention`.
        truncate: (k1, k2) truncates backpropagation through time. Windows are k1 steps long, from the start. The
            losses of a window reach k2 steps back from its end. Chains only. See `unroll.truncation`.
        above: cell applications between the last state of these layers and the loss: `distance` counts them. A layer
            that stands above and is unrolled by itself is one; of a chain that goes on from this one, each step is. One
            number, or one a position.
        family: one list for all unrolls that one backward pass may reach, which grows: so `adjoints_of` one of them
            leaves the records of the others alone. Not of a truncated one.

    Returns:
        `Unrolled`. It has `.states`, and after `backward` on a loss of them `.adjoints`, `.direct` and `.recurrent`.
        All are aligned with the structure's positions and with `.distance`. They are zero at padding, which `.mask`
        marks.

    Raises:
        ValueError: no cell, inputs that do not fit the structure or the cell, an initial state that does not
            fit the cells, or one for a forest; an engine that is unknown, or can't do this; interventions that
            do not fit the layers or the structure, or a clamp of pre-activations of a cell that marks none; a
            truncation of a forest, or one that is not k2 >= k1 >= 1.
        TypeError: `inside` is given, the former name of `interventions`.
    """
    if inside is not None:
        raise TypeError("unroll: given inside, expected interventions: write unroll(..., interventions=[...])")
    cells = [cell] if isinstance(cell, Cell) else list(cell)
    _check_inputs(cells, structure, inputs, initial)
    interventions = [None] * len(cells) if interventions is None else list(interventions)
    check(interventions, cells, structure)
    arguments = UnrollArguments(engine, cells, structure, inputs, initial, between, record)
    if truncate is None:
        layers = unfold_layers(arguments, interventions, family)
    else:
        layers = unfold_truncated(arguments, interventions, truncate)
    higher = (above + number for number in reversed(range(len(cells))))
    return Unrolled(tuple(LayerStates(unfolding, next(higher), how) for unfolding, how in layers))


def _check_inputs(
    cells: list[Cell], structure: Chain | Forest, inputs: Tensor, initial: Sequence[State] | None
) -> None:
    """Refuse inputs and initial states that do not fit the cells and the structure."""
    if not cells:
        raise ValueError("cell: given no layers, expected at least one cell")
    expected = (*structure.shape, cells[0].input_size)
    if tuple(inputs.shape) != expected:
        raise ValueError(
            f"inputs: given shape {tuple(inputs.shape)}, expected {expected}: the structure's positions by the cell's "
            "input_size"
        )
    if initial is not None and isinstance(structure, Forest):
        raise ValueError("initial: given for a forest, expected none: a leaf has no state before it")
    if initial is not None:
        _check_initial(initial, cells, len(structure))


def _check_initial(initial: Sequence[State], cells: list[Cell], batch: int) -> None:
    given = [tuple(tuple(part.shape) for part in state) for state in initial]
    expected = [((batch, cell.hidden_size),) * len(cell.state_names) for cell in cells]
    if given != expected:
        raise ValueError(f"initial: given shapes {given}, expected {expected}: a state a layer, a row a sequence")
