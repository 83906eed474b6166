"""What a table `adjoint` holds: which columns are states, and the norms of one of them or of all together.

The table has one row per (step, layer, sample, position), with the columns

    step       the optimiser step, 0 before any update
    layer      0 reads the input
    sample     which of the probed samples
    distance   d, cell applications between this state and the loss that reads it
    direction  where a layer has two chains: 0 forward, 1 backward; each has its own distance to its own end
    part       0 of an encoder, 1 of a decoder: layer l of the decoder goes on where layer l of the encoder ends, so
               that a layer's rows of both are those of one chain
    <state>    n = ||dL/ds||_2, the norm of the total gradient of the sample's own training loss

and maybe `<state>_direct`, `<state>_recurrent` (its parts), `<state>_attention` (the part of an encoder's that
left it through attention) and `<state>_terminal` (the adjoint of the loss
at the last step or the root alone, for which there is one distance where the training loss reads many
positions); `token`; and where a strategy acts inside backpropagation `<point>_before` and `<point>_after`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from rnn_research.checks import nearest

KEYS = ("step", "layer", "sample", "distance")
PARTS = ("_direct", "_recurrent", "_terminal", "_attention")
NETWORKS = ("encoder", "decoder")
"""By the number in `part`."""
JOINT = "joint"
"""All states of the cell together, (h, c) of an LSTM: what a step hands to the next, so what can vanish."""
OTHERS = (
    "token",
    "direction",
    "part",
    *(f"{point}_{when}" for point in ("recurrent", "adjoint", "preactivation") for when in ("before", "after")),
)
"""Columns of the probe that are no states."""


@dataclass(frozen=True, eq=False)
class AdjointNorms:
    """The norms of one state (or of several together) at one step, a value a (sample, position)."""

    parts: tuple[str, ...]
    """The states that are together in it."""
    terminal: bool
    sample: Int[np.ndarray, " row"]
    distance: Int[np.ndarray, " row"]
    norm: Float[np.ndarray, " row"]
    """NaN where one of the parts is no norm."""
    above: int
    """Applications of layers above, which no recurrence is: a lower layer's last state is so far from the loss."""


def steps(table: np.ndarray) -> Int[np.ndarray, " step"]:
    """The recorded optimiser steps, ascending."""
    check(table)
    return _distinct(table["step"]).astype(np.int64)


def states(table: np.ndarray) -> tuple[str, ...]:
    """The states whose adjoints were recorded, by name: `hidden`, and `cell` in an LSTM.

    Every column that is neither a part of a state nor one of the probe's others; and whatever has its direct and its
    recurrent part beside it.
    """
    names = [name for name in table.dtype.names or () if name not in KEYS]
    whole = {name for name in names if {f"{name}_direct", f"{name}_recurrent"} <= set(names)}
    return tuple(name for name in names if name in whole or not (name.endswith(PARTS) or name in OTHERS))


def layers(table: np.ndarray) -> tuple[int, ...]:
    """The recorded layers, from the one that reads the input."""
    check(table)
    return tuple(_distinct(table["layer"]).tolist())


def directions(table: np.ndarray) -> tuple[int, ...]:
    """The recorded directions, 0 forward and 1 backward; none where each layer has one chain.

    Raises:
        ValueError: no rows, a column is missing, or a direction is another number.
    """
    check(table)
    if "direction" not in (table.dtype.names or ()):
        return ()
    found = _distinct(table["direction"]).tolist()
    if not set(found) <= {0, 1}:
        raise ValueError(f"adjoint table: has the direction {found[-1]}, expected 0 or 1; run it again")
    return tuple(map(int, found))


def of_direction(table: np.ndarray, direction: int | None) -> np.ndarray:
    """The rows of one direction; None: of all.

    Raises:
        ValueError: no such direction.
    """
    if direction is None:
        return table
    if direction not in (present := directions(table)):
        raise ValueError(f"direction: given {direction}, expected one of {', '.join(map(str, present)) or 'none'}")
    return _where(table, table["direction"] == direction)


