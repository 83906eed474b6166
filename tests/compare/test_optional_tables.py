"""Saturation, what strategies would have done, and confusions: read of runs' tables, and put together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from folders import write_run

from rnn_research.compare import Condition, NothingToCompare, as_json, compare
from rnn_research.compare.optional_tables import BINS, confusions, foreseen, saturation
from rnn_research.records import runs

STRATEGIES = ("value", "spam")


def answered(seed: int, classes: int, size: int, sets: tuple[str, ...] = ("test", "more")) -> np.ndarray:
    """Classes, the last of which the model never says."""
    random = np.random.default_rng(seed)
    kinds = [("set", "U8"), ("length", "i8"), ("predicted", "i8"), ("true", "i8"), ("correct", "?"), ("loss", "f8")]
    table = np.zeros(size * len(sets), kinds)
    table["set"] = np.repeat(sets, size)
    table["true"] = random.integers(0, classes, len(table))
    wrong = random.integers(0, classes - 1, len(table))
    table["predicted"] = np.where(random.random(len(table)) < 0.6, np.minimum(table["true"], classes - 2), wrong)
    table["correct"] = table["predicted"] == table["true"]
    return table


def saturated(layers: int, steps: tuple[int, ...] = (0, 50, 100), more: float = 0.0) -> np.ndarray:
    """The share f of a gate is a step's number over 1,000, and ten times as much in each further layer."""
    kinds = [("step", "i8"), ("layer", "i2"), ("f", "f8"), ("g", "f8"), ("forget_timescale", "f8")]
    rows = [
        (step, layer, 10**layer * step / 1000 + more, np.nan, 2.0 + step) for step in steps for layer in range(layers)
    ]
    return np.array(rows, kinds)


