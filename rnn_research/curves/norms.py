"""Vanishing curves: the norm of a state's adjoint against distance, how fast it decays, and the word for
that.

Pure numpy. Knows the columns of the probe table `adjoint`; knows nothing of runs, training or drawing. The
table has one row per (step, layer, sample, position), with the columns

    step       the optimiser step, 0 before any update
    layer      0 reads the input
    sample     which of the probed samples
    distance   d, cell applications between this state and the loss that reads it
    <state>    n = ||dL/ds||_2, the norm of the total gradient of the sample's own training loss

and maybe `<state>_direct`, `<state>_recurrent` (its parts) and `<state>_terminal` (the adjoint of the loss
at the last step or the root alone, for which there is one distance where the training loss reads many
positions).

Norms differ between samples by orders of magnitude, so everything here works on log n: an arithmetic mean
would show the loudest sample. And samples differ in length or depth, so each is compared with itself: see
`Curve`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from rnn_research.checks import nearest

KEYS = ("step", "layer", "sample", "distance")
PARTS = ("_direct", "_recurrent", "_terminal")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Curve:
    """Adjoint norms of one state, layer and step against distance, over the probed samples.

    Samples whose every norm is zero (`silent`: their own loss has no gradient) and norms that are NaN
    (`invalid`, a count) say nothing about decay and are left out.

    `log_ratio` is log(n_d / n_0), where 0 is the smallest distance. It adds up steps from one distance to the
    next, each the mean of log(n_d' / n_d) over the samples that have a nonzero norm at both, where a
    sample with several positions at a distance enters with its mean log n. Where all samples reach all
    distances this is the ratio of geometric means; where they don't, it is free of who happens to be long
    or deep. It is -inf where more than half of the norms are exactly zero, and inf where more than half
    are infinite.
    """

    state: str
    terminal: bool
    """Whether the norms are of the loss at the last step or the root alone, and not of the whole training loss."""
    layer: int
    step: int
    distance: Int[np.ndarray, " distance"]
    positions: Int[np.ndarray, " distance"]
    """How many norms there are at each distance."""
    samples: Int[np.ndarray, " distance"]
    """From how many samples."""
    geometric_mean: Float[np.ndarray, " distance"]
    """Of the nonzero, finite norms, pooled over positions; NaN where there is none."""
    zeros: Float[np.ndarray, " distance"]
    """The fraction of norms that are exactly zero: dead units, or less than float32 holds."""
    quantiles: Float[np.ndarray, "quantile distance"]
    """At `QUANTILES`, of all norms, zeros included; the nearest rank, never interpolated."""
    depth_sum: Float[np.ndarray, " distance"]
    """Geometric mean over samples of the sum of norms at a distance: in a tree, nodes grow in number with
    depth."""
    log_ratio: Float[np.ndarray, " distance"]
    log_norm: Float[np.ndarray, "sample distance"]
    """Each sample's mean of log n over its nonzero norms; NaN where it has none."""
    smallest: Float[np.ndarray, "sample distance"]
    """Each sample's smallest nonzero norm; inf where it has none."""
    silent: int
    invalid: int

    @property
    def branching(self) -> bool:
        """Whether some sample has several positions at one distance, as trees do."""
        return bool(np.any(self.positions > self.samples))


def steps(table: np.ndarray) -> Int[np.ndarray, " step"]:
    """The recorded optimiser steps, ascending."""
    _check(table)
    return np.unique(table["step"]).astype(np.int64)


def states(table: np.ndarray) -> tuple[str, ...]:
    """The states whose adjoints were recorded, by name: `hidden`, and `cell` in an LSTM."""
    names = (name for name in table.dtype.names or () if name not in KEYS)
    return tuple(dict.fromkeys(name for name in names if not name.endswith(PARTS)))


def last_step(table: np.ndarray, state: str = "hidden", layer: int | None = None) -> int:
    """The last recorded step with a finite norm: in a run that diverged, the last one that says anything.

    Raises:
        ValueError: no such state, no rows, or a column is missing.
    """
    column = _column(table, state)
    rows = table[table["layer"] == _layer(table, layer)]
    finite = rows["step"][np.isfinite(rows[column])]
    return int((finite if len(finite) else rows["step"]).max())


def curve(table: np.ndarray, step: int | None = None, state: str = "hidden", layer: int | None = None) -> Curve:
    """The vanishing curve of `state` in `layer` (default: the top one) at `step` (default: `last_step`).

    It is of `<state>_terminal` where the table has that, else of `<state>`.

    Raises:
        ValueError: no such state, layer or step, no rows, or a column is missing.
    """
    column, layer = _column(table, state), _layer(table, layer)
    step = last_step(table, state, layer) if step is None else step
    rows = table[(table["layer"] == layer) & (table["step"] == step)]
    if not len(rows):
        recorded = ", ".join(map(str, steps(table)))
        raise ValueError(f"step: given {step}, expected a recorded one: {recorded}")
    kept, silent, invalid = _speaking(rows, column)
    terminal = column != state
    return Curve(
        state=state, terminal=terminal, layer=layer, step=step, silent=silent, invalid=invalid, **_statistics(kept)
    )


def _check(table: np.ndarray) -> None:
    if not len(table):
        raise ValueError("adjoint table: has no rows; train for longer, or probe more often")
    whole = [key for key in table.dtype.names or () if table.dtype[key].kind in "iu"]
    missing = [key for key in KEYS if key not in whole]
    if missing:
        raise ValueError(f"adjoint table: lacks integer columns {', '.join(missing)}; run it again")


def _column(table: np.ndarray, state: str) -> str:
    _check(table)
    if state not in states(table):
        expected = ", ".join(states(table)) or "one, but the table has none"
        raise ValueError(f"state: given {state!r}, expected {expected}{nearest(state, states(table))}")
    column = f"{state}_terminal" if f"{state}_terminal" in (table.dtype.names or ()) else state
    if not np.issubdtype(table.dtype[column], np.floating):
        raise ValueError(f"adjoint table: column {column} is {table.dtype[column]}, expected floats; run it again")
    return column


def _layer(table: np.ndarray, layer: int | None) -> int:
    present = np.unique(table["layer"]).tolist()
    if layer is not None and layer not in present:
        raise ValueError(f"layer: given {layer}, expected one of {', '.join(map(str, present))}")
    return present[-1] if layer is None else layer


def _speaking(rows: np.ndarray, column: str) -> tuple[Rows, int, int]:
    """(sample, distance, norm) of the rows that say something; the silent samples; the norms that are NaN."""
    norm = rows[column].astype(np.float64)
    valid = norm >= 0
    names, who = np.unique(rows["sample"], return_inverse=True)
    count = np.bincount(who, valid, len(names))
    loudest = np.zeros(len(names))
    np.maximum.at(loudest, who[valid], norm[valid])
    kept = valid & (loudest[who] > 0)
    silent = int(np.sum((count > 0) & (loudest == 0)))
    return (who[kept], rows["distance"][kept], norm[kept]), silent, int(np.sum(~valid))


def _statistics(rows: Rows) -> dict[str, np.ndarray]:
    """The arrays of a `Curve`, by field."""
    who, distances, norm = rows
    distance, where = np.unique(distances.astype(np.int64), return_inverse=True)
    who, size = np.unique(who, return_inverse=True)[1], (len(np.unique(who)), len(distance))

    def table(weight: np.ndarray) -> np.ndarray:
        """The sum of `weight` for each (sample, distance)."""
        return np.bincount(who * size[1] + where, weight, size[0] * size[1]).reshape(size)

    plain = (norm > 0) & np.isfinite(norm)
    log = np.where(plain, np.log(np.where(plain, norm, 1.0)), 0.0)
    count, plains, logs, sums = table(np.ones_like(norm)), table(plain), table(log), table(norm)
    positions = count.sum(0)
    smallest = np.full(size, np.inf)
    np.minimum.at(smallest, (who[plain], where[plain]), norm[plain])
    zeros, infinite = table(norm == 0).sum(0) / positions, table(np.isinf(norm)).sum(0) / positions
    log_norm = _divide(logs, plains)
    log_ratio = np.where(zeros > 0.5, -np.inf, np.where(infinite > 0.5, np.inf, linked(log_norm)))
    return {
        "distance": distance,
        "positions": positions.astype(np.int64),
        "samples": (count > 0).sum(0),
        "geometric_mean": np.exp(_divide(logs.sum(0), plains.sum(0))),
        "zeros": zeros,
        "quantiles": _quantiles(where, norm, positions),
        "depth_sum": _geometric_mean(sums),
        "log_ratio": log_ratio,
        "log_norm": log_norm,
        "smallest": smallest,
    }


def linked(
    log_norm: Float[np.ndarray, "sample distance"], weight: Float[np.ndarray, "... sample"] | None = None
) -> Float[np.ndarray, "... distance"]:
    """log(n_d / n_0), each sample compared with itself: see `Curve`. `weight` counts each sample so many
    times.

    NaN where no sample has a norm. Where no sample has one at two neighbouring distances, their own means are
    compared instead.
    """
    weight = np.ones(len(log_norm)) if weight is None else weight
    known = ~np.all(np.isnan(log_norm), axis=0)
    pooled = _mean(log_norm[:, known], weight)
    rises = _mean(np.diff(log_norm[:, known], axis=1), weight)
    rises = np.where(np.isnan(rises), np.diff(pooled, axis=-1), rises)
    ratio = np.full((*weight.shape[:-1], log_norm.shape[1]), np.nan)
    ratio[..., known] = np.concatenate([np.zeros_like(pooled[..., :1]), np.cumsum(rises, axis=-1)], axis=-1)
    return ratio


def _mean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The weighted mean over samples (axis 0 of `values`) of what isn't NaN."""
    present = ~np.isnan(values)
    return _divide(weight @ np.where(present, values, 0.0), weight @ present.astype(np.float64))


def _divide(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def _geometric_mean(values: np.ndarray) -> np.ndarray:
    """Over axis 0, of what is positive and finite."""
    plain = (values > 0) & np.isfinite(values)
    return np.exp(_divide(np.log(np.where(plain, values, 1.0)).sum(0), plain.sum(0)))


def _quantiles(where: np.ndarray, norm: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The nearest-rank quantiles of `norm` in each of the groups numbered by `where`."""
    ranked = norm[np.lexsort((norm, where))]
    start = np.cumsum(positions) - positions
    rank = np.ceil(np.outer(QUANTILES, positions)) - 1
    return ranked[(start + np.maximum(rank, 0)).astype(np.int64)]
