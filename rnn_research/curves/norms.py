"""Vanishing curves: the norm of an adjoint against distance, over the probed samples.

Pure numpy. Knows the table of the probe `adjoint` (see `columns`); knows nothing of runs, training or drawing.

Norms differ between samples by orders of magnitude, so everything here works on log n: an arithmetic mean
would show the loudest sample. And samples differ in length or depth, so each is compared with itself: see
`Curve`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from rnn_research.curves.columns import JOINT, last_step, norms

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Curve:
    """Adjoint norms of one state (or of all together), layer and step against distance, over the probed samples.

    Samples whose every norm is zero (`silent`: their own loss has no gradient) and norms that are NaN
    (`invalid`, a count) say nothing about decay and are left out.

    `log_ratio` is log(n_d / n_0), where 0 is the smallest distance. It adds up steps from one distance to the
    next, each the mean of log(n_d' / n_d) over the samples that have a nonzero norm at both, where a
    sample with several positions at a distance enters with its mean log n. Where all samples reach all
    distances this is the ratio of geometric means; where they don't, it is free of who happens to be long
    or deep. It is -inf where more than half of the norms are exactly zero, and inf where more than half
    are infinite. The curve that is judged, `typical.Typical`, is over the middle half of the samples.
    """

    state: str
    parts: tuple[str, ...]
    """The states that are together in it: one, or for `joint` all of the cell's."""
    terminal: bool
    """Whether the norms are of the loss at the last step or the root alone, and not of the whole training loss."""
    layer: int | None
    """None: all layers together; of layers with two directions the top one."""
    above: int
    """Applications of layers above: so far from the loss is the layer's last state, which no recurrence has touched."""
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
    depth_sum: Float[np.ndarray, " distance"]
    """Geometric mean over samples of the sum of norms at a distance: in a tree, nodes grow in number with
    depth."""
    log_ratio: Float[np.ndarray, " distance"]
    log_norm: Float[np.ndarray, "sample distance"]
    """Each sample's mean of log n over its nonzero norms; NaN where it has none."""
    smallest: Float[np.ndarray, "sample distance"]
    """Each sample's smallest nonzero norm; inf where it has none."""
    zero: Bool[np.ndarray, "sample distance"]
    """Whether a sample's every norm at a distance is exactly zero."""
    infinite: Bool[np.ndarray, "sample distance"]
    """Whether some norm of a sample at a distance is infinite."""
    silent: int
    invalid: int

    @property
    def branching(self) -> bool:
        """Whether some sample has several positions at one distance, as trees do."""
        return bool(np.any(self.positions > self.samples))

    @cached_property
    def there(self) -> Bool[np.ndarray, "sample distance"]:
        """Whether a sample has a norm at a distance, zero or not."""
        return self.zero | self.infinite | ~np.isnan(self.log_norm)

    @cached_property
    def zero_samples(self) -> Int[np.ndarray, " distance"]:
        """In how many samples every norm is exactly zero; `infinite_samples` likewise."""
        return self.zero.sum(0)

    @cached_property
    def infinite_samples(self) -> Int[np.ndarray, " distance"]:
        return self.infinite.sum(0)

    @cached_property
    def whole(self) -> bool:
        """Whether every sample has a norm at every distance that is neither zero nor infinite."""
        return not np.isnan(self.log_norm).any() and not self.infinite.any()


def curve(table: np.ndarray, step: int | None = None, state: str = JOINT, layer: int | None = None) -> Curve:
    """The vanishing curve of `state` (default: the joint state) in `layer` (default: all together) at `step` (default:
    `last_step`); of the terminal loss where the table has that.

    Raises:
        ValueError: no such state, layer or step, no rows, or a column is missing.
    """
    step = last_step(table, state, layer) if step is None else step
    found = norms(table, step, state, layer)
    silent = invalid = 0
    arrays = _of_grid(found.sample, found.distance, found.norm)
    if arrays is None:
        kept, silent, invalid = _speaking(found.sample, found.distance, found.norm)
        arrays = _of_rows(kept)
    about: dict[str, Any] = {"parts": found.parts, "terminal": found.terminal, "above": found.above, **arrays}
    return Curve(state=state, layer=layer, step=step, silent=silent, invalid=invalid, **about)


def _of_grid(sample: np.ndarray, distance: np.ndarray, norm: np.ndarray) -> dict[str, np.ndarray] | None:
    """The arrays of a `Curve` whose every sample has one norm at each of the same ascending distances, a sample after
    the other, as a chain's table has them: the same as `_of_rows` gives, without looking for who is where. None where
    the rows are others, or where a norm is NaN or a sample is silent."""
    width = int(np.argmax(sample != sample[0])) or len(sample)
    if len(sample) % width:
        return None
    who, where, norms = (values.reshape(-1, width) for values in (sample, distance, norm))
    if (who != who[:, :1]).any() or (where != where[:1]).any() or (np.diff(where[0]) <= 0).any():
        return None
    positive = norms > 0
    whole = bool(positive.all()) and bool(np.isfinite(norms.max()))
    if len(np.unique(who[:, 0])) < len(who) or not (whole or ((norms >= 0).all() and positive.any(1).all())):
        return None
    order = np.argsort(who[:, 0])
    norms = norms if (np.diff(order) > 0).all() else norms[order]
    plain = np.broadcast_to(True, norms.shape) if whole else (norms > 0) & np.isfinite(norms)
    log_norm = np.log(norms) if whole else np.log(norms, where=plain, out=np.full(norms.shape, np.nan))
    none = np.zeros(norms.shape, dtype=bool)
    zero, infinite = (none, none) if whole else (norms == 0, np.isinf(norms))
    count = np.full(width, len(norms))
    mean = _mean(log_norm, np.ones(len(norms)))
    if whole:  # of the same samples everywhere, as `linked` says
        zeros, ratio = np.zeros(width), mean - mean[:1]
    else:
        zeros, infinities = zero.mean(0), infinite.mean(0)
        ratio = np.where(zeros > 0.5, -np.inf, np.where(infinities > 0.5, np.inf, linked(log_norm)))
    return {
        "distance": where[0].astype(np.int64),
        "positions": count,
        "samples": count,
        "geometric_mean": np.exp(mean),
        "zeros": zeros,
        "depth_sum": np.exp(mean),
        "log_ratio": ratio,
        "log_norm": log_norm,
        "smallest": norms if whole else np.where(plain, norms, np.inf),
        "zero": zero,
        "infinite": infinite,
    }


def _speaking(sample: np.ndarray, distance: np.ndarray, norm: np.ndarray) -> tuple[Rows, int, int]:
    """(sample, distance, norm) of the rows that say something; the silent samples; the norms that are NaN."""
    valid = norm >= 0
    names, who = np.unique(sample, return_inverse=True)
    count = np.bincount(who, valid, len(names))
    loudest = np.zeros(len(names))
    np.maximum.at(loudest, who[valid], norm[valid])
    kept = valid & (loudest[who] > 0)
    silent = int(np.sum((count > 0) & (loudest == 0)))
    return (who[kept], distance[kept], norm[kept]), silent, int(np.sum(~valid))


def _of_rows(rows: Rows) -> dict[str, np.ndarray]:
    """The arrays of a `Curve`, by field, of any rows."""
    who, distances, norm = rows
    distance, where = np.unique(distances.astype(np.int64), return_inverse=True)
    who, size = np.unique(who, return_inverse=True)[1], (len(np.unique(who)), len(distance))

    def table(weight: np.ndarray) -> np.ndarray:
        """The sum of `weight` for each (sample, distance)."""
        return np.bincount(who * size[1] + where, weight, size[0] * size[1]).reshape(size)

    plain = (norm > 0) & np.isfinite(norm)
    log = np.where(plain, np.log(np.where(plain, norm, 1.0)), 0.0)
    count, plains, logs, sums = table(np.ones_like(norm)), table(plain), table(log), table(norm)
    zero, infinite = table(norm == 0), table(np.isinf(norm))
    positions = count.sum(0)
    smallest = np.full(size, np.inf)
    np.minimum.at(smallest, (who[plain], where[plain]), norm[plain])
    zeros, infinities = zero.sum(0) / positions, infinite.sum(0) / positions
    log_norm = _divide(logs, plains)
    log_ratio = np.where(zeros > 0.5, -np.inf, np.where(infinities > 0.5, np.inf, linked(log_norm)))
    return {
        "distance": distance,
        "positions": positions.astype(np.int64),
        "samples": (count > 0).sum(0),
        "geometric_mean": np.exp(_divide(logs.sum(0), plains.sum(0))),
        "zeros": zeros,
        "depth_sum": _geometric_mean(sums),
        "log_ratio": log_ratio,
        "log_norm": log_norm,
        "smallest": smallest,
        "zero": (count > 0) & (zero == count),
        "infinite": infinite > 0,
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
    pooled = _mean(log_norm, weight)
    if not np.isnan(log_norm).any() and log_norm.size:  # of the same samples everywhere, the steps add up to this
        return pooled - pooled[..., :1]
    known = ~np.isnan(pooled)
    if known.ndim > 1:
        if (known != known[:1]).any():  # some weights leave no sample at some distance: those that leave alike together
            apart = np.empty(known.shape)
            alike = np.unique(known, axis=0, return_inverse=True)[1].ravel()
            for rows in (alike == number for number in range(alike.max() + 1)):
                apart[rows] = linked(log_norm, weight[rows])
            return apart
        known = known[0]
    pooled = pooled[..., known]
    rises = _mean(np.diff(log_norm[:, known], axis=1), weight)
    rises = np.where(np.isnan(rises), np.diff(pooled, axis=-1), rises)
    ratio = np.full((*weight.shape[:-1], log_norm.shape[1]), np.nan)
    ratio[..., known] = np.concatenate([np.zeros_like(pooled[..., :1]), np.cumsum(rises, axis=-1)], axis=-1)
    return ratio


def _mean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The weighted mean over samples (axis 0 of `values`) of what isn't NaN."""
    present = ~np.isnan(values)
    if present.all():
        return _divide(
            weight @ values, np.broadcast_to(weight.sum(-1)[..., None], (*weight.shape[:-1], values.shape[1]))
        )
    return _divide(weight @ np.where(present, values, 0.0), weight @ present.astype(np.float64))


def _divide(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def _geometric_mean(values: np.ndarray) -> np.ndarray:
    """Over axis 0, of what is positive and finite."""
    plain = (values > 0) & np.isfinite(values)
    return np.exp(_divide(np.log(np.where(plain, values, 1.0)).sum(0), plain.sum(0)))
