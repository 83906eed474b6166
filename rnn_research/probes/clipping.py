"""What clipping did at each step of the optimiser. Every run has this probe."""

from __future__ import annotations

import numpy as np

from rnn_research.models import Model


def clipping_table(model: Model) -> np.ndarray:
    """One row a step: `step`, what `ClippingEffect` has (norms are global L2 norms), and whether it `fired`.

    It did where the coefficient is a number other than 1 and the gradient finite (another can't be clipped); where the
    step was skipped, or a gradient that was not finite was replaced; and where something acted inside backpropagation,
    at a share `acted` of the states. Of several strategies, what each did by itself is in columns
    `<strategy>.<column>`.
    """
    did = model.clipped.table()
    table = np.empty(len(did), dtype=[*did.dtype.descr, ("fired", np.bool_)])
    for name in did.dtype.names or ():
        table[name] = did[name]
    before, after = np.isfinite(did["norm_before"]), np.isfinite(did["norm_after"])
    skipped = (did["skipped"] == 1.0) & ~((did["norm_before"] == 0) & (did["norm_after"] == 0))  # no label: no strategy
    table["fired"] = ((did["coefficient"] != 1.0) & before & (did["skipped"] == 0.0)) | skipped | (after & ~before)
    if "acted" in (did.dtype.names or ()):
        table["fired"] |= did["acted"] > 0
    return table
