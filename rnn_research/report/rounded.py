"""Numbers as JSON has them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

DIGITS = 5


def numbers(values: Iterable[float], digits: int = DIGITS) -> list[float | None]:
    """Each as JSON has it: so many digits, and nothing for what is not finite."""
    return [number(float(value), digits) for value in values]


def number(value: float | None, digits: int = DIGITS) -> float | None:
    """Rounded; None for what is not finite, or no longer where it is rounded up."""
    if value is None or not np.isfinite(value):
        return None
    rounded = float(f"{value:.{digits}g}")
    return rounded if np.isfinite(rounded) else None
