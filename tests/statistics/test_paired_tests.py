"""Paired tests, their power and their families against scipy, by hand and by counting all signs."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import scipy.stats

from rnn_research.statistics.multiplicity import holm
from rnn_research.statistics.paired import paired_t
from rnn_research.statistics.power import smallest_detectable
from rnn_research.statistics.ranks import signed_rank


def by_hand(p: list[float]) -> list[float]:
    """Holm's definition, one hypothesis at a time: the largest of (m - j + 1) p_(j) up to its own place."""
    ranked = sorted(range(len(p)), key=p.__getitem__)
    return [
        min(1.0, max((len(p) - j) * p[other] for j, other in enumerate(ranked[: ranked.index(i) + 1])))
        for i in range(len(p))
    ]


@pytest.mark.parametrize("seed", range(5))
def test_a_family_is_adjusted_as_holm_says(seed: int):
    p = np.random.default_rng(seed).uniform(0, 0.3, 9).round(2 if seed else 3).tolist()
    assert holm(p) == pytest.approx(by_hand(p), rel=1e-12)


def test_holms_published_case_and_tests_that_were_not_made():
    # what statsmodels' multipletests(method="holm") gives
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, np.nan, 0.04]) == pytest.approx([0.02, np.nan, 0.04], nan_ok=True)
    assert len(holm([])) == 0
    with pytest.raises(ValueError, match="from 0 to 1"):
        holm([0.5, 1.5])


@pytest.mark.parametrize("n", [3, 5, 10, 200])
def test_the_paired_t_is_scipys(n: int):
    differences = np.random.default_rng(n).normal(0.4, 1, n)
    found, wanted = paired_t([*differences, np.nan]), scipy.stats.ttest_1samp(differences, 0)
    assert (found.statistic, found.p, found.n) == pytest.approx((wanted.statistic, wanted.pvalue, n), rel=1e-9)


@pytest.mark.parametrize(
    ("differences", "why"),
    [([], "0 seeds"), ([1.0], "1 seed"), ([1.0, 1.1], "2 seeds"), ([0.5] * 4, "all equal"), ([0.0] * 3, "all equal")],
)
def test_what_gives_no_paired_t_says_why(differences: list[float], why: str):
    found = paired_t(differences)
    assert found.why == why
    assert np.isnan(found.p)


def test_the_smallest_detectable_effects_are_those_known():
    found = [smallest_detectable(n) for n in (3, 5, 10)]
    assert [round(effect or 0, 1) for effect in found] == [3.3, 1.7, 1.0]
    assert smallest_detectable(2) is None


@pytest.mark.parametrize("n", [3, 4, 5, 6, 10, 50, 1000])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("confidence", [0.95, 0.9995])
def test_the_smallest_detectable_effect_is_found_with_its_power(n: int, power: float, confidence: float):
    """Of |Z + shift| > t s over the distribution of s, Z integrated: scipy's nct is NaN at some of these."""
    effect = smallest_detectable(n, power, confidence)
    assert effect is not None
    critical, shift = scipy.stats.t.ppf((1 + confidence) / 2, n - 1), effect * n**0.5
    spread = scipy.stats.chi(n - 1, scale=(n - 1) ** -0.5)
    nodes, weights = np.polynomial.legendre.leggauss(16)
    chance = 0.0
    for sign in (1, -1):
        start = min(9.0, max(-9.0, -sign * shift))  # below it Z + shift has the other sign
        edges = np.linspace(start, 9, 101)
        half = np.diff(edges)[:, None] / 2
        z = edges[:-1, None] + half * (nodes + 1)
        beyond = spread.cdf((z + sign * shift) / critical)
        chance += float((weights * half * scipy.stats.norm.pdf(z) * beyond).sum())
    assert chance == pytest.approx(power, abs=1e-9)


@pytest.mark.parametrize("n", [6, 7, 10, 25])
def test_the_signed_rank_is_scipys(n: int):
    differences = np.random.default_rng(n).normal(0.5, 1, n)
    found, wanted = signed_rank(differences), scipy.stats.wilcoxon(differences, method="exact")
    assert (found.statistic, found.p, found.n) == pytest.approx((wanted.statistic, wanted.pvalue, n), rel=1e-9)


def test_equal_differences_share_their_rank_over_all_signs():
    differences = np.array([0.1, 0.2, 0.2, -0.2, 0.3, 0.3, -0.1, 0.5])
    ranks = scipy.stats.rankdata(np.abs(differences))
    smaller = min(ranks[differences > 0].sum(), ranks[differences < 0].sum())
    sums = [ranks[np.array(signs)].sum() for signs in product([True, False], repeat=len(ranks))]
    found = signed_rank(np.append(differences, [0.0, 0.0]))
    assert found.statistic == smaller
    assert found.p == pytest.approx(2 * np.mean(np.array(sums) <= smaller))
    assert found.n == 8
    noisy = np.array([0.93 - 0.92, 0.95 - 0.94, 0.4, -0.3, 0.2, 0.5])  # the first two are one size
    assert signed_rank(noisy).p == signed_rank(noisy.round(2)).p


@pytest.mark.parametrize(("up", "down"), [(6, 0), (5, 1), (4, 4), (9, 2)])
def test_of_solved_or_not_the_signed_rank_is_mcnemars_exact_test(up: int, down: int):
    found = signed_rank([1.0] * up + [-1.0] * down + [0.0] * 3)
    assert found.p == pytest.approx(scipy.stats.binomtest(up, up + down).pvalue, rel=1e-9)


def test_ranks_are_not_tested_below_six_pairs():
    assert signed_rank([1.0, 2.0, 3.0, 4.0, 5.0]).why == "5 pairs that differ, 6 needed"
    assert signed_rank([1.0, 2.0, 3.0, 4.0, 5.0, 0.0]).why == "5 pairs that differ, 6 needed"
    assert signed_rank([1.0, np.nan]).why == "1 pair that differ, 6 needed"
    assert signed_rank([0.0] * 8).n == 0
    assert signed_rank([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).p == pytest.approx(2 / 64)
