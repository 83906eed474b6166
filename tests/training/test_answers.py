"""How each sample of the evaluation sets was answered: kept by `fit`, and told by what is known of a sample."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from folders import SOME_OR_EVERY, draw_less, refused, write_run
from small import SEQUENCES, STEPS, TREES, Given, model_of, run, sentences, sequences

from rnn_research import report
from rnn_research.cells import LSTM, ChildSumTreeLSTM
from rnn_research.cli.compare import main
from rnn_research.compare import NothingToCompare, compare
from rnn_research.compare.breakdown import answers_by_feature, bins, breakdown
from rnn_research.compare.reading import split_metric
from rnn_research.datasets.base import DataModule
from rnn_research.datasets.task import Task
from rnn_research.records import runs
from rnn_research.records.metrics_file import read_metrics
from rnn_research.report import figures
from rnn_research.structures import ParseTreeLayout, Sample
from rnn_research.training.answers import answers_of, together


def numbers(count: int, seed: int = 0) -> list[Sample]:
    random = np.random.default_rng(seed)
    lengths = random.integers(2, 7, size=count)
    return [Sample(random.normal(size=(n, 2)).astype(np.float32), float(random.normal())) for n in lengths]


def data_of(kind: str, bucket: bool) -> tuple[DataModule, type]:
    """With two further sets, of other sizes than the batches'."""
    make: Any = {"trees": sentences, "numbers": numbers}.get(kind, sequences)
    more = {"steps": True} if kind == "steps" else {}
    task = {"trees": TREES, "steps": STEPS}.get(kind, SEQUENCES)
    if kind.startswith("number"):
        task = Task("regression", 2, 1, tolerance=0.3 if kind == "numbers" else None)
        make = numbers
    sizes = {"train": 8, "val": 3, "test": 11, "longer": 6, "other_set": 1}
    splits = {name: make(size, seed=seed, **more) for seed, (name, size) in enumerate(sizes.items())}
    data = Given(task, splits, layout=ParseTreeLayout() if kind == "trees" else None)
    data.bucket = bucket
    return data, ChildSumTreeLSTM if kind == "trees" else LSTM


def by_hand(data: DataModule, folder: Path, cell: type) -> list[tuple[Any, ...]]:
    """Each sample alone, in float64, with the weights in the checkpoint: set, length, predicted, correct, loss."""
    model = model_of(data, cell, seed=9, engine="reference").double()
    model.load_state_dict(torch.load(folder / "checkpoint.ckpt", weights_only=True)["state_dict"])
    found = []
    for name in ("test", "longer", "other_set"):
        for sample in data.samples(name):
            with torch.no_grad():
                (answer,) = model(data.layout.collate([sample])).numpy()
            if data.task.kind == "classification":
                loss, said = np.log(np.exp(answer).sum()) - answer[sample.target], answer.argmax()
                correct = said == sample.target
            else:
                loss, said = (answer[0] - sample.target) ** 2, None
                correct = abs(answer[0] - sample.target) <= (data.task.tolerance or 0)
            found.append((name, len(sample.inputs), said, correct, loss))
    return found


@pytest.mark.parametrize(
    ("kind", "bucket"),
    [("chains", False), ("steps", True), ("trees", True), ("numbers", True), ("numbers without tolerance", False)],
)
def test_answers_are_those_of_each_sample_alone(kind: str, bucket: bool, tmp_path: Path) -> None:
    data, cell = data_of(kind, bucket)
    record = run(data, model_of(data, cell), tmp_path, max_steps=3, max_epochs=-1)
    table = runs.read_table(tmp_path, "answers")
    assert table is not None
    of_classes = () if kind.startswith("number") else ("predicted", "true")
    said = ("loss",) if kind == "numbers without tolerance" else (*of_classes, "correct", "loss")
    assert table.dtype.names == ("set", "length", *(["depth"] if kind == "trees" else []), *said)
    sets, lengths, predicted, correct, loss = zip(*by_hand(data, tmp_path, cell), strict=True)
    assert table["set"].tolist() == list(sets)
    assert table["length"].tolist() == list(lengths)
    assert table["length"].dtype.kind == "i"
    np.testing.assert_allclose(table["loss"], loss, rtol=2e-5, atol=1e-6)
    assert table["loss"].dtype == np.float64
    if of_classes:
        assert table["predicted"].tolist() == list(predicted)
        assert table["true"].tolist() == [one.target for name in data.evaluation_sets for one in data.samples(name)]
        assert table["true"].dtype.kind == table["predicted"].dtype.kind == "i"
    if "correct" in said:
        assert table["correct"].tolist() == list(correct)
        assert table["correct"].dtype == bool
    if kind == "trees":
        depths = [sample.tree.depth.max() for name in data.evaluation_sets for sample in data.samples(name)]  # type: ignore[union-attr]
        assert table["depth"].tolist() == depths
    for name in ("test", "longer", "other_set"):
        rows = table[table["set"] == name]
        if "correct" in said:
            assert record.final[f"{name}_accuracy"] == pytest.approx(rows["correct"].mean())
        if kind not in ("steps", "trees"):  # whose loss is of every position
            assert record.final[f"{name}_loss"] == pytest.approx(rows["loss"].mean(), rel=1e-5)
    measured = [row["split"] for row in read_metrics(tmp_path) if row["step"] == "3"]
    assert measured[-3:] == ["test", "longer", "other_set"]
    assert data.fingerprint == record.data["fingerprint"]


