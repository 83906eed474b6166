"""What a comparison could have seen: the smallest effect that so many pairs of seeds detect."""

from __future__ import annotations

import math
from functools import cache

from rnn_research.statistics.intervals import CONFIDENCE, SEEDS, t_quantile

POWER = 0.8


@cache
def smallest_detectable(n: int, power: float = POWER, confidence: float = CONFIDENCE) -> float | None:
    """The smallest true mean difference, in standard deviations of the differences, that `n` pairs detect.

    The d at which a two-sided paired t-test has the power 1 - F(t; n-1, d sqrt(n)) + F(-t; n-1, d sqrt(n)), F the
    noncentral t's distribution and t its critical value (Cohen 1988, ch. 2): at 80% and alpha = .05 3.3 at 3 pairs,
    1.7 at 5, 1.0 at 10. Differences are normal. None for fewer than 3 pairs, for which no test is made.
    """
    if n < SEEDS:
        return None
    low, high = 0.0, 1.0
    while _power(n, high, confidence) < power:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _power(n, middle, confidence) < power else (low, middle)
    return (low + high) / 2


def _power(n: int, effect: float, confidence: float) -> float:
    from scipy.special import nctdtr

    critical, shift = t_quantile(n - 1, confidence), effect * n**0.5
    wrong_way = float(nctdtr(n - 1, shift, -critical))
    # scipy 1.17 gives NaN for some chances below 1e-16
    return float(1 - nctdtr(n - 1, shift, critical)) + (0.0 if math.isnan(wrong_way) else wrong_way)
