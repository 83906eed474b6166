"""What clipping did at each step of the optimiser. Every run has this probe."""

from __future__ import annotations

import numpy as np
import torch

from rnn_research.clipping.base import Clipped
from rnn_research.models import Model


def clipping_table(model: Model) -> np.ndarray:
    """One row a step: `step`, `norm_before`, `norm_after` (global L2 norms), `coefficient`, and whether it `fired`
    (the coefficient is a number other than 1: a gradient that is not finite can't be clipped)."""
    dtype = [("step", np.int64), *((name, np.float64) for name in Clipped._fields), ("fired", np.bool_)]
    table = np.empty(len(model.clipped), dtype=dtype)
    if model.clipped:
        table["step"] = [step for step, _ in model.clipped]
        for column, name in enumerate(Clipped._fields):
            table[name] = torch.stack([clipped[column] for _, clipped in model.clipped]).cpu().numpy()
        table["fired"] = (table["coefficient"] != 1.0) & np.isfinite(table["norm_before"])
    return table
