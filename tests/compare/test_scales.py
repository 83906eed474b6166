"""Perplexities and squared errors are averaged on logs, shares within 0 and 1, losses and bits as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from folders import write_run

from rnn_research.compare import Comparison, Condition, as_json, compare
from rnn_research.compare.scales import MetricScale, scale_of, scaled_interval
from rnn_research.records import runs
from rnn_research.report import changes, metric_columns
from rnn_research.report import terminal as terminal_report

WIDE = (280.0, 450.0, 1380.0)
"""Student's interval of these is 704 [-788, 2,196]."""


def measured(root: Path, metric: str, values: dict[str, tuple[float, ...]]) -> Comparison:
    """Runs by model and seed that ended with these values of a metric, and had them all along."""
    for model, own in values.items():
        for seed, value in enumerate(own):
            folder = write_run(root / f"{model}{seed}", 0.9 + 0.001 * seed, seed=seed, factors={"model": model})
            record = replace(runs.read(folder), final={f"test_{metric}": value}, baselines={})
            runs.write(record, folder)
            rows = "".join(f"{step},{step},val,1,{value}\n" for step in (0, 50, 100))
            (folder / "metrics.csv").write_text(f"step,epoch,split,loss,{metric}\n{rows}")
    return compare([root], baseline=["model=rnn"] if len(values) > 1 else [])


def only(found: Comparison) -> Condition:
    (condition,) = found.conditions
    return condition


@pytest.mark.parametrize("metric", ["perplexity", "mse"])
def test_a_positive_metric_is_averaged_on_logs_and_never_below_zero(metric: str, tmp_path: Path) -> None:
    found = measured(tmp_path, metric, {"rnn": WIDE})
    condition = only(found)
    logs = np.log(WIDE)
    low, high = np.exp(scipy.stats.t.interval(0.95, 2, logs.mean(), scipy.stats.sem(logs)))
    assert condition.metric is not None
    assert condition.metric.method == "Student on logs"
    assert (condition.metric.mean, condition.metric.low, condition.metric.high) == pytest.approx(
        (scipy.stats.gmean(WIDE), low, high), rel=1e-9
    )
    assert condition.learning is not None
    np.testing.assert_allclose(condition.learning.mean, scipy.stats.gmean(WIDE), rtol=1e-9)
    np.testing.assert_allclose(condition.learning.low, low, rtol=1e-9)
    assert "[-" not in metric_columns.metric_cell(condition)
    assert as_json(found)["conditions"][0]["metric_scale"] == "log"


def test_between_conditions_it_is_a_ratio(tmp_path: Path) -> None:
    ours, theirs = (90.0, 130.0, 250.0, 400.0), (60.0, 100.0, 160.0, 330.0)
    (effect,) = (found := measured(tmp_path, "perplexity", {"rnn": theirs, "lstm": ours})).effects
    logs = np.log(ours) - np.log(theirs)
    test: Any = scipy.stats.ttest_1samp(logs, 0)
    assert effect.metric_detectable is not None
    low, high = np.exp(test.confidence_interval(0.95))
    assert effect.metric is not None
    assert (effect.metric.mean, effect.metric.low, effect.metric.high) == pytest.approx(
        (np.exp(logs.mean()), low, high), rel=1e-9
    )
    rates = [effect.rate_p, effect.metric_p]
    assert effect.metric_p == pytest.approx(test.pvalue * (1 if np.isnan(rates[0]) else 2), rel=1e-6)
    power = scipy.stats.nct(3, np.log(effect.metric_detectable) / logs.std(ddof=1) * 2)
    assert 1 - power.cdf(scipy.stats.t(3).ppf(0.975)) == pytest.approx(0.8, abs=1e-3)
    assert f"×{np.exp(logs.mean()):.2f} [{low:.2f}, {high:.2f}]" in terminal_report.text(found)