def counterfactual(steps: int, every: int = 1, seed: int = 0) -> np.ndarray:
    """A strategy that halves the norm and turns by a random angle, and one that skips every fourth measurement."""
    random = np.random.default_rng(seed)
    parts = [f"{name}.{part}" for name in STRATEGIES for part in ("norm_after", "coefficient", "cosine", "skipped")]
    table = np.zeros(-(-steps // every), [("step", "i8"), *((name, "f8") for name in ("norm_before", *parts))])
    table["step"] = np.arange(0, steps, every)
    table["norm_before"] = np.exp(random.normal(size=len(table)))
    for name in STRATEGIES:
        table[f"{name}.norm_after"] = table["norm_before"] / 2
        table[f"{name}.cosine"] = random.uniform(0.5, 1, len(table))
    gone = np.arange(len(table)) % 4 == 3
    table["spam.norm_after"][gone], table["spam.skipped"][gone], table["spam.cosine"][gone] = 0, 1, np.nan
    return table


def only(folder: Path, **options: Any) -> Condition:
    (condition,) = compare([folder], **options).conditions
    return condition


# Confusions.


@pytest.mark.parametrize(("classes", "size"), [(2, 50), (7, 400), (30, 200)])
def test_confusions_are_scikit_learns(classes: int, size: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn")
    table = answered(1, classes, size)
    found = confusions(table)
    assert found is not None
    test = table[table["set"] == "test"]
    expected = metrics.confusion_matrix(test["true"], test["predicted"], labels=range(len(found)))
    np.testing.assert_array_equal(found, expected)
    assert found.sum() == size


def test_confusions_of_runs_add_up_and_shares_are_of_the_true_class(tmp_path: Path) -> None:
    tables = [answered(seed, classes, 90) for seed, classes in enumerate((3, 5, 4))]
    for seed, table in enumerate(tables):
        folder = write_run(tmp_path / str(seed), 0.9, seed=seed)
        runs.write_table(folder, runs.ANSWERS, table)
    metrics = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn")
    test = np.concatenate([table[table["set"] == "test"] for table in tables])
    found = only(tmp_path).confusion
    assert found is not None
    labels = range(5)
    assert (found.runs, found.samples, found.classes) == (3, 270, ("0", "1", "2", "3", "4"))
    np.testing.assert_array_equal(found.count, metrics.confusion_matrix(test["true"], test["predicted"], labels=labels))
    expected = metrics.confusion_matrix(test["true"], test["predicted"], labels=labels, normalize="true")
    np.testing.assert_allclose(found.share, expected, atol=1e-12)
    printed = as_json(compare([tmp_path]))["conditions"][0]["confusion"]
    assert printed["count"] == found.count.tolist()


def test_classes_have_the_names_of_the_record_where_all_agree(tmp_path: Path) -> None:
    names = ["cat", "dog", "owl"]
    for seed in range(2):
        data = {"name": "zoo", "fingerprint": "zoo-1", "classes": names}
        folder = write_run(tmp_path / str(seed), 0.9, seed=seed, data=data)
        runs.write_table(folder, runs.ANSWERS, answered(seed, 3, 40))
    found = only(tmp_path).confusion
    assert found is not None
    assert found.classes == tuple(names)


@pytest.mark.parametrize("classes", ["cat", [1, 2], {"cat": 1}])
def test_classes_that_are_no_list_of_names_are_a_damaged_record(classes: Any, tmp_path: Path) -> None:
    write_run(tmp_path / "one", 0.9, data={"name": "zoo", "fingerprint": "zoo-1", "classes": classes})
    with pytest.raises(NothingToCompare, match=r"data.*classes.*(no list|expected a list of texts)"):
        compare([tmp_path])


def test_a_class_without_samples_has_no_shares(tmp_path: Path) -> None:
    table = answered(0, 4, 60)
    table = table[table["true"] != 1]
    runs.write_table(write_run(tmp_path / "one", 0.9), runs.ANSWERS, table)
    found = only(tmp_path).confusion
    assert found is not None
    assert np.isnan(found.share[1]).all()
    np.testing.assert_allclose(found.share[[0, 2]].sum(axis=1), 1)


def test_without_classes_there_are_no_confusions() -> None:
    table = answered(0, 3, 20)
    assert confusions(table[["set", "correct"]]) is None
    assert confusions(table[table["set"] == "more"]) is None
    many = answered(0, 3, 20)
    many["true"][0] = 10_000
    assert confusions(many) is None


def test_predicted_and_true_classes_are_no_features(tmp_path: Path) -> None:
    runs.write_table(write_run(tmp_path / "one", 0.9), runs.ANSWERS, answered(0, 3, 40))
    assert set(compare([tmp_path]).bins) == {"set"}


# Saturation.


def test_saturation_is_by_activation_and_where_there_are_several_by_layer() -> None:
    one, two = saturation(saturated(1)), saturation(saturated(2))
    assert list(one) == ["f", "forget_timescale"]  # g has no number
    assert one["f"].x.tolist() == [0, 50, 100]
    np.testing.assert_allclose(one["f"].y, [0, 0.05, 0.1])
    assert list(two) == ["f, layer 0", "forget_timescale, layer 0", "f, layer 1", "forget_timescale, layer 1"]
    np.testing.assert_allclose(two["f, layer 1"].y, [0, 0.5, 1.0])


def test_saturation_of_a_step_written_twice_is_the_later_row() -> None:
    found = saturation(np.concatenate([saturated(1), saturated(1, (100,), more=0.3)]))["f"]
    assert found.x.tolist() == [0, 50, 100]
    np.testing.assert_allclose(found.y, [0, 0.05, 0.4])


def test_saturation_is_a_mean_over_seeds_with_students_interval(tmp_path: Path) -> None:
    for seed in range(4):
        folder = write_run(tmp_path / str(seed), 0.9, seed=seed)
        runs.write_table(folder, "saturation", saturated(1, more=0.01 * seed**2))
    band = only(tmp_path).saturation["f"]
    values = np.array([0.05 + 0.01 * seed**2 for seed in range(4)])
    low, high = scipy.stats.t.interval(0.95, 3, values.mean(), scipy.stats.sem(values))
    assert band.n == 4
    np.testing.assert_allclose([band.mean[1], band.low[1], band.high[1]], [values.mean(), low, high], rtol=1e-9)


# What strategies would have done.


@pytest.mark.parametrize(("steps", "every"), [(40, 1), (300, 1), (1000, 7), (5, 10)])
def test_bins_hold_the_means_of_their_steps(steps: int, every: int) -> None:
    table = counterfactual(steps, every)
    for name, found in foreseen(table).items():
        taken = table[table[f"{name}.skipped"] == 0]
        assert len(found.number) <= BINS
        assert found.count.sum() == len(taken)
        assert found.skipped == pytest.approx((table[f"{name}.skipped"] == 1).mean())
        for number, count, cosine, size in zip(found.number, found.count, found.cosine, found.log_size, strict=True):
            own = taken[taken["step"] // found.width == number]
            assert len(own) == count
            assert cosine == pytest.approx(own[f"{name}.cosine"].sum())
            assert size == pytest.approx(-np.log(2) * count)


def test_runs_of_different_lengths_share_the_wider_bins(tmp_path: Path) -> None:
    tables = [counterfactual(steps, seed=seed) for seed, steps in enumerate((60, 200, 200))]
    for seed, table in enumerate(tables):
        folder = write_run(tmp_path / str(seed), 0.9, seed=seed)
        runs.write_table(folder, "counterfactual", table)
    found = only(tmp_path).foreseen["value"]
    assert found.cosine.x[:3].tolist() == [1.5, 5.5, 9.5]  # the middle of 0 to 3, of 4 to 7
    first = np.array([table["value.cosine"][:4].mean() for table in tables])
    low, high = scipy.stats.t.interval(0.95, 2, first.mean(), scipy.stats.sem(first))
    np.testing.assert_allclose(
        [found.cosine.mean[0], found.cosine.low[0], found.cosine.high[0]], [first.mean(), low, high], rtol=1e-9
    )
    np.testing.assert_allclose(found.log_size.mean, -np.log(2))
    assert only(tmp_path).foreseen["spam"].skipped == pytest.approx(0.25)


def test_a_strategy_that_would_skip_every_step_has_no_line(tmp_path: Path) -> None:
    table = counterfactual(20)
    table["spam.skipped"], table["spam.norm_after"] = 1, 0
    runs.write_table(write_run(tmp_path / "one", 0.9), "counterfactual", table)
    assert list(only(tmp_path).foreseen) == ["value"]


@pytest.mark.parametrize("norm", [0.0, np.nan, np.inf])
def test_steps_without_a_finite_gradient_are_left_out(norm: float) -> None:
    table = counterfactual(8)
    table["norm_before"][2] = norm
    assert foreseen(table)["value"].count.sum() == 7


# What can't be read.


@pytest.mark.parametrize("name", ["saturation", "counterfactual"])
def test_a_damaged_table_is_said_and_stops_nothing(name: str, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "one", 0.9)
    runs.write_table(folder, name, saturated(1) if name == "saturation" else counterfactual(9))
    path = folder / "probes" / f"{name}.npy"
    path.write_bytes(path.read_bytes()[:-5])
    (run,) = compare([tmp_path]).runs
    assert [said for said in run.missing if said.startswith(f"{name} table: ")]


@pytest.mark.parametrize(("name", "lacks"), [("saturation", "layer, step"), ("counterfactual", "norm_before, step")])
def test_a_table_of_another_kind_is_said(name: str, lacks: str, tmp_path: Path) -> None:
    runs.write_table(write_run(tmp_path / "one", 0.9), name, np.zeros(3, [("x", "f8")]))
    (run,) = compare([tmp_path]).runs
    assert f"{name} table: lacks {lacks}; run it again" in run.missing


def test_an_infinite_time_scale_stays_one() -> None:
    table = saturated(1)
    table["forget_timescale"][1] = np.inf
    assert np.isinf(saturation(table)["forget_timescale"].y[1])