def of_part(table: np.ndarray, part: str | None) -> np.ndarray:
    """The rows of one of `NETWORKS`; None: of all. A distance counts the cell applications to that network's own end.

    Of an encoder the adjoints are those of the whole training loss, every step of which reaches it at its end (or by
    attention): those of the last step alone are left out.

    Raises:
        ValueError: no rows, a column is missing, or the table has no encoder and decoder.
    """
    if part is None:
        return table
    check(table)
    names = table.dtype.names or ()
    if "part" not in names:
        raise ValueError(f"part: given {part}, but this adjoint table has no encoder and decoder; leave it out")
    rows = table[table["part"] == NETWORKS.index(part)]
    if part == NETWORKS[0]:
        rows = rows[[name for name in names if not name.endswith("_terminal")]].copy()
        number = np.unique(np.stack([rows["step"], rows["sample"]]), axis=1, return_inverse=True)[1].reshape(-1)
        least = np.full(int(number.max(initial=-1)) + 1, np.iinfo(np.int64).max)
        np.minimum.at(least, number, rows["distance"].astype(np.int64))
        rows["distance"] -= least[number].astype(rows["distance"].dtype)
    return rows


def _distinct(values: np.ndarray) -> np.ndarray:
    """The distinct values, ascending: without sorting where there is one."""
    values = np.ascontiguousarray(values)
    return values[:1] if (values == values[0]).all() else np.unique(values)


def last_step(table: np.ndarray, state: str = JOINT, layer: int | None = None) -> int:
    """The last recorded step with a finite norm: in a run that diverged, the last one that says anything.

    Raises:
        ValueError: no such state or layer, no rows, or a column is missing.
    """
    found = last_finite_step(table, state, layer)
    return int(_of_layer(table, layer)["step"].max()) if found is None else found


def last_finite_step(table: np.ndarray, state: str = JOINT, layer: int | None = None) -> int | None:
    """The last recorded step with a finite norm, None where there is none. Raises as `last_step`."""
    names, _ = _columns(table, state)
    rows = _of_layer(table, layer)
    finite = rows["step"][np.logical_and.reduce([np.isfinite(rows[name]) for name in names])]
    return int(finite.max()) if len(finite) else None


def norms(table: np.ndarray, step: int | None = None, state: str = JOINT, layer: int | None = None) -> AdjointNorms:
    """The norms of `state` (`joint`: of all together) in `layer` (None: in all together) at `step` (None: the last
    one with a finite norm).

    They are of `<state>_terminal` where the table has that of every part, else of the total. The joint norm is
    the root of the sum of squares of the parts' norms, exactly that of the parts side by side. Where a layer has two
    directions, those of a sample are two samples (2 i + direction), and without a `layer` they are those of the top one
    alone: from a lower one there are ways of other lengths to the loss, by the other direction of a layer above.

    Raises:
        ValueError: no such state, layer or step, no rows, or a column is missing.
    """
    names, terminal = _columns(table, state)
    rows = _of_layer(table, layer)
    step = last_step(table, state, layer) if step is None else step
    rows = _where(rows, rows["step"] == step)
    if not len(rows):
        raise ValueError(f"step: given {step}, expected a recorded one: {', '.join(map(str, steps(table)))}")
    parts = tuple(name.removesuffix("_terminal") for name in names) if terminal else tuple(names)
    ways = directions(rows) or (None,)
    if layer is None and ways != (None,):
        rows = _where(rows, rows["layer"] == rows["layer"].max())
    found = [_of_chain(of_direction(rows, way), names) for way in ways]
    whole = sum(len(part[0]) for part in found) == len(table)
    above = 0 if whole else int(min(distance.min() for _, distance, _ in found) - table["distance"].min())
    if len(ways) == 1:
        return AdjointNorms(parts, terminal, *found[0], above)
    sample = np.concatenate([2 * part[0].astype(np.int64) + way for part, way in zip(found, ways, strict=True)])
    distance, norm = (np.concatenate(values) for values in list(zip(*found, strict=True))[1:])
    return AdjointNorms(parts, terminal, sample, distance, norm, above)


