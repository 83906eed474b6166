"""Which factor of a study explains a number, and how much of it: main effects and interactions of two factors."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int

from rnn_research.statistics.intervals import EQUAL, NAN

LEAST = 2
"""Levels that make a factor."""
MOST = 400
"""So many columns are fitted, in half a second; where interactions make more, main effects alone are."""


@dataclass(frozen=True)
class Term:
    """What a factor, or two together beyond each alone, explains of the numbers' variance."""

    factors: tuple[str, ...]
    df: int
    """Degrees of freedom; 0 where the other terms leave nothing of it to tell apart."""
    squares: float
    """Sum of squares of type II, in the number's unit squared."""
    share: float
    """eta², `squares` over all squares about the mean: 0 to 1. In a balanced grid they add up to at most 1."""
    omega: float
    """omega², `share` less what chance alone explains: (SS - df MSE) / (SST + MSE); below 0 for less than chance."""
    f: float
    p: float
    why: str = ""
    """Why there is no test; `omega`, `f` and `p` are then NaN."""


@dataclass(frozen=True)
class Explained:
    """The terms of a study, main effects first, each kind in the order of the factors."""

    terms: tuple[Term, ...]
    residual_df: int
    residual: float
    """Sum of squares that no term explains."""
    seeds: float
    """Share of all squares that the seed alone explains, beyond the factors; 0 where it is no block."""
    total: float
    """Sum of squares about the mean."""
    n: int
    """Numbers that were fitted: of runs of one setting and seed their mean is one."""
    blocked: bool
    """Whether seeds are a block: their differences are no one's effect. Not, where they differ between settings."""
    interactions: bool
    """Whether interactions are terms. They count as error where there is none without them, such as in a grid of two
    factors with one run a setting, and where there are too many levels to fit them."""
    why: str = ""
    """Why there are no terms, such as `no factor has two levels` or `all equal`."""


class _Fit:
    """Least squares of the numbers by the blocks' means and any of the terms' columns.

    The blocks' means are taken from numbers and columns (Frisch and Waugh 1933), and what is left is rotated onto as
    many rows as columns (QR): each fit costs as much for 20 runs as for 2,000.
    """

    def __init__(self, numbers: np.ndarray, block: np.ndarray, columns: Mapping[tuple[str, ...], np.ndarray]) -> None:
        self.terms, self._blocks = list(columns), int(block.max()) + 1
        within = _within(numbers[:, None], block)[:, 0]
        basis, rotated = np.linalg.qr(_within(np.concatenate(list(columns.values()), axis=1), block))
        self._numbers = basis.T @ within
        self._outside = float(((within - basis @ self._numbers) ** 2).sum())
        ends = np.cumsum([each.shape[1] for each in columns.values()])
        self._columns = dict(zip(self.terms, np.split(rotated, ends[:-1], axis=1), strict=True))
        self._known: dict[frozenset[tuple[str, ...]], tuple[float, int]] = {}

    def residual(self, terms: Sequence[tuple[str, ...]]) -> tuple[float, int]:
        """The sum of squares that these terms leave, and the rank of their columns with the blocks'."""
        key = frozenset(terms)
        if key not in self._known:
            design = np.concatenate([np.zeros((len(self._numbers), 1)), *(self._columns[t] for t in terms)], axis=1)
            found, _, rank, _ = np.linalg.lstsq(design, self._numbers, rcond=1e-10)
            rest = self._outside + float(((self._numbers - design @ found) ** 2).sum())
            self._known[key] = rest, int(rank) + self._blocks
        return self._known[key]


def explained(
    values: Sequence[float] | np.ndarray,
    factors: Mapping[str, Sequence[Hashable]],
    seeds: Sequence[Hashable] | None = None,
) -> Explained:
    """How much of the `values`' variance each factor and each pair of factors explains, with F and p.

    The model is value = seed + main effects + interactions of two + error, by least squares. A term's sum of squares
    is of type II: what the residual grows by where the term is left out of the terms that don't hold it (a main effect
    is judged without its own interactions). Then F = (SS / df) / (SSE / dfE), with SSE of the full model (Yates 1934;
    Langsrud 2003). In a balanced grid these are the usual sums of squares. Errors are normal, independent and of one
    variance: give the logarithm of what is a ratio or a norm. Interactions of three count as error; all do, where no
    run would be left to judge by.

    Runs of one setting and seed are averaged first. Values that are not finite are left out; n says how many stayed.

    Args:
        values: one a run.
        factors: of each its level in each run. Those with one level explain nothing, and are left out.
        seeds: of each run. They are a block where they cross the settings. Without them each run has its own.

    Raises:
        ValueError: the lengths differ.
    """
    numbers = np.asarray(values, dtype=np.float64)
    columns = {name: list(levels) for name, levels in factors.items()}
    labels = list(range(len(numbers))) if seeds is None else list(seeds)
    if {len(labels), *map(len, columns.values())} != {len(numbers)}:
        raise ValueError("values, factors and seeds: expected one of each for each run")
    numbers, columns, labels = _averaged(numbers, columns, labels)
    columns = {name: levels for name, levels in columns.items() if len(set(levels)) >= LEAST}
    total = float(((numbers - numbers.mean()) ** 2).sum()) if len(numbers) else 0.0
    if why := _refused(numbers, columns):
        return Explained((), 0, NAN, NAN, total, len(numbers), False, False, why)
    return _fitted(numbers, columns, labels, total)


