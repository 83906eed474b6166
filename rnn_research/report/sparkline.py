"""A vanishing curve in a line of text: ▇▆▅▃▂▁ on a log scale, which all conditions share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnn_research.curves import Reading
from rnn_research.report import as_text

LEVELS = "▁▂▃▄▅▆▇█"
WIDTH = 16
LEAST, MOST = float(np.log(10)), float(np.log(1e8))
"""The scale spans at least a decade, so that noise is flat, and at most eight, so that one curve that sinks to 1e-30
does not make the others flat. Where some curves rise and others fall it has room for both, so that what keeps looks
like neither; what goes beyond stands on the highest or the lowest level."""
ZERO, INFINITE, ABSENT = "0", "∞", " "


class Scale:
    """From `low` to `high`, in log(n_d / n_1), over all conditions that are shown."""

    def __init__(self, readings: Sequence[Reading | None]) -> None:
        values = [_judged(reading)[1] for reading in readings if reading is not None]
        finite = np.concatenate([np.zeros(1), *values])
        finite = finite[np.isfinite(finite)]
        lowest, highest = float(finite.min()), float(finite.max())
        self.high = min(highest, max(MOST / 2, MOST + lowest))
        self.low = min(max(lowest, self.high - MOST), self.high - LEAST)

    def said(self) -> str:
        """`▁ 1e-07, █ 1 of the norm at distance 1`."""
        low, high = (f"{np.exp(value):.2g}" for value in (self.low, self.high))
        return f"{LEVELS[0]} {low}, {LEVELS[-1]} {high} of the norm at distance 1"

    def drawn(self, reading: Reading | None) -> str:
        """The curve from distance 1 to the farthest, in at most 16 signs; 0 is exactly zero, ∞ an overflow."""
        if reading is None:
            return as_text.NOTHING
        x, y = _judged(reading)
        if not len(x):
            return as_text.NOTHING
        wanted = np.linspace(x[0], x[-1], min(WIDTH, len(x)))
        nearest = np.abs(x[None, :] - wanted[:, None]).argmin(1)
        return "".join(map(self._sign, y[nearest])).rstrip() or as_text.NOTHING

    def _sign(self, value: float) -> str:
        if np.isnan(value):
            return ABSENT
        if np.isinf(value):
            return INFINITE if value > 0 else ZERO
        step = (self.high - self.low) / (len(LEVELS) - 1)
        level = round(-self.low / step) + round(value / step)  # so that what keeps is on one level, and not between two
        return LEVELS[int(np.clip(level, 0, len(LEVELS) - 1))]


def _judged(reading: Reading) -> tuple[np.ndarray, np.ndarray]:
    far = reading.decay.far
    inside = (reading.curve.x >= far.first) & (reading.curve.x <= far.last)
    return np.asarray(reading.curve.x[inside], dtype=np.float64), np.asarray(reading.curve.mean[inside])