def _of_chain(rows: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sample, distance and norm of one direction, of all its layers together: at the top one's distance, in whose steps
    they all go."""
    numbers = _distinct(rows["layer"])
    by_layer = [rows] if len(numbers) == 1 else [_where(rows, rows["layer"] == number) for number in numbers]
    if len(by_layer) > 1:
        by_layer = _aligned(by_layer)
    whole = together([part[name] for part in by_layer for name in names])
    return by_layer[-1]["sample"], by_layer[-1]["distance"].astype(np.int64), whole


def together(parts: Sequence[np.ndarray]) -> np.ndarray:
    """sqrt(sum of squares) in float64, without overflow or underflow; NaN where one of them is no norm."""
    if len(parts) == 1:
        norm = parts[0].astype(np.float64)
        return norm if norm.min(initial=0.0) >= 0 else np.where(norm >= 0, norm, np.nan)  # NaN is not >= 0
    stacked = np.stack([part.astype(np.float64) for part in parts])
    valid = np.all(stacked >= 0, axis=0)
    return np.where(valid, np.hypot.reduce(np.where(valid, stacked, 0.0)), np.nan)


def check(table: np.ndarray) -> None:
    """Refuse a table that is none of the probe's.

    Raises:
        ValueError: it has no rows, or lacks an integer column.
    """
    if not len(table):
        raise ValueError("adjoint table: has no rows; train for longer, or probe more often")
    whole = [key for key in table.dtype.names or () if table.dtype[key].kind in "iu"]
    missing = [key for key in KEYS if key not in whole]
    if missing:
        raise ValueError(f"adjoint table: lacks integer columns {', '.join(missing)}; run it again")


def _columns(table: np.ndarray, state: str) -> tuple[list[str], bool]:
    """The columns of each part of `state`, and whether they are of the terminal loss."""
    check(table)
    known = states(table)
    if not known or state not in (JOINT, *known):
        expected = ", ".join((JOINT, *known)) if known else "one, but the table has none"
        raise ValueError(f"state: given {state!r}, expected {expected}{nearest(state, (JOINT, *known))}")
    parts = known if state == JOINT else (state,)
    ends = [f"{part}_terminal" for part in parts]
    terminal = all(name in (table.dtype.names or ()) for name in ends)
    names = ends if terminal else list(parts)
    for name in names:
        if not np.issubdtype(table.dtype[name], np.floating):
            raise ValueError(f"adjoint table: column {name} is {table.dtype[name]}, expected floats; run it again")
    return names, terminal


def _of_layer(table: np.ndarray, layer: int | None) -> np.ndarray:
    if layer is None:
        return table
    present = layers(table)
    if layer not in present:
        raise ValueError(f"layer: given {layer}, expected one of {', '.join(map(str, present))}")
    return _where(table, table["layer"] == layer)


def _where(rows: np.ndarray, true: np.ndarray) -> np.ndarray:
    """The rows where it is true: all of them without a copy, and a slice where they lie together."""
    first, last = int(true.argmax()), len(true) - int(true[::-1].argmax())
    return rows[first:last] if true[first:last].all() else rows[true]


def _aligned(by_layer: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The rows of each layer in one order, so that one position stands in the same place in all: a lower layer's is
    further from the loss by the layers above."""
    ordered = [rows[np.lexsort((rows["distance"], rows["sample"]))] for rows in by_layer]  # stable, as recorded
    places = [(rows["sample"], rows["distance"] - rows["distance"].min()) for rows in ordered]
    for place in places[1:]:
        if not all(map(np.array_equal, place, places[0])):
            raise ValueError("adjoint table: its layers have different positions; look at one layer, or run it again")
    return ordered
