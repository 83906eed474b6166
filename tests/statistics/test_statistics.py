"""Intervals, paired differences and censored shares against scipy and by hand."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.stats

from rnn_research.statistics.censoring import kaplan_meier
from rnn_research.statistics.intervals import Interval, interval, t_quantile
from rnn_research.statistics.paired import paired_difference
from rnn_research.statistics.slopes import nested


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


def test_one_of_many_intervals_is_as_wide_as_bonferroni_says():
    values = np.array([0.3, 0.5, 0.1, 0.9])
    found = interval(values)
    assert found is not None
    low, high = scipy.stats.t.interval(1 - 0.05 / 6, 3, loc=values.mean(), scale=scipy.stats.sem(values))
    wider = found.as_one_of(6)
    assert (wider.low, wider.high) == pytest.approx((low, high))
    assert (wider.mean, wider.n) == (found.mean, 4)
    assert found.as_one_of(1).low == pytest.approx(found.low)


def test_an_interval_ends_where_values_can_lie():
    assert Interval(0.9, 0.7, 1.1, 3).within(0, 1) == Interval(0.9, 0.7, 1, 3)
    assert np.isnan(Interval(0.9, np.nan, np.nan, 1).within(0, 1).low)


def test_a_paired_difference_is_the_interval_of_the_differences():
    treated, control = [("a", 3.0), ("b", 5.0), ("c", 9.0)], [("b", 1.0), ("a", 2.0), ("d", 7.0)]
    assert paired_difference(treated, control) == interval([1.0, 4.0])
    assert paired_difference(treated, [("d", 7.0)]) is None
    assert paired_difference([("a", 3.0), ("a", 5.0), ("b", 0.0)], control) == interval([2.0, -1.0])


def test_the_share_is_that_of_kaplan_and_meier_by_hand():
    # at 2 one of five; one is lost at 3; at 4 one of the three left; one diverged, and is never lost
    step, share = kaplan_meier([2, 4], [3, 9], never=1)
    assert step.tolist() == [0, 2, 4]
    assert share == pytest.approx([0, 1 / 5, 1 - 4 / 5 * 2 / 3])


def test_statistics_import_scipy_when_they_need_a_quantile():
    code = "import sys, rnn_research.statistics.paired; print('scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


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
