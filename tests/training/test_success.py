"""When a task counts as solved: kept by `fit`, stopped at, and compared as success against budget."""

from __future__ import annotations

import csv
import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from command import SMALL, rnn_train
from folders import SOME_OR_EVERY, draw_less, write_run
from lightning.pytorch import Trainer
from small import SEQUENCES, Given, model_of, run, sequences

from rnn_research import report
from rnn_research.compare import compare
from rnn_research.compare.success import success
from rnn_research.datasets.task import SolvedCriterion
from rnn_research.records import runs
from rnn_research.records.metrics_file import read_metrics
from rnn_research.records.runs import RunRecord
from rnn_research.report import figures
from rnn_research.training.fit import RunSpec, fit

EVERY_STEP = {"val_check_interval": 2, "check_val_every_n_epoch": None, "max_epochs": -1}


def data_with(rule: SolvedCriterion | None) -> Given:
    """Three samples to be learned by heart."""
    return Given(dataclasses.replace(SEQUENCES, success=rule), sequences(3, seed=2), batch_size=3)


def learn(rule: SolvedCriterion | None, folder: Path, steps: int = 30, **more: Any) -> RunRecord:
    data = data_with(rule)
    model = model_of(data, hidden_size=8, optimizer=lambda p: torch.optim.Adam(p, lr=0.03))
    return fit(
        data, model, partial(Trainer, accelerator="cpu", max_steps=steps, **EVERY_STEP), {}, RunSpec(folder, **more)
    )


@pytest.mark.parametrize(
    ("rule", "steps"),
    [
        (SolvedCriterion("accuracy", 0.999), 30),
        (SolvedCriterion("loss", 0.5, above=False), 30),
        (SolvedCriterion("accuracy", 0.0), 4),
    ],
)
def test_the_first_validation_that_meets_the_rule_is_kept(rule: SolvedCriterion, steps: int, tmp_path: Path) -> None:
    record = learn(rule, tmp_path, steps)
    rows = [row for row in read_metrics(tmp_path) if row["split"] == "val"]
    assert [int(row["step"]) for row in rows] == list(range(2, steps + 1, 2))
    met = [
        float(row[rule.metric]) >= rule.bound if rule.above else float(row[rule.metric]) < rule.bound for row in rows
    ]
    step = int(rows[met.index(True)]["step"])
    assert record.success == {"metric": rule.metric, "bound": rule.bound, "above": rule.above, "step": step}
    assert runs.read(tmp_path) == record
    assert record.steps == steps


def test_a_run_that_did_not_solve_it_says_so(tmp_path: Path) -> None:
    record = learn(SolvedCriterion("loss", 1e-9, above=False), tmp_path, steps=4)
    assert record.success == {"metric": "loss", "bound": 1e-9, "above": False, "step": None}
    assert learn(None, tmp_path / "none", steps=4).success == {}


def test_the_last_weights_count_too(tmp_path: Path) -> None:
    data = data_with(SolvedCriterion("accuracy", 0.0))
    record = run(data, model_of(data), tmp_path, max_steps=3, max_epochs=-1, check_val_every_n_epoch=100)
    assert record.success["step"] == 3


def test_training_may_stop_there(tmp_path: Path) -> None:
    rule = SolvedCriterion("accuracy", 0.999)
    whole = learn(rule, tmp_path / "whole")
    record = learn(rule, tmp_path / "stopped", stop_when_solved=True)
    assert record.status == "done"
    assert record.steps == record.success["step"] == whole.success["step"] < 30
    assert record.final["test_accuracy"] == 1.0
    rows = [(row["step"], row["split"]) for row in read_metrics(tmp_path / "stopped")]
    assert rows[-2:] == [(str(record.steps), "train"), (str(record.steps), "test")]
    assert rows.count((str(record.steps), "val")) == 1
    state = torch.load(tmp_path / "stopped" / "checkpoint.ckpt", weights_only=True)
    assert state["global_step"] == record.steps


