"""Many tests at once: p-values that stay honest over all that a page shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


def holm(p: Sequence[float] | np.ndarray) -> Float[np.ndarray, " test"]:
    """The p-values adjusted by Holm for the family that `p` is, in its order.

    In ascending order p'_(i) = max over j <= i of min(1, (m - j + 1) p_(j)) (Holm 1979). To call those with p' <= a
    errs anywhere in the family with a chance of at most a, whatever the dependence of the tests. A test that could not
    be made (NaN) stays NaN and doesn't count in m.

    Args:
        p: of every comparison that is shown, not only of those that look interesting.

    Raises:
        ValueError: a p-value is not in [0, 1].
    """
    given = np.asarray(p, dtype=np.float64)
    adjusted = np.full(given.shape, np.nan)
    made = np.flatnonzero(~np.isnan(given))
    if ((given[made] < 0) | (given[made] > 1)).any():
        raise ValueError(f"p: given {given[made].tolist()}, expected numbers from 0 to 1")
    ranked = made[np.argsort(given[made], kind="stable")]
    adjusted[ranked] = np.maximum.accumulate(np.minimum(1, given[ranked] * np.arange(len(ranked), 0, -1)))
    return adjusted
