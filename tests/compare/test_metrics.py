"""Which metric each task is compared by, where the tasks have none in common: nothing is averaged over two metrics, and
all that shows a comparison names them."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from folders import SOME_OR_EVERY, draw_less, write_run

from rnn_research import report
from rnn_research.compare import Comparison, across_tasks, as_json, caveats, compare
from rnn_research.records import runs
from rnn_research.report import formats, metric_columns

BITS = {"plays": 2.0, "novels": 3.0}


def study(root: Path) -> None:
    """Two models on two tasks with an accuracy, and on two with bits, with and without clipping; three seeds."""
    for model, better in {"rnn": 0.0, "lstm": 0.1}.items():
        for task in ("digits", "trees", *BITS):
            for threshold in (None, 1.0):
                for seed in range(3):
                    folder = write_run(
                        root / f"{model}-{task}-{threshold}-{seed}",
                        seed=seed,
                        threshold=threshold,
                        factors={"model": model, "dataset": task},
                        distances=9,
                    )
                    value = BITS.get(task, 0.8) + 0.01 * seed + better + 0.02 * bool(threshold)
                    name = "test_bits" if task in BITS else "test_accuracy"
                    text = json.loads((folder / runs.RECORD).read_text())
                    text["final"] = {name: value, "test_loss": 1.0}
                    text["baselines"] = {name: 5.0 if task in BITS else 0.1}
                    (folder / runs.RECORD).write_text(json.dumps(text))
                    curve = (folder / "metrics.csv").read_text()
                    (folder / "metrics.csv").write_text(curve.replace("accuracy", name.removeprefix("test_")))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    study(folder)
    return folder


@pytest.fixture(scope="module")
def compared(root: Path) -> Comparison:
    return compare([root])


def plain(root: Path, **asked: Any) -> Comparison:
    """The study without clipping."""
    return compare([root], where=["clipping=none"], **asked)


def test_each_task_is_compared_by_its_own_metric(compared: Comparison):
    assert compared.metric is None
    assert compared.metrics == {
        "digits": "test_accuracy",
        "trees": "test_accuracy",
        "plays": "test_bits",
        "novels": "test_bits",
    }
    for condition in compared.conditions:
        task = condition.options["dataset"]
        assert condition.metric_name == compared.metrics[task]
        better = 0.1 * (condition.options["model"] == "lstm") + 0.02 * (condition.options["clipping"] != "none")
        assert condition.metric is not None
        assert condition.metric.mean == pytest.approx(BITS.get(task, 0.8) + 0.01 + better)
        assert condition.baseline == pytest.approx(5.0 if task in BITS else 0.1)
        assert condition.learning is not None


def test_no_mean_and_no_difference_is_of_two_metrics(compared: Comparison, root: Path):
    pooled = plain(root, by=["model"])
    for condition in pooled.conditions:
        assert (condition.metric_name, condition.metric, condition.baseline, condition.learning) == (None,) * 4
    (told,) = [caveat.text for caveat in caveats(pooled) if caveat.kind == "no metric"]
    assert told == "2 of 2 conditions pool tasks that have different metrics, and have no mean: lstm, rnn"
    against = {e.clipped.options["dataset"]: e for e in plain(root, baseline=["dataset=digits"]).effects}
    assert against["trees"].metric is not None
    assert against["plays"].metric is None
    assert math.isnan(against["plays"].metric_p)
    assert against["plays"].notes == (
        "it is compared by test_bits and its baseline by test_accuracy: their difference says nothing",
    )
    for effect in compared.effects:
        assert effect.metric is not None
        assert effect.metric.mean == pytest.approx(0.02)


@SOME_OR_EVERY
def test_all_that_shows_it_names_the_metric_of_each(
    every: bool, compared: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if not every:
        draw_less(monkeypatch, "learning", "beside_task")
    printed = report.text(compared)
    assert re.search(r"rnn +plays +none +3 .*test bits +2.01 \[1.99, 2.03\]", printed)
    assert re.search(r"rnn +digits +none +3 .*test accuracy +0.81 \[0.79, 0.83\]", printed)
    assert "each is compared by its own" in printed.replace("\n  ", " ")
    assert max(map(len, printed.splitlines())) <= 100
    rows = formats.formatted(compared, "csv").splitlines()
    assert {"test_bits", "test_accuracy", "test_bits_baseline"} <= set(rows[0].split(","))
    assert "| test bits | 2.01" in formats.formatted(compared, "markdown").replace("\\", "")
    page = report.write(compared, tmp_path).read_text()
    assert '<th scope="col" title="what the task is compared by: tasks have none in common">metric</th>' in page
    assert "Test bits 2.01" in page
    assert "+0.02 (all equal) test bits" in page
    assert "validation bits" in page
    assert "its test accuracy or test bits" in page
    block = json.loads(page.partition('id="given">')[2].partition("</script>")[0])
    assert block["metrics"] == ["test accuracy", "test bits"]
    assert {"run-learning-0", "run-learning-1"} <= set(block["run_figures"])
    for condition in block["conditions"]:
        assert {block["runs"][r]["metric_name"] for r in condition["runs"]} == {condition["metric"]}
    found = as_json(compared)
    assert found["metric"] is None
    assert [one["metric_name"] for one in found["conditions"]] == [c.metric_name for c in compared.conditions]
    ordered = formats.ordered(compared, "test_bits").conditions
    assert [metric_columns.title_of_metric(c) for c in ordered] == ["test bits"] * 8 + ["test accuracy"] * 8


def test_asked_for_one_metric_all_have_it_or_it_is_refused(root: Path):
    assert plain(root, metric="loss").metric == "test_loss"
    with pytest.raises(Exception, match="given bits, which not all tasks have: digits has test_accuracy"):
        plain(root, metric="bits")


def test_of_tasks_with_two_metrics_what_is_told_across_tasks_is_of_one(tmp_path: Path):
    for model in ("rnn", "lstm"):
        for task in range(6):
            for seed in range(3):
                factors = {"model": model, "dataset": f"task{task}"}
                write_run(tmp_path / f"{model}{task}{seed}", seed=seed, factors=factors, distances=5)
        for seed in range(3):
            factors = {"model": model, "dataset": "plays"}
            folder = write_run(tmp_path / f"{model}-bits{seed}", seed=seed, factors=factors, distances=5)
            text = (folder / runs.RECORD).read_text().replace("_accuracy", "_bits")
            (folder / runs.RECORD).write_text(text)
    found = across_tasks(compare([tmp_path], baseline=["model=rnn"]))
    assert [(one.metric, len(one.tasks)) for one in found] == [("test_accuracy", 6), ("test_accuracy", 6)]
