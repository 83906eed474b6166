"""Shares of runs against scipy's binomial test, and what they cover at every p."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from rnn_research.statistics.proportions import clopper_pearson, share_difference, wilson

METHODS = {"wilson": wilson, "exact": clopper_pearson}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_a_share_has_scipys_interval(method: str, confidence: float):
    for n in (1, 2, 3, 5, 10, 47, 1000):
        for k in {0, 1, n // 3, n - 1, n}:
            found = METHODS[method](k, n, confidence)
            wanted = scipy.stats.binomtest(k, n).proportion_ci(confidence, method)
            assert found is not None
            assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), rel=1e-9, abs=1e-12)
            assert (found.mean, found.n, found.why) == (k / n, n, "")
            assert found.low < found.high


def test_three_of_three_are_not_all_that_will_ever_be():
    by_score, exact = wilson(3, 3), clopper_pearson(3, 3)
    assert by_score is not None
    assert exact is not None
    assert (round(by_score.low, 2), by_score.high) == (0.44, 1)
    assert (round(exact.low, 2), exact.high) == (0.29, 1)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 30])
def test_the_exact_interval_covers_every_share_and_wilsons_the_average_one(n: int):
    shares = np.linspace(0.0005, 0.9995, 1000)
    covered = {name: np.zeros_like(shares) for name in METHODS}
    for k in range(n + 1):
        for name, method in METHODS.items():
            found = method(k, n)
            assert found is not None
            inside = (found.low <= shares) & (shares <= found.high)
            covered[name] += scipy.stats.binom.pmf(k, n, shares) * inside
    assert covered["exact"].min() >= 0.95
    assert 0.945 < covered["wilson"].mean() < 0.96
    assert covered["wilson"].min() > 0.79


def test_two_shares_differ_as_newcombe_published_it():
    # Newcombe 1998, table II, method 10; statsmodels' confint_proportions_2indep gives the same
    for ours, theirs, low, high in (
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 10), 0.6075, 1.0),
        ((5, 56), (0, 29), -0.0381, 0.1926),
    ):
        found, turned = share_difference(ours, theirs), share_difference(theirs, ours)
        assert found is not None
        assert turned is not None
        assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)
        assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))
        assert found.n == min(ours[1], theirs[1])
    assert share_difference((0, 0), (1, 3)) is None
    two = share_difference((2, 2), (0, 5))
    assert two is not None
    assert (two.mean, two.why, np.isnan(two.low)) == (1, "2 runs", True)
    nothing = share_difference((3, 3), (3, 3))
    assert nothing is not None
    assert nothing.low < 0 < nothing.high


@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.95])
def test_equal_shares_are_seldom_told_apart(n: int, share: float):
    wrong = 0.0
    for k in range(n + 1):
        for other in range(n + 1):
            found = share_difference((k, n), (other, n))
            assert found is not None
            outside = not found.low <= 0 <= found.high
            wrong += outside * float(scipy.stats.binom.pmf([k, other], n, share).prod())
    assert wrong <= 0.065


def test_no_runs_have_no_share_and_counts_are_checked():
    assert wilson(0, 0) is None
    assert clopper_pearson(0, 0) is None
    with pytest.raises(ValueError, match="k: given 4, expected an integer from 0 to 3"):
        wilson(4, 3)
    with pytest.raises(ValueError, match="n: given -1"):
        clopper_pearson(0, -1)


def test_an_interval_of_a_share_is_not_widened_as_students():
    found = wilson(3, 5)
    assert found is not None
    with pytest.raises(ValueError, match="widened where it is made"):
        found.as_one_of(3)
