"""Axes of norms: values are log10, and the ticks powers of ten."""

from __future__ import annotations

import numpy as np
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, Locator

DEEPEST, HIGHEST = 1e-20, 1e20
"""Where the axis of a norm ends at the latest: what lies below is gone by any standard."""
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def limits(decades: np.ndarray, margin: float) -> tuple[float, float]:
    """Of an axis that shows the finite `decades` (log10)."""
    finite = decades[np.isfinite(decades)]
    low, high = max(finite.min(), np.log10(DEEPEST)), min(finite.max(), np.log10(HIGHEST))
    pad = margin if margin > 0.5 else margin + 0.03 * (high - low)
    return float(low - pad), float(high + pad)


def power_of_ten(decade: float, _position: int | None = None) -> str:
    """The label of a tick at 10^decade: `10⁻³`; between two powers the number itself, such as `0.05`."""
    whole = round(decade)
    if abs(decade - whole) > 1e-6:
        return f"{10**decade:.2g}"
    return {-1: "0.1", 0: "1", 1: "10"}.get(whole, f"10{str(whole).translate(SUPERSCRIPTS)}")


class DecadeLocator(Locator):
    """Ticks on an axis in decades (log10): at whole ones, or where fewer than three are in view at 1, 2 and 5 times."""

    MOST = 7

    def __call__(self) -> list[float]:
        """The ticks in view."""
        low, high = sorted(self.axis.get_view_interval()) if self.axis else (0.0, 1.0)
        return self.tick_values(low, high)

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """The ticks between two decades."""
        decades = range(int(np.floor(vmin)), int(np.ceil(vmax)) + 1)
        if vmax - vmin >= 2:
            apart = next(step for step in (1, 2, 3, 4, 5, 10, 20, 50, 1000) if (vmax - vmin) / step <= self.MOST)
            ticks = [float(decade) for decade in decades if decade % apart == 0]
        else:
            digits = (1, 2, 5) if vmax - vmin > 0.4 else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
            ticks = [float(decade + np.log10(digit)) for decade in decades for digit in digits]
        return [tick for tick in ticks if vmin - 1e-9 <= tick <= vmax + 1e-9]


def in_decades(axis: Axis) -> None:
    """An axis whose values are log10 shows powers of ten."""
    axis.set_major_locator(DecadeLocator())
    axis.set_major_formatter(FuncFormatter(power_of_ten))
