"""Shares of runs against scipy's binomial test, and what they cover at every p."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from rnn_research.statistics.proportions import clopper_pearson


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_a_share_has_scipys_interval(confidence: float):
    for n in (1, 2, 3, 5, 10, 47, 1000):
        for k in {0, 1, n // 3, n - 1, n}:
            found = clopper_pearson(k, n, confidence)
            wanted = scipy.stats.binomtest(k, n).proportion_ci(confidence, "exact")
            assert found is not None
            assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), rel=1e-9, abs=1e-12)
            assert (found.mean, found.n, found.why) == (k / n, n, "")
            assert found.low < found.high


def test_three_of_three_are_not_all_that_will_ever_be():
    exact = clopper_pearson(3, 3)
    assert exact is not None
    assert (round(exact.low, 2), exact.high) == (0.29, 1)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 30])
def test_the_exact_interval_covers_every_share(n: int):
    shares = np.linspace(0.0005, 0.9995, 1000)
    covered = np.zeros_like(shares)
    for k in range(n + 1):
        found = clopper_pearson(k, n)
        assert found is not None
        inside = (found.low <= shares) & (shares <= found.high)
        covered += scipy.stats.binom.pmf(k, n, shares) * inside
    assert covered.min() >= 0.95


def test_no_runs_have_no_share_and_counts_are_checked():
    assert clopper_pearson(0, 0) is None
    with pytest.raises(ValueError, match="k: given 4, expected an integer from 0 to 3"):
        clopper_pearson(4, 3)
    with pytest.raises(ValueError, match="n: given -1"):
        clopper_pearson(0, -1)