@pytest.mark.parametrize(
    ("rule", "value", "met"),
    [
        (SolvedCriterion("accuracy", 0.9), 0.9, True),
        (SolvedCriterion("accuracy", 0.9), 0.8999, False),
        (SolvedCriterion("mse", 0.05, above=False), 0.05, False),
        (SolvedCriterion("mse", 0.05, above=False), 0.0499, True),
        (SolvedCriterion("accuracy", 0.9), float("nan"), False),
        (SolvedCriterion("mse", 0.05, above=False), float("nan"), False),
    ],
)
def test_a_rule(rule: SolvedCriterion, value: float, met: bool) -> None:
    assert rule.met(value) is met


def test_what_can_not_be_judged_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"success: given the metric 'bleu', expected one of loss, accuracy"):
        learn(SolvedCriterion("bleu", 1.0), tmp_path / "a")
    with pytest.raises(ValueError, match="stop_when_solved: given true, but nothing says when this task is solved"):
        learn(None, tmp_path / "a", stop_when_solved=True)
    assert not (tmp_path / "a").exists()


def test_records_of_before_are_read(tmp_path: Path) -> None:
    record = learn(SolvedCriterion("accuracy", 0.5), tmp_path, steps=4)
    raw = json.loads((tmp_path / "run.json").read_text())
    del raw["success"], raw["resumed"]
    (tmp_path / "run.json").write_text(json.dumps(raw))
    assert runs.read(tmp_path) == dataclasses.replace(record, success={}, resumed={})


# From the command line.


def test_the_command_resumes_and_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = (*SMALL, "model=lstm", "model.num_layers=2", "model.dropout=0.5", "dataset.max_length=14")
    for folder, more in (("whole", ["trainer.max_steps=8"]), ("a", ["trainer.max_steps=4"])):
        assert rnn_train(*small, *more, f"hydra.run.dir={folder}").code == 0
    on = ["trainer.max_steps=8", "resume=a", "hydra.run.dir=b"]
    for change, message in {
        "resume=nowhere": "resume: given nowhere, which is no run's folder",
        "optimizer.lr=0.5": "resume: given optimizer.lr=0.5, but a has optimizer.lr=0.001; give the same",
        "trainer.val_check_interval=7": "trainer.val_check_interval: given 7, but an epoch has 6 batches; add trainer",
    }.items():
        ended = rnn_train(*small, *on, change)
        assert ended.code == 2, change
        (line,) = ended.err.splitlines()
        assert message in line
        assert not (tmp_path / "b").exists()
    assert rnn_train(*small, *on).code == 0
    states = [torch.load(Path(name) / "checkpoint.ckpt", weights_only=True)["state_dict"] for name in ("whole", "b")]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert Path("whole/metrics.csv").read_text() == Path("b/metrics.csv").read_text()
    assert runs.read(Path("b")).resumed == {"folder": "../a", "step": 4}


# Compared.


def record_of(step: int | None, steps: int, status: str = "done", rule: bool = True) -> RunRecord:
    kept = {"metric": "accuracy", "bound": 0.99, "above": True, "step": step} if rule else {}
    blank: dict[str, Any] = {key: {} for key in ("choices", "config", "data", "versions", "machine")}
    common = {"name": "a", "seed": 0, "parameters": 1, "commit": None, "start": ""}
    return RunRecord(**blank, **common, status=status, steps=steps, success=kept)


@pytest.mark.parametrize("seed", range(3))
def test_the_share_solved_is_kaplan_and_meiers(seed: int) -> None:
    """As scipy's, with ties between successes and censored runs."""
    random = np.random.default_rng(seed)
    count = int(random.integers(3, 30))
    times, solved = random.integers(1, 12, size=count) * 10, random.random(count) < 0.6
    records = [record_of(int(t) if s else None, int(t)) for t, s in zip(times, solved, strict=True)]
    found = success(records)
    assert found is not None
    theirs = scipy.stats.ecdf(scipy.stats.CensoredData(uncensored=times[solved], right=times[~solved])).cdf
    grid = np.arange(0, 121)
    ours = [found.share_at(float(step)) for step in grid]
    np.testing.assert_allclose(ours, theirs.evaluate(grid), atol=1e-12)
    assert (found.solved, found.runs, len(found.censored)) == (solved.sum(), count, (~solved).sum())
    assert found.step[0] == 0
    assert found.step[-1] == times.max()


