"""Survival and pooling over tasks against what lifelines and rliable answered, and where they give no answer."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import Any

import numpy as np
import oracles
import pytest

from rnn_research.statistics.across_tasks import (
    improvement,
    interquartile_mean,
    percentiles,
    pooled_improvement,
    pooled_mean,
    profile,
    refused,
    resampled,
)
from rnn_research.statistics.censoring import LOG_LOG, kaplan_meier, reached_by
from rnn_research.statistics.proportions import clopper_pearson

ANSWERS: dict[str, Any] = json.loads(oracles.PATH.read_text(encoding="utf-8"))
EXACT = {"rel": 1e-9, "abs": 1e-12}


@pytest.mark.parametrize("answer", ANSWERS["survival"], ids=lambda a: f"{len(a['step'])}-{a['confidence']}")
def test_survival_is_lifelines(answer: dict[str, Any]):
    given = answer["solved"], answer["censored"], answer["never"]
    found = reached_by(*given, answer["confidence"], LOG_LOG)
    assert found is not None
    left = np.array(answer["left"])
    assert found.step.tolist() == answer["step"]
    assert 1 - found.share == pytest.approx(left, **EXACT)
    inside = (left > 0) & (left < 1)  # elsewhere lifelines' band has no width
    assert inside.any()
    assert (np.isnan(found.low) == ~inside).all()
    assert 1 - found.high[inside] == pytest.approx(np.array(answer["low"])[inside], **EXACT)
    assert 1 - found.low[inside] == pytest.approx(np.array(answer["high"])[inside], **EXACT)
    if not np.isclose(left, 0.5, rtol=0, atol=1e-12).any():  # see the next test
        assert found.median.median == answer["median"][0]
    step, share = kaplan_meier(*given)
    assert share == pytest.approx(found.share[np.searchsorted(found.step, step)], **EXACT)


def test_half_left_is_half_left_however_it_was_rounded():
    for n in range(4, 60, 2):  # the product of (1 - 1/8) (1 - 1/7) (1 - 1/6) (1 - 1/5) is more than 1/2 for lifelines
        found = reached_by(list(range(1, n + 1)), [])
        assert found is not None
        assert found.median.median == n / 2


def test_the_median_step_has_lifelines_interval_where_its_band_has_a_width():
    compared = 0
    for answer in ANSWERS["survival"]:
        found = reached_by(answer["solved"], answer["censored"], answer["never"], answer["confidence"], LOG_LOG)
        assert found is not None
        if found.share[-1] < 1:
            compared += 1
            assert (found.median.low, found.median.high) == tuple(answer["median"][1:])
    assert compared >= 5


@pytest.mark.parametrize("n", [3, 7, 20])
def test_without_censoring_the_band_is_that_of_a_share(n: int):
    found = reached_by([7, *range(7, 6 + n)], [])  # the first two at once
    assert found is not None
    for left, low, high in zip(n * (1 - found.share), found.low, found.high, strict=True):
        exact = clopper_pearson(n - round(left), n)
        assert exact is not None
        assert (low, high) == pytest.approx((exact.low, exact.high), **EXACT)
        assert low < high


def test_with_censoring_the_band_is_that_of_products_of_betas():
    solved, censored, never = [10, 20, 20, 40], [15, 30, 50], 2
    found, generator = reached_by(solved, censored, never), np.random.default_rng(0)
    assert found is not None
    # (at risk, solved) at 10, 20 and 40, drawn; then one more that would be next
    drawn = np.cumprod([generator.beta(n - d + 1, d, 400_000) for n, d in ((9, 1), (7, 2), (4, 1))], axis=0)
    for step, product, left in ((10, drawn[0], 8), (30, drawn[1], 5), (40, drawn[2], 3)):
        there = found.step.tolist().index(step)
        low, high = np.quantile(product * generator.beta(left, 1, 400_000), 0.025), np.quantile(product, 0.975)
        assert (1 - found.high[there], 1 - found.low[there]) == pytest.approx((low, high), abs=0.004)


def test_three_runs_bound_no_median():
    found = reached_by([10, 20, 30], [])
    assert found is not None
    assert (found.median.median, found.median.low, found.median.high) == (20, 0, np.inf)
    with pytest.raises(ValueError, match="band: given 'log', expected one of beta product, log-log"):
        reached_by([1, 2, 3], [], band="log")


def test_censored_and_diverged_runs_count():
    found = reached_by([], [500, 500], never=1)
    assert found is not None
    assert found.n == 3
    assert found.share.tolist() == [0, 0]
    assert found.median.median == np.inf
    assert found.high[-1] == pytest.approx(1 - 0.025 ** (1 / 3))


def test_under_three_runs_there_is_no_band_and_none_are_none():
    found = reached_by([5], [9])
    assert found is not None
    assert (found.why, found.median.why, found.median.median) == ("2 runs", "2 runs", 5)
    assert np.isnan([*found.low, *found.high, found.median.low, found.median.high]).all()
    assert reached_by([], []) is None


@pytest.mark.parametrize("answer", ANSWERS["across_tasks"], ids=lambda a: f"{len(a['ours'])} runs")
def test_pooling_over_tasks_is_rliables_on_the_same_resamples(answer: dict[str, Any]):
    ours, theirs, bounds = (np.array(answer[name]) for name in ("ours", "theirs", "bounds"))

    def drawn(*sides: np.ndarray) -> list[np.ndarray]:
        legacy = np.random.RandomState(answer["seed"])  # the stream that rliable draws from
        indices = [
            [legacy.choice(len(side), side.shape, replace=True) for side in sides] for _ in range(oracles.RESAMPLES)
        ]
        return [resampled(side, np.stack(own)) for side, own in zip(sides, zip(*indices, strict=True), strict=True)]

    point, low, high = answer["mean"]
    assert interquartile_mean(ours) == pytest.approx(point[0], **EXACT)
    assert percentiles(interquartile_mean(*drawn(ours))) == pytest.approx([low[0], high[0]], **EXACT)
    point, low, high = answer["improvement"]
    assert improvement(ours, theirs) == pytest.approx(point[0], **EXACT)
    assert percentiles(improvement(*drawn(ours, theirs))) == pytest.approx([low[0], high[0]], **EXACT)
    point, low, high = answer["profile"]
    assert profile(ours, bounds, resamples=10).share == pytest.approx(point, **EXACT)
    above = (drawn(ours)[0][..., None] > bounds).mean((1, 2))
    assert percentiles(above) == pytest.approx(np.array([low, high]), **EXACT)


def test_less_than_five_tasks_or_three_runs_are_not_pooled():
    scores = np.random.default_rng(0).normal(size=(3, 5))
    few, missing = scores[:, :4], np.where(scores == scores[0, 0], np.nan, scores)
    wanted = {
        "4 tasks, 5 needed": few,
        "2 seeds": scores[:2],
        "1 seed": scores[:1],
        "1 of 15 scores missing": missing,
        "all equal": np.ones((3, 5)),
    }
    for why, given in wanted.items():
        assert refused(given) == why
        found, bands = pooled_mean(given), profile(given, [0.0])
        assert (found.why, pooled_improvement(scores[:, : given.shape[1]], given).why, bands.why) == (why, why, why)
        assert np.isnan([found.mean, found.low, found.high, *bands.share]).all()
    assert pooled_improvement(scores, few).why == "5 tasks against 4"
    assert pooled_mean(scores).why == ""


def test_what_is_pooled_is_the_same_each_time_and_keeps_within_its_range():
    scores = np.random.default_rng(3).normal(size=(4, 6))
    assert pooled_mean(scores) == pooled_mean(scores)
    better = pooled_improvement(scores + 2, scores)
    assert 0.5 < better.low < better.mean < better.high <= 1
    found = profile(scores, [-100.0, 0.0, 100.0])
    assert found.share[[0, 2]].tolist() == [1, 0]
    assert np.isnan([*found.low[[0, 2]], *found.high[[0, 2]]]).all()
    assert 0 <= found.low[1] < found.share[1] < found.high[1] <= 1


def flat(value: Any) -> list[float]:
    return [number for each in value for number in flat(each)] if isinstance(value, list) else [value]


@pytest.mark.slow
@pytest.mark.skipif(
    not (find_spec("lifelines") and find_spec("rliable")), reason="lifelines and rliable are not installed"
)
def test_lifelines_and_rliable_still_answer_so():
    again = json.loads(json.dumps(oracles.recorded()))
    for kind in ("survival", "across_tasks"):
        assert len(again[kind]) == len(ANSWERS[kind])
        for new, old in zip(again[kind], ANSWERS[kind], strict=True):
            for name, value in old.items():
                assert flat(new[name]) == pytest.approx(flat(value), **EXACT)
