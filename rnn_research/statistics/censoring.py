"""The share of runs that reached something by each step, where some runs ended before they could."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


def kaplan_meier(
    solved: Sequence[int], censored: Sequence[int], never: int
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """1 - prod over steps t <= s of (1 - d_t / n_t), at the steps where it changes, from (0, 0).

    d_t runs solve the task at t, of the n_t that have not before, and were not censored before t. (Kaplan and Meier
    1958, eq. 2b.)

    Args:
        solved: the step at which each run solved it.
        censored: the last step of each run that ended unsolved.
        never: how many runs would not have solved it with any number of steps; they stay at risk.
    """
    times, counts = np.unique(np.asarray(solved, dtype=np.float64), return_counts=True)
    ends = np.concatenate([np.asarray(solved, dtype=np.float64), np.asarray(censored, dtype=np.float64)])
    at_risk = (ends[None] >= times[:, None]).sum(1) + never
    left = np.cumprod(1 - counts / at_risk)
    return np.concatenate([[0.0], times]), np.concatenate([[0.0], 1 - left])