def test_a_share_stays_between_zero_and_one_and_says_that_it_was_cut(tmp_path: Path) -> None:
    found = measured(tmp_path, "f1", {"rnn": (0.99, 0.98, 0.7), "lstm": (0.02, 0.9, 0.97)})
    for condition in found.conditions:
        values = (0.99, 0.98, 0.7) if condition.options["model"] == "rnn" else (0.02, 0.9, 0.97)
        low, high = scipy.stats.t.interval(0.95, 2, np.mean(values), scipy.stats.sem(values))
        assert condition.metric is not None
        assert condition.metric.mean == pytest.approx(np.mean(values))
        assert (condition.metric.low, condition.metric.high) == pytest.approx((max(low, 0), min(high, 1)))
        assert condition.metric.method == "Student, cut where values can't be"
    (effect,) = found.effects
    assert effect.metric is not None
    assert -1 <= effect.metric.low <= effect.metric.high <= 1


@pytest.mark.parametrize("metric", ["bits", "bits_per_character", "loss"])
def test_bits_and_losses_are_students_own(metric: str, tmp_path: Path) -> None:
    values = (1.0, 2.0, 4.0)
    metric_found = only(measured(tmp_path, metric, {"rnn": values})).metric
    assert metric_found is not None
    assert metric_found.method == "Student"
    expected = scipy.stats.t.interval(0.95, 2, np.mean(values), scipy.stats.sem(values))
    assert (metric_found.low, metric_found.high) == pytest.approx(expected)


def test_a_zero_error_refuses_the_logs_and_says_so(tmp_path: Path) -> None:
    found = measured(tmp_path, "mse", {"rnn": (0.1, 0.2, 0.3), "lstm": (0.0, 0.2, 0.3)})
    (effect,) = found.effects
    assert effect.metric is not None
    assert effect.metric.why == "1 of 6 values not above 0"
    assert np.isnan(effect.metric_p)
    assert "0 (1 of 3 not above 0)" in [metric_columns.metric_cell(condition) for condition in found.conditions]


def test_the_scale_is_told_by_the_metrics_name() -> None:
    log, share, plain = MetricScale.LOG, MetricScale.SHARE, MetricScale.PLAIN
    told = {
        "test_perplexity": log, "val_mse": log, "test_gradient_norm": log, "test_position_accuracy": share,
        "test_f1": share, "test_loss": plain, "test_bits": plain, "length_100_accuracy": share, None: plain,
    }  # fmt: skip
    assert {metric: scale_of(metric) for metric in told} == told
    assert scale_of("test_accuracy", [93.0, 88.0]) is plain


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_of_log_normal_values_it_covers_the_median(seeds: int) -> None:
    drawn = np.exp(np.random.default_rng(seeds).normal(size=(500, seeds)))
    found = [scaled_interval(row, MetricScale.LOG) for row in drawn]
    assert np.mean([one is not None and one.low <= 1 <= one.high for one in found]) >= 0.93


def test_what_is_not_shown_is_said_by_the_ends_of_the_interval(tmp_path: Path) -> None:
    found = measured(tmp_path, "bits", {"rnn": (1.0, 2.0, 3.0), "lstm": (1.4, 1.8, 3.3)})
    (effect,) = found.effects
    assert effect.metric is not None
    low, high = scipy.stats.ttest_1samp([0.4, -0.2, 0.3], 0).confidence_interval(0.95)
    said = f"no difference shown; rules out more than +{high:.3g} and less than {low:.3g}"
    assert changes.conclusion(effect.metric, effect.metric_p) == said
    (ratio,) = measured(tmp_path, "mse", {"rnn": (1.0, 2.0, 3.0), "lstm": (1.4, 1.8, 3.3)}).effects
    assert ratio.metric is not None
    said = f"rules out more than ×{ratio.metric.high:.3g} and less than ×{ratio.metric.low:.3g}"
    assert said in changes.conclusion(ratio.metric, ratio.metric_p)


def test_an_interval_without_zero_that_holm_does_not_call_is_no_contradiction(tmp_path: Path) -> None:
    (effect,) = measured(tmp_path, "bits", {"rnn": (1.0, 2.0, 3.0), "lstm": (1.4, 2.4, 3.5)}).effects
    assert effect.metric is not None
    assert effect.metric.low > 0
    assert changes.conclusion(effect.metric, 0.09) == "no difference shown among all that is tested, p = 0.09"
