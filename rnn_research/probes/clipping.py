"""What clipping did at each step of the optimiser. Every run has this probe."""

from __future__ import annotations

import numpy as np

from rnn_research.models import Model


def clipping_table(model: Model) -> np.ndarray:
    """One row a step: `step`, `norm_before`, `norm_after` (global L2 norms), `coefficient`, and whether it `fired`
    (the coefficient is a number other than 1: a gradient that is not finite can't be clipped)."""
    did = model.clipped.table()
    table = np.empty(len(did), dtype=[*did.dtype.descr, ("fired", np.bool_)])
    for name in did.dtype.names or ():
        table[name] = did[name]
    table["fired"] = (did["coefficient"] != 1.0) & np.isfinite(did["norm_before"])
    return table