def _averaged(
    numbers: np.ndarray, columns: Mapping[str, Sequence[Hashable]], labels: Sequence[Hashable]
) -> tuple[np.ndarray, dict[str, list[Hashable]], list[Hashable]]:
    """One number, the mean of the finite ones, for each setting and seed."""
    cells: dict[tuple[Hashable, ...], list[float]] = {}
    for number, *setting in zip(numbers, *columns.values(), labels, strict=True):
        if np.isfinite(number):
            cells.setdefault(tuple(setting), []).append(float(number))
    kept = list(zip(*cells, strict=True)) if cells else [()] * (len(columns) + 1)
    means = np.array([np.mean(values) for values in cells.values()], dtype=np.float64)
    return means, {name: list(levels) for name, levels in zip(columns, kept, strict=False)}, list(kept[-1])


def _refused(numbers: np.ndarray, columns: Mapping[str, Sequence[Hashable]]) -> str:
    if not len(numbers):
        return "no finite value"
    if not columns:
        return "no factor has two levels"
    levels = sum(len(set(own)) for own in columns.values())
    if levels > MOST:
        return f"{levels} levels, {MOST} at most"
    return "all equal" if np.ptp(numbers) <= EQUAL * np.abs(numbers).max() else ""


def _fitted(
    numbers: np.ndarray, columns: Mapping[str, Sequence[Hashable]], labels: Sequence[Hashable], total: float
) -> Explained:
    levels, seed, one_block = (
        {name: _codes(own) for name, own in columns.items()},
        _codes(labels),
        np.zeros(len(numbers), dtype=int),
    )
    mains = {(name,): _indicators(codes) for name, codes in levels.items()}
    main = np.concatenate(list(mains.values()), axis=1)
    blocked = bool(seed.any()) and _rank(_within(main, seed)) == _rank(_within(main, one_block))
    block = seed if blocked else one_block
    pairs = {(one, other): _pairs(levels[one], levels[other]) for one, other in combinations(levels, 2)}
    together = bool(pairs) and main.shape[1] + sum(int(codes.max()) for codes in pairs.values()) <= MOST
    both = {**mains, **{pair: _indicators(codes) for pair, codes in pairs.items()}} if together else mains
    fit = _Fit(numbers, block, both)
    rest, rank = fit.residual(fit.terms)
    if together and rank == len(numbers):
        together, both = False, mains
        fit = _Fit(numbers, block, both)
        rest, rank = fit.residual(fit.terms)
    df = len(numbers) - rank
    terms = tuple(_term(term, fit, (rest if df else 0.0, df), (total, len(numbers))) for term in fit.terms)
    seeds = 0.0
    if blocked:
        without, _ = _Fit(numbers, one_block, both).residual(fit.terms)
        seeds = max(0.0, without - rest) / total
    return Explained(terms, df, rest, seeds, total, len(numbers), blocked, together)


def _term(term: tuple[str, ...], fit: _Fit, error: tuple[float, int], about_mean: tuple[float, int]) -> Term:
    others = [other for other in fit.terms if not set(term) <= set(other)]
    without, fewer = fit.residual(others)
    with_it, more = fit.residual([*others, term])
    (rest, rest_df), (total, n) = error, about_mean
    df = more - fewer
    squares = max(0.0, without - with_it) if df else 0.0
    reasons = (
        (df == 0, "the other terms leave none of it"),
        (rest_df == 0, "no run is left to tell chance by"),
        (rest <= EQUAL**2 * total * n, "no chance differences"),
    )
    if why := next((reason for holds, reason in reasons if holds), ""):
        return Term(term, df, squares, squares / total, NAN, NAN, NAN, why)
    from scipy.special import fdtrc

    mean_error = rest / rest_df
    f = squares / df / mean_error
    omega = (squares - df * mean_error) / (total + mean_error)
    return Term(term, df, squares, squares / total, omega, f, float(fdtrc(df, rest_df, f)))


def _codes(levels: Sequence[Hashable]) -> Int[np.ndarray, " run"]:
    """0, 1, ... for each level in the order in which they are met."""
    numbered = {level: number for number, level in enumerate(dict.fromkeys(levels))}
    return np.array([numbered[level] for level in levels])


def _pairs(one: np.ndarray, other: np.ndarray) -> Int[np.ndarray, " run"]:
    """0 for a pair of levels that has the first of either, then 1, 2, ... for each pair that a run has."""
    both = np.where((one > 0) & (other > 0), one * (int(other.max()) + 1) + other, 0)
    return np.unique(np.append(both, 0), return_inverse=True)[1][:-1]


def _indicators(codes: Int[np.ndarray, " run"]) -> Float[np.ndarray, "run column"]:
    """A column for each code but 0: 1 where a run has it."""
    return (codes[:, None] == np.arange(1, int(codes.max()) + 1)).astype(np.float64)


def _within(rows: np.ndarray, block: np.ndarray) -> np.ndarray:
    """The rows less the mean of their block's."""
    sums = np.zeros((int(block.max()) + 1, rows.shape[1]))
    np.add.at(sums, block, rows)
    return rows - (sums / np.bincount(block)[:, None])[block]


def _rank(design: np.ndarray) -> int:
    return int(np.linalg.matrix_rank(design, rtol=1e-10))
