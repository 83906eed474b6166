"""Intervals, paired differences and censored shares against scipy and by hand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from rnn_research import statistics
from rnn_research.statistics.censoring import kaplan_meier
from rnn_research.statistics.intervals import Interval, band, geometric_interval, interval, t_quantile
from rnn_research.statistics.paired import pair_differences
from rnn_research.statistics.slopes import median, nested, thinned


@pytest.mark.parametrize("df", [1, 2, 3, 4, 5, 9, 10, 29, 30, 101, 500])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_students_quantile_is_scipys(df: int, confidence: float):
    expected = scipy.stats.t.ppf((1 + confidence) / 2, df)
    assert t_quantile(df, confidence) == pytest.approx(expected, rel=1e-9)


def test_the_interval_over_seeds_is_students():
    values = np.array([0.3, 0.5, 0.1, 0.9])
    found = interval([*values, np.nan])
    low, high = scipy.stats.t.interval(0.95, 3, loc=values.mean(), scale=scipy.stats.sem(values))
    assert found is not None
    assert (found.mean, found.low, found.high, found.n) == pytest.approx((values.mean(), low, high, 4))


def test_one_value_has_no_interval_and_none_is_none():
    found = interval([0.5])
    assert found is not None
    assert found.mean == 0.5
    assert np.isnan(found.low)
    assert interval([np.nan]) is None


def test_an_interval_ends_where_values_can_lie():
    assert Interval(0.9, 0.7, 1.1, 3).within(0, 1) == Interval(0.9, 0.7, 1, 3)
    assert np.isnan(Interval(0.9, np.nan, np.nan, 1).within(0, 1).low)


def test_a_paired_difference_is_of_the_pairs_that_both_have():
    treated, control = [("a", 3.0), ("b", 5.0), ("c", 9.0)], [("b", 1.0), ("a", 2.0), ("d", 7.0), ("c", 1.0)]
    assert pair_differences(treated, control).tolist() == [1.0, 4.0, 8.0]
    assert pair_differences([("a", 3.0), ("a", 5.0), ("b", 0.0)], control).tolist() == [2.0, -1.0]


@pytest.mark.parametrize("of", [interval, geometric_interval])
@pytest.mark.parametrize(
    ("values", "why"),
    [([0.5], "1 seed"), ([0.5, 0.7], "2 seeds"), ([0.5] * 5, "all equal"), ([0.1 + 0.2, 0.3, 0.3], "all equal")],
)
def test_what_gives_no_interval_says_why(of: Callable[..., Interval | None], values: list[float], why: str):
    found = of(values)
    assert found is not None
    assert (found.why, found.n) == (why, len(values))
    assert np.isnan([found.low, found.high]).all()
    assert of([np.nan, np.inf]) is None
    assert of([0.2, 0.4, 0.9]).why == ""  # type: ignore[union-attr]


def test_values_nearer_than_can_be_told_are_equal():
    assert interval([0.5, 0.51, 0.52], resolution=0.05).why == "all equal"  # type: ignore[union-attr]
    assert geometric_interval([1.0, 1.01, 1.02], resolution=0.05).why == "all equal"  # type: ignore[union-attr]


def test_a_ratio_has_the_interval_of_its_logs():
    values = np.array([1e-7, 3e-6, 2e-8, 5e-7])
    found, logs = geometric_interval([*values, np.nan]), np.log(values)
    low, high = scipy.stats.t.interval(0.95, 3, loc=logs.mean(), scale=scipy.stats.sem(logs))
    assert found is not None
    assert (found.mean, found.low, found.high) == pytest.approx(
        (scipy.stats.gmean(values), np.exp(low), np.exp(high)), rel=1e-9
    )


def test_a_zero_or_negative_norm_is_not_left_out_of_a_geometric_mean():
    with_zero, negative = geometric_interval([0.0, 0.1, 0.2, 0.0]), geometric_interval([-1.0, 0.1, 0.2])
    assert with_zero is not None
    assert negative is not None
    assert (with_zero.mean, with_zero.why) == (0, "2 of 4 not above 0")
    assert (np.isnan(negative.mean), negative.why) == (True, "1 of 3 not above 0")
    assert np.isnan([with_zero.low, negative.high]).all()


def test_norms_near_underflow_have_ends_without_end():
    found = geometric_interval([1e-300, 1e-4, 1e-4])
    assert found is not None
    assert (found.low, found.high) == (0, np.inf)


def test_two_seeds_have_a_mean_curve_and_no_band():
    x = np.arange(3)
    two, three = (band([x] * n, [np.arange(3) * (seed + 1.0) for seed in range(n)]) for n in (2, 3))
    assert two is not None
    assert three is not None
    assert two.mean.tolist() == [0, 1.5, 3]
    assert np.isnan([two.low, two.high]).all()
    assert (three.high - three.low)[1:].min() > 0


def test_the_share_is_that_of_kaplan_and_meier_by_hand():
    # at 2 one of five; one is lost at 3; at 4 one of the three left; one diverged, and is never lost
    step, share = kaplan_meier([2, 4], [3, 9], never=1)
    assert step.tolist() == [0, 2, 4]
    assert share == pytest.approx([0, 1 / 5, 1 - 4 / 5 * 2 / 3])


def test_statistics_import_scipy_when_they_need_a_quantile_and_never_its_slow_parts():
    rooms = sorted(path.stem for path in Path(statistics.__file__).parent.glob("[!_]*.py"))
    code = f"""if True:
        import importlib, sys
        import numpy as np
        for room in {rooms}:
            globals()[room] = importlib.import_module("rnn_research.statistics." + room)
        print("scipy" in sys.modules)
        values = np.arange(30.0).reshape(5, 6) % 7
        across_tasks.pooled_mean(values), across_tasks.profile(values, [1.0])
        censoring.reached_by([1, 2, 3], [4]), paired.paired_t(values[0]), power.smallest_detectable(3)
        proportions.clopper_pearson(1, 3), ranks.signed_rank(values.ravel())
        factors.explained(values.ravel(), dict(factor=[*"abcdef"] * 5))
        print([name for name in ("scipy.stats", "scipy.optimize", "scipy.integrate") if name in sys.modules])
        """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n[]\n"


def test_the_steps_of_a_shorter_run_are_among_those_of_a_longer_one() -> None:
    """Or the other way round, but for their last."""
    for most in (3, 7, 60):
        kept = [set(nested(count, most).tolist()) for count in range(1, 300)]
        for count, found in enumerate(kept, 1):
            assert {0, count - 1} <= found <= set(range(count))
            assert len(found) <= most + 1
            assert 2 * len(found) > min(count, most)
        for short, long in zip(kept, kept[40:], strict=False):
            inside = {index for index in long if index <= max(short)}
            assert inside <= short


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 48, 1128])
def test_the_median_is_numpys(count: int):
    values = np.random.default_rng(count).normal(size=(5, count))
    values[1, ::2], values[2, : count // 2] = np.inf, -np.inf
    assert np.array_equal(median(values), np.median(values, axis=-1))
    assert median(values[0]) == np.median(values[0])


def test_kept_indices_can_not_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        thinned(9)[0] = 1