def test_limits_cut_the_table_short(tmp_path: Path) -> None:
    data, cell = data_of("chains", bucket=False)
    run(data, model_of(data, cell), tmp_path, max_steps=1, limit_test_batches=2)
    table = runs.read_table(tmp_path, "answers")
    assert table is not None
    assert table["set"].tolist() == ["test"] * 8 + ["longer"] * 6 + ["other_set"]
    assert table["length"][:8].tolist() == [len(sample.inputs) for sample in data.samples("test")][:8]


class Loader:
    batch_sampler = ([2, 0], [1])


def test_sets_with_other_features_are_nan_there() -> None:
    answered = [{"loss": torch.tensor([2.0, 0.0])}, {"loss": torch.tensor([1.0])}]
    one = answers_of("test", Loader(), answered, {"length": np.arange(3), "depth": np.array([5, 6, 7])})
    table = together([one, answers_of("further", Loader(), answered, {"length": np.arange(3), "keyword": np.ones(3)})])
    assert table.dtype.names == ("set", "length", "depth", "keyword", "loss")
    assert table["set"].tolist() == ["test"] * 3 + ["further"] * 3
    assert table["loss"].tolist() == [0.0, 1.0, 2.0] * 2
    assert table["length"].dtype.kind == "i"
    np.testing.assert_array_equal(table["depth"], [5, 6, 7, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(table["keyword"], [np.nan, np.nan, np.nan, 1, 1, 1])


def test_a_feature_of_too_few_values_is_refused() -> None:
    with pytest.raises(ValueError, match="given 2 values of depth for test, expected 3, one a sample"):
        answers_of("test", Loader(), [{"loss": torch.zeros(3)}], {"depth": np.arange(2)})


# Compared.


def answers(seed: int, samples: int = 400, sets: tuple[str, ...] = ("test", "far")) -> np.ndarray:
    """Right with a probability that falls with depth."""
    random = np.random.default_rng(seed)
    dtype = [("set", "U8"), ("depth", "i8"), ("x", "f8"), ("same", "i8"), ("correct", "?"), ("loss", "f8")]
    table = np.zeros(samples * len(sets), dtype)
    table["set"] = np.repeat(sets, samples)
    table["depth"] = random.integers(1, 6, size=len(table))
    table["x"] = np.random.default_rng(0).normal(size=len(table))
    table["x"][::7] = np.nan
    table["correct"] = random.random(len(table)) < 1 / (1 + table["depth"])
    table["loss"] = random.random(len(table))
    return table


MODELS = ("lstm", "rnn")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study")
    for number, model in enumerate(MODELS):
        for seed in range(3):
            folder = write_run(root / f"{model}-{seed}", factors={"model": model}, seed=seed, distances=8)
            runs.write_table(folder, "answers", answers(10 * number + seed))
    return root


def test_a_breakdown_is_the_mean_over_seeds(study: Path) -> None:
    found = compare([study])
    assert found.measure == "accuracy"
    assert list(found.bins) == ["set", "depth", "x"]  # `same` has one value
    for number, condition in enumerate(found.conditions):
        tables = [answers(10 * number + seed) for seed in range(3)]
        for value, mean, samples in zip(
            range(1, 6), condition.answers["depth"].mean, condition.answers["depth"].samples, strict=True
        ):
            each = [table["correct"][table["depth"] == value].mean() for table in tables]
            low, high = scipy.stats.t.interval(0.95, 2, loc=np.mean(each), scale=scipy.stats.sem(each))
            assert mean is not None
            assert (mean.mean, mean.low, mean.high, mean.n) == pytest.approx((np.mean(each), low, high, 3))
            assert samples == max((table["depth"] == value).sum() for table in tables)
        by_set = condition.answers["set"]
        assert by_set.bins.labels == ("test", "far")
        for name, mean in zip(("test", "far"), by_set.mean, strict=True):
            assert mean is not None
            assert mean.mean == pytest.approx(np.mean([t["correct"][t["set"] == name].mean() for t in tables]))


def test_many_values_are_binned_and_none_is_lost(study: Path) -> None:
    found = compare([study])
    among = found.bins["x"]
    assert len(among.low) == 10
    assert (among.low <= among.high).all()
    assert (among.high[:-1] < among.low[1:]).all()
    table = answers(0)
    there = np.isfinite(table["x"])
    assert sum(found.conditions[0].answers["x"].samples) == there.sum()
    assert np.ptp(found.conditions[0].answers["x"].samples) <= 2
    for low, high, mean in zip(among.low, among.high, found.conditions[0].answers["x"].mean, strict=True):
        each = [t["correct"][(t["x"] >= low) & (t["x"] <= high)].mean() for t in map(answers, range(3))]
        assert mean is not None
        assert mean.mean == pytest.approx(np.mean(each))


@pytest.mark.parametrize("heavy", [0, 7, 19])
def test_bins_hold_every_value_once_however_they_are_spread(heavy: int) -> None:
    table = np.zeros(519, [("set", "U4"), ("depth", "i8"), ("loss", "f8")])
    table["depth"] = np.concatenate([np.arange(20), np.full(499, heavy)])
    table["loss"] = table["depth"]
    groups = answers_by_feature(table)
    among = bins([groups])["depth"]
    found = breakdown([[groups]], "depth", among)
    assert found is not None
    assert sum(found.samples) == 519
    total = sum(mean.mean * count for mean, count in zip(found.mean, found.samples, strict=True) if mean)
    assert total == pytest.approx(table["depth"].sum())


def test_where_nothing_is_correct_the_loss_is_told(tmp_path: Path) -> None:
    table = answers(0)
    kept = [name for name in table.dtype.names or () if name != "correct"]
    runs.write_table(write_run(tmp_path), "answers", table[kept])
    found = compare([tmp_path], against=["depth"])
    assert found.measure == "loss"
    (condition,) = found.conditions
    first = condition.answers["depth"].mean[0]
    assert first is not None
    assert first.mean == pytest.approx(table["loss"][table["depth"] == 1].mean())
    assert "LOSS AGAINST depth" in report.text(found)


@SOME_OR_EVERY
def test_what_was_asked_for_is_printed_drawn_and_written(
    every: bool, study: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not every:
        draw_less(monkeypatch, "answers")
    assert main([str(study), "--against", "depth", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "ACCURACY AGAINST depth" in said
    assert "AGAINST x" not in said
    assert "depth 1" in said
    assert (tmp_path / "answers.svg").exists()
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert "Accuracy of the answers against x" in page
    lines = (tmp_path / "answers.csv").read_text().splitlines()
    assert lines[0] == "model,feature,from,to,accuracy,accuracy_low,accuracy_high,accuracy_n,samples"
    assert len(lines) == 1 + 2 * (2 + 5 + 10)


def test_a_feature_that_no_run_has_is_refused(study: Path, capsys: Any) -> None:
    said = refused([str(study), "--against", "dept", "--no-figures"], capsys)
    assert "against: given dept, expected one of set, depth, x (did you mean depth?)" in said
    with pytest.raises(NothingToCompare, match="against"):
        compare([study], against=["same"])


STRANGE: dict[str, np.ndarray] = {
    "empty": answers(0)[:0],
    "no set": answers(0)[["depth", "correct"]],
    "no answers": answers(0)[["set", "depth"]],
    "bytes": np.array([(b"a", b"b", True)], [("set", "S1"), ("y", "S1"), ("correct", "?")]),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_a_strange_table_is_said_to_be_missing(kind: str, tmp_path: Path) -> None:
    runs.write_table(write_run(tmp_path), "answers", STRANGE[kind])
    (found,) = compare([tmp_path]).runs
    assert found.answers == {}
    assert any(lack.startswith("answers table: ") for lack in found.missing)


def test_runs_without_answers_are_compared_as_before(tmp_path: Path) -> None:
    found = compare([write_run(tmp_path / "run")])
    assert found.bins == {}
    assert found.runs[0].missing == ()
    report.write(found, tmp_path / "out", figures=False)
    assert not (tmp_path / "out" / "answers.csv").exists()
    assert figures.draw(found, names=["answers"]) == []


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("test_accuracy", ("test", "accuracy")),
        ("val_position_accuracy", ("val", "position_accuracy")),
        ("length_100_accuracy", ("length_100", "accuracy")),
        ("far_position_accuracy", ("far", "position_accuracy")),
        ("far_bleu", ("far", "bleu")),
    ],
)
def test_a_metric_is_told_from_its_set(key: str, expected: tuple[str, str]) -> None:
    assert split_metric(key) == expected


def test_a_further_sets_metric_can_be_asked_for(tmp_path: Path) -> None:
    record = runs.read(write_run(tmp_path))
    final: Mapping[str, float] = record.final
    runs.write(dataclasses.replace(record, final={**final, "length_100_accuracy": 0.25}), tmp_path)
    found = compare([tmp_path], metric="length_100_accuracy")
    assert found.conditions[0].metric is not None
    assert found.conditions[0].metric.mean == 0.25
    assert found.runs[0].learning is not None  # the validation's accuracy
