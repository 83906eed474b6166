"""What becomes of steps whose values are missing: NaN or infinite."""

from __future__ import annotations

import numpy as np

POLICIES = ("refuse", "drop", "interpolate")
REPAIR = "expected finite numbers; mend it, or use dataset.missing=drop or dataset.missing=interpolate"


def first_gap(values: np.ndarray) -> tuple[int, int] | None:
    """The step and the column of the first value that is missing; None: there is none."""
    bad = ~np.isfinite(values)
    return tuple(map(int, np.argwhere(bad)[0])) if bad.any() else None  # type: ignore[return-value]


def without_gaps(values: np.ndarray, policy: str) -> tuple[np.ndarray, int]:
    """The series with finite values alone, and how many steps had others.

    `drop` leaves such steps out. `interpolate` draws a straight line in each column between the nearest finite values,
    by the number of the step; before the first and after the last one it repeats that one.

    Args:
        values: (steps, columns).
        policy: one of `POLICIES`.

    Raises:
        ValueError: the policy is `refuse` and a value is missing; or nothing finite is left of the series, or of a
            column of it.
    """
    bad = ~np.isfinite(values)
    steps = bad.any(1)
    if not steps.any():
        return values, 0
    count = int(steps.sum())
    if policy == "refuse":
        step, column = np.argwhere(bad)[0].tolist()
        raise ValueError(f"found {values[step, column]} at step {step}, column {column}, {REPAIR}")
    if policy == "drop":
        if steps.all():
            raise ValueError("has no step without a missing value")
        return values[~steps], count
    if bad.all(0).any():
        raise ValueError(f"column {int(np.flatnonzero(bad.all(0))[0])} has no finite value to interpolate from")
    filled, at = values.copy(), np.arange(len(values))
    for column in np.flatnonzero(bad.any(0)):
        good = ~bad[:, column]
        filled[:, column] = np.interp(at, at[good], values[good, column])
    return filled, count
