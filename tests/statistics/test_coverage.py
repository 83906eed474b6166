"""Do intervals hold the planted truth as often as they claim? 500 repetitions, 3, 5, 10 seeds, three kinds of data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rnn_research.statistics.across_tasks import (
    interquartile_mean,
    percentiles,
    pooled_improvement,
    pooled_mean,
    redrawn,
)
from rnn_research.statistics.censoring import reached_by
from rnn_research.statistics.factors import explained
from rnn_research.statistics.intervals import Interval, geometric_interval, interval
from rnn_research.statistics.multiplicity import holm
from rnn_research.statistics.paired import paired_t
from rnn_research.statistics.power import smallest_detectable
from rnn_research.statistics.proportions import clopper_pearson
from rnn_research.statistics.ranks import signed_rank

TIMES = 500
SURE = 3 * (0.95 * 0.05 / TIMES) ** 0.5
"""Three standard errors of a coverage of 95% over so many repetitions: .029."""
SEEDS = [3, 5, 10]
seeds = pytest.mark.parametrize("n", SEEDS)
REST = (("normal", 5), ("lognormal", 3), ("lognormal", 10), ("twopoint", 5))
ENDED = ((5, False), (5, True), (10, False))
"""Of cases of several axes, those that others stand for: slow."""


def covered(found: list[Interval | None], truth: float) -> float:
    """How often an interval holds the truth; one that isn't there doesn't."""
    return float(np.mean([each is not None and each.low <= truth <= each.high for each in found]))


@seeds
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_students_interval_covers_a_normal_mean(n: int, confidence: float):
    runs = np.random.default_rng(n).normal(-0.3, 2.0, (TIMES, n))
    rate = covered([interval(row, confidence=confidence) for row in runs], -0.3)
    assert rate == pytest.approx(confidence, abs=SURE if confidence == 0.95 else 2 * SURE)


@seeds
def test_the_interval_on_logs_covers_where_students_does_not(n: int):
    runs = np.exp(np.random.default_rng(n).normal(-3, 1.5, (TIMES, n)))
    assert covered([geometric_interval(row) for row in runs], float(np.exp(-3))) == pytest.approx(0.95, abs=SURE)
    assert covered([interval(row) for row in runs], float(np.exp(-3 + 1.5**2 / 2))) < 0.85


@seeds
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
def test_the_exact_interval_covers_a_share_at_least_as_often_as_it_says(n: int, share: float):
    solved = np.random.default_rng(n).binomial(n, share, TIMES)
    assert covered([clopper_pearson(int(k), n) for k in solved], share) >= 0.95 - SURE


@seeds
def test_solved_or_not_never_gives_a_verdict_without_a_spread(n: int):
    """A null of two-point data: equal values say nothing, and are not called higher or lower."""
    runs = (np.random.default_rng(n).random((2, TIMES, n)) < 0.8).astype(float)
    differences = runs[0] - runs[1]
    found, tests = [interval(row) for row in differences], [paired_t(row) for row in differences]
    equal = np.ptp(differences, axis=1) == 0
    assert all(each is not None and (each.why == "all equal") == flat for each, flat in zip(found, equal, strict=True))
    assert np.isnan([test.p for test, flat in zip(tests, equal, strict=True) if flat]).all()
    assert np.mean([test.p <= 0.05 for test in tests]) <= 0.05 + SURE
    two = (np.random.default_rng(n).random((2, TIMES, 2)) < 0.8).astype(float)
    assert {paired_t(row).why for row in two[0] - two[1]} == {"2 seeds"}


@pytest.mark.parametrize(
    ("of", "n"),
    [
        *(("normal", 3), ("normal", 10), ("lognormal", 5), ("twopoint", 3), ("twopoint", 10)),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in REST),
    ],
)
def test_holm_errs_anywhere_in_a_family_of_nulls_at_most_as_often_as_it_says(n: int, of: str):
    """Eight conditions against one baseline, paired by seed, none with an effect: the tests depend on each other."""
    generator = np.random.default_rng(100 * n)
    shape = (TIMES, 9, n)
    draw: dict[str, Callable[[], np.ndarray]] = {
        "normal": lambda: generator.normal(size=shape),
        "lognormal": lambda: np.exp(generator.normal(size=shape)),
        "twopoint": lambda: (generator.random(shape) < 0.5).astype(float),
    }
    runs = draw[of]() + generator.normal(size=(TIMES, 1, n))
    wrong = [
        (holm([paired_t(condition - family[0], 1e-6).p for condition in family[1:]]) <= 0.05).any() for family in runs
    ]
    assert np.mean(wrong) <= 0.05 + SURE


@seeds
def test_the_smallest_detectable_effect_is_detected_in_four_of_five(n: int):
    effect = smallest_detectable(n)
    assert effect is not None
    runs = np.random.default_rng(n).normal(effect, 1, (TIMES, n))
    assert np.mean([paired_t(row).p <= 0.05 for row in runs]) == pytest.approx(0.8, abs=3 * (0.16 / TIMES) ** 0.5)


def test_ranks_hold_their_level_where_tails_are_heavy():
    runs = np.random.default_rng(0).standard_cauchy((TIMES, 10))
    assert np.mean([signed_rank(row).p <= 0.05 for row in runs]) <= 0.05 + SURE


@pytest.mark.parametrize(
    ("n", "ended"),
    [(3, False), (3, True), (10, True), *(pytest.param(*one, marks=pytest.mark.slow) for one in ENDED)],
)
def test_the_band_of_survival_covers_at_each_step(n: int, ended: bool):
    generator = np.random.default_rng(n)
    at = np.array([100, 300, 693, 1200, 2000])
    share = 1 - np.exp(-at / 1000)
    band, median = [], []
    for _ in range(TIMES):
        solve = np.ceil(generator.exponential(1000, n)).astype(int)
        end = np.ceil(generator.uniform(500, 3000, n)).astype(int) if ended else np.full(n, 10**9)
        found = reached_by(solve[solve <= end].tolist(), end[solve > end].tolist())
        assert found is not None
        there = np.searchsorted(found.step, at, side="right") - 1
        band.append((found.low[there] <= share) & (share <= found.high[there]))
        median.append(found.median.low <= 1000 * np.log(2) <= found.median.high)
    assert np.mean(band, axis=0).min() >= 0.95 - SURE
    assert np.mean(median) >= 0.95 - SURE


@seeds
def test_pooling_over_tasks_covers_and_rliables_n_draws_do_not_at_three_seeds(n: int):
    generator = np.random.default_rng(n)
    tasks = np.linspace(-1, 1, 6)
    truth = float(interquartile_mean(tasks + generator.normal(size=(100_000, 6))))
    scores = tasks + generator.normal(size=(2, TIMES, n, 6))
    found: list[Interval | None] = [pooled_mean(each, resamples=300) for each in scores[0]]
    assert covered(found, truth) == pytest.approx(0.95, abs=SURE)
    if n == 3:
        plain = [percentiles(interquartile_mean(redrawn(each, 300, 0, draws=n))) for each in scores[0]]
        assert np.mean([low <= truth <= high for low, high in plain]) < 0.9
    found = [pooled_improvement(ours, theirs, resamples=200) for ours, theirs in zip(*scores[:, :150], strict=True)]
    assert covered(found, 0.5) >= 0.95 - 3 * (0.95 * 0.05 / 150) ** 0.5


def test_a_factor_without_effect_is_called_one_at_the_rate_of_the_test():
    generator = np.random.default_rng(0)
    factors = {"cell": list("aaabbbccc"), "clipping": list("xyzxyzxyz")}
    factors = {name: levels * 3 for name, levels in factors.items()}
    labels = [0] * 9 + [1] * 9 + [2] * 9
    found = [explained(generator.normal(size=27) + np.repeat([0, 3, 9], 9), factors, labels) for _ in range(TIMES)]
    for term in range(3):
        assert np.mean([each.terms[term].p <= 0.05 for each in found]) == pytest.approx(0.05, abs=SURE)
        assert np.mean([each.terms[term].omega for each in found]) == pytest.approx(0, abs=0.01)
