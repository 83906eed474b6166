"""What each regularizer measured at each step of the optimiser. Every run that has one has this probe."""

from __future__ import annotations

import numpy as np

from rnn_research.models import Model


def regularizer_table(model: Model) -> np.ndarray:
    """One row a step: `step`, and by its name each regularizer's value (without its weight), NaN where it has none."""
    return model.regularized.table()
