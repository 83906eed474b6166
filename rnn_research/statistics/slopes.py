"""A slope that a few odd points don't move (Theil 1950, Sen 1968)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float

PAIRED = 48
"""So many points are paired, each with each."""


def theil_sen(x: Float[np.ndarray, " n"], y: Float[np.ndarray, "... n"]) -> Float[np.ndarray, ...]:
    """The median over pairs i < j of (y_j - y_i) / (x_j - x_i), for each row of `y`; NaN without a pair."""
    i, j = _pairs(len(x)) if len(x) <= PAIRED else np.triu_indices(len(x), k=1)
    slopes = (y[..., j] - y[..., i]) / (x[j] - x[i])
    return nanmedian(slopes)


@lru_cache(maxsize=PAIRED)
def _pairs(count: int) -> tuple[np.ndarray, ...]:
    """The indices of all pairs i < j of so many; they can't be changed."""
    return tuple(map(_fixed, np.triu_indices(count, k=1)))


@lru_cache(maxsize=256)
def thinned(count: int, most: int = PAIRED) -> np.ndarray:
    """The indices of at most so many of `count`, evenly spread, both ends among them; they can't be changed."""
    return _fixed(np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)))


def _fixed(values: np.ndarray) -> np.ndarray:
    values.flags.writeable = False
    return values


def nested(count: int, most: int) -> np.ndarray:
    """The indices of about `most` of `count`: every 1st, 2nd, 4th, 8th, and the last. Those of a shorter sequence are,
    but for its last, among those that a longer one has, or the other way round."""
    stride = 1
    while -(-count // stride) > most:
        stride *= 2
    return np.union1d(np.arange(0, count, stride), [count - 1]).astype(int) if count else np.arange(0)


def nanmedian(values: np.ndarray) -> np.ndarray:
    """The median over the last axis of what isn't NaN; NaN where nothing is."""
    if not np.isnan(values).any():
        return median(values) if values.shape[-1] else np.full(values.shape[:-1], np.nan)
    ranked = np.sort(values, axis=-1)  # NaN last
    count = (~np.isnan(values)).sum(-1)
    low, high = np.maximum((count - 1) // 2, 0), count // 2
    pick = [np.take_along_axis(ranked, np.minimum(k, values.shape[-1] - 1)[..., None], -1)[..., 0] for k in (low, high)]
    return np.where(count > 0, (pick[0] + pick[1]) / 2, np.nan)


def median(values: np.ndarray) -> np.ndarray:
    """What `numpy.median` gives over the last axis, which holds something and no NaN, in a third of its time where
    there is little."""
    half, odd = divmod(values.shape[-1], 2)
    if odd:
        return np.asarray(np.partition(values, half, axis=-1)[..., half])
    ranked = np.partition(values, (half - 1, half), axis=-1)
    return np.asarray((ranked[..., half - 1] + ranked[..., half]) / 2)