def test_with_one_budget_it_is_the_plain_share() -> None:
    found = success([record_of(step, 100) for step in (10, 30, 30, None)])
    assert found is not None
    assert [found.share_at(step) for step in (0, 9, 10, 29, 30, 100)] == pytest.approx([0, 0, 0.25, 0.25, 0.75, 0.75])
    assert (found.median.median, found.steps, found.censored, found.step[-1]) == (30.0, (10, 30, 30), (100,), 100)


def test_a_run_that_diverged_never_solves_it() -> None:
    """Taken for censored at step 5, the share would end at 1."""
    found = success([record_of(50, 50), record_of(None, 5, "diverged")])
    assert found is not None
    assert found.share_at(50) == pytest.approx(0.5)
    assert found.censored == ()
    assert found.runs == 2


def test_without_a_rule_there_is_no_success() -> None:
    assert success([record_of(None, 5, rule=False)]) is None
    none = success([record_of(None, 5)])
    assert none is not None
    assert none.median.median == np.inf
    assert none.share.tolist() == [0.0, 0.0]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study")
    steps = {"rnn": (None, None, 1800), "lstm": (1000, 2000, 1250)}
    for model, solved in steps.items():
        for seed, step in enumerate(solved):
            rule = {"metric": "accuracy", "bound": 0.99, "above": True, "step": step}
            write_run(
                root / f"{model}{seed}", factors={"model": model}, seed=seed, steps=2000, success=rule, distances=8
            )
    return root


@SOME_OR_EVERY
def test_success_is_told_drawn_and_written(
    every: bool, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not every:
        draw_less(monkeypatch, "success")
    found = compare([study])
    said = report.text(found)
    assert "1 of 3" in said
    assert ">2,000 [" in said  # one of three: half of the runs have not
    assert "3 of 3" in said
    assert "1,250 [" in said
    page = report.write(found, tmp_path).read_text(encoding="utf-8")
    assert "validation accuracy ≥ 0.99" in page
    assert "Success against budget" in page
    assert (tmp_path / "success.svg").exists()
    with (tmp_path / "conditions.csv").open(newline="") as file:
        (row,) = [row for row in csv.DictReader(file) if row["model"] == "rnn"]
    assert (row["solved"], row["solved_of"], row["steps_to_success"], row["censored"]) == ("1", "3", "inf", "2")
    assert "solved_at_step" in (tmp_path / "runs.csv").read_text().splitlines()[0]


def test_runs_without_a_rule_are_compared_as_before(tmp_path: Path) -> None:
    found = compare([write_run(tmp_path / "run")])
    assert found.rules == ()
    assert "solved" not in report.text(found)
    report.write(found, tmp_path / "out", figures=False)
    assert "solved" not in (tmp_path / "out" / "conditions.csv").read_text()
    assert figures.draw(found, names=["success"]) == []


def test_values_that_could_not_be_chosen_before_are_no_factor(tmp_path: Path) -> None:
    """A run of before beside one of now; and one that was resumed."""
    write_run(tmp_path / "before", seed=0)
    now = {"stop_when_solved": False, "resume": None, "trainer": {"val_check_interval": 1.0}}
    now |= {"stop_when": None, "stop_when_patience": 10, "stop_when_min_delta": 0.0, "keep_best": "auto"}
    now |= {"model": {"cell": {"hidden_size": 64}, "bidirectional": False}}
    now |= {"scheduler": {"_target_": "rnn_research.models.schedules.NoSchedule"}}
    write_run(tmp_path / "now", seed=1, config=now)
    write_run(tmp_path / "on", seed=2, config={**now, "resume": "elsewhere"}, factors={"resume": "elsewhere"})
    assert compare([tmp_path]).varying == ()
    write_run(tmp_path / "stops", seed=3, config={**now, "stop_when_solved": True})
    assert compare([tmp_path]).varying == ("stop_when_solved",)
