"""Comparisons of run folders whose gradients are known in closed form."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from folders import SOME_OR_EVERY, STEPS, adjoint_table, clipping_table, draw_less, refused, write_run

from rnn_research import report
from rnn_research.cli.compare import main
from rnn_research.compare import Comparison, NothingToCompare, compare
from rnn_research.compare.honesty import caveats
from rnn_research.records import runs
from rnn_research.records.runs import RunRecord
from rnn_research.report import as_text, changes, columns, figures, looks, metric_columns, prose, vanishing
from rnn_research.statistics.intervals import Interval

MODELS = {"rnn": 0.6, "lstm": 0.97, "gru": 1.25}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models, with and without clipping, three seeds: 18 runs, in the order of a sweep."""
    root = tmp_path_factory.mktemp("study")
    minute = 0
    for model, gamma in MODELS.items():
        for threshold in (None, 1.0):
            for seed in range(3):
                gammas = dict.fromkeys(STEPS, gamma * (1 + 0.001 * seed)) | {0: 1.0}
                write_run(
                    root / f"{minute}-{model}-{threshold}-{seed}",
                    gammas,
                    seed=seed,
                    accuracy=0.8 + 0.01 * seed + (0.05 if threshold else 0),
                    threshold=threshold,
                    factors={"model": model},
                    start=f"2026-01-01T00:{minute:02d}:00+00:00",
                )
                minute += 1
    return root


@pytest.fixture(scope="module")
def three(study: Path) -> list[Path]:
    """The seeds of the study's first condition."""
    return sorted(study.glob("*-rnn-None-*"))


@pytest.fixture(scope="module")
def compared(study: Path) -> Comparison:
    return compare([study])


@pytest.fixture(scope="module")
def written(compared: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page and its files, the figures as SVG alone."""
    with pytest.MonkeyPatch.context() as patch:
        draw_less(patch)
        return report.write(compared, tmp_path_factory.mktemp("out"))


@pytest.fixture(scope="module")
def page(written: Path) -> str:
    return written.read_text(encoding="utf-8")


def reasons(comparison: Comparison) -> dict[str, str]:
    return {item.folder.name: item.reason for item in comparison.excluded}


def words(comparison: Comparison) -> str:
    """The terminal's text, without its line breaks."""
    return " ".join(report.text(comparison).split())


def copied(record: RunRecord, folder: Path, **changes) -> None:
    runs.write(dataclasses.replace(record, **changes), folder)


# -- conditions --------------------------------------------------------------------------------------


def test_conditions_are_the_options_that_vary_and_seeds_are_averaged(compared: Comparison):
    found = compared
    assert found.varying == ("model", "clipping")
    groups = {"dataset": "digits", "structure": "chain", "optimizer": "adam"}
    assert found.constant == {**groups, "scheduler": "none"}  # what records from before it existed had
    assert [tuple(c.options.values()) for c in found.conditions] == [
        (model, clipping) for model in MODELS for clipping in ("none", "global_norm")
    ]
    assert all([run.record.seed for run in c.runs] == [0, 1, 2] for c in found.conditions)
    assert found.excluded == ()


def test_the_numbers_of_a_condition_are_those_of_its_closed_form(compared: Comparison):
    condition = compared.conditions[0]
    rates = np.log(0.6 * (1 + 0.001 * np.arange(3)))
    low, high = scipy.stats.t.interval(0.95, 2, loc=rates.mean(), scale=scipy.stats.sem(rates))
    assert condition.chosen is not None
    decay = condition.chosen.decay
    assert (decay.rate, decay.low, decay.high) == pytest.approx((rates.mean(), low, high), abs=1e-5)
    assert decay.horizon == 11  # from distance 1 on 0.6^9 = 0.0101
    assert decay.far_ratio == pytest.approx(np.exp(31 * rates.mean()), rel=1e-4)
    assert condition.metric is not None
    assert condition.metric.mean == pytest.approx(0.81)
    expected = scipy.stats.t.interval(0.95, 2, loc=0.81, scale=scipy.stats.sem([0.80, 0.81, 0.82]))
    assert (condition.metric.low, condition.metric.high) == pytest.approx(expected)
    assert condition.baseline == pytest.approx(0.1)
    assert condition.parameters == (4810,)


def test_verdicts_are_at_the_first_and_at_the_last_step(compared: Comparison):
    words = {
        c.options["model"]: (c.start.verdict.word, c.chosen.verdict.word)
        for c in compared.conditions
        if c.start and c.chosen
    }
    assert words == {
        "rnn": ("keeps", "vanishes"),
        "lstm": ("keeps", "weakens"),  # 0.97^31 = 0.39
        "gru": ("keeps", "explodes"),
    }


def test_clipping_is_the_share_of_steps_in_which_it_fired(compared: Comparison):
    plain, clipped = compared.conditions[:2]
    tables = [runs.read_table(run.folder, "clipping") for run in clipped.runs]
    expected = np.mean([np.mean(table["norm_before"] > 1) for table in tables if table is not None])
    assert clipped.clipped is not None
    assert plain.clipped is not None
    assert clipped.clipped.mean == pytest.approx(expected)
    assert plain.clipped.mean == 0


def test_norms_are_binned_without_losing_a_spike(compared: Comparison):
    found = compared.conditions[1]
    tables = np.concatenate([runs.read_table(run.folder, "clipping") for run in found.runs])  # type: ignore[arg-type]
    norms = found.norms
    assert norms is not None
    assert len(norms.step) <= 150
    assert norms.before_high.max() == tables["norm_before"].max()
    assert norms.before_low.min() == tables["norm_before"].min()
    assert np.all(norms.after <= np.minimum(norms.before, 1) * (1 + 1e-9))
    assert np.log(norms.before).mean() == pytest.approx(np.log(tables["norm_before"]).mean(), abs=0.05)


def test_rates_over_training_are_those_of_each_step(compared: Comparison):
    rates = compared.conditions[0].rates
    assert rates is not None
    assert rates.x.tolist() == list(STEPS)
    assert rates.mean[0] == pytest.approx(0, abs=1e-6)
    assert rates.mean[1:] == pytest.approx(np.log(0.6 * 1.001), abs=1e-4)


def test_what_clipping_changed_is_paired_by_seed(compared: Comparison):
    effects = compared.effects
    assert [e.clipped.options["model"] for e in effects] == list(MODELS)
    assert all(e.plain.options == {**e.clipped.options, "clipping": "none"} for e in effects)
    for effect in effects:
        assert effect.metric is not None
        assert effect.rate is not None
        # The seeds differ by far more than the clipping does: unpaired, its effect would drown.
        assert effect.metric.mean == pytest.approx(0.05)
        assert np.isnan([effect.metric.low, effect.metric.high]).all()  # equal differences say nothing of the spread
        assert effect.rate.mean == pytest.approx(0, abs=1e-6)
        assert effect.rate.n == 3


def test_a_clippings_own_threshold_does_not_hide_what_it_is_compared_with(tmp_path: Path):
    write_run(tmp_path / "a", seed=0)
    for threshold in ("0.1", "1.0"):
        write_run(tmp_path / threshold, threshold=1.0, factors={"clipping.max_norm": threshold})
    found = compare([tmp_path])
    assert found.varying == ("clipping", "clipping.max_norm")
    assert [e.clipped.options["clipping.max_norm"] for e in found.effects] == ["0.1", "1.0"]


def test_numbers_are_in_order_and_words_as_they_were_started(tmp_path: Path):
    for minute, (size, model) in enumerate((size, model) for size in ("16", "128", "32") for model in ("rnn", "gru")):
        write_run(
            tmp_path / f"{minute}",
            factors={"model": model, "model.cell.hidden_size": size},
            start=f"2026-01-01T00:0{9 - minute}:00+00:00",
        )
    found = compare([tmp_path]).conditions
    assert [c.options["model"] for c in found] == ["gru"] * 3 + ["rnn"] * 3
    assert [c.options["model.cell.hidden_size"] for c in found[:3]] == ["16", "32", "128"]


def test_a_value_that_some_runs_name_and_others_leave_at_its_default_is_one_factor(tmp_path: Path):
    write_run(
        tmp_path / "a",
        factors={"model.cell.hidden_size": "32"},
        config={"model": {"cell": {"hidden_size": 32}}},
    )
    write_run(tmp_path / "b")
    found = compare([tmp_path])
    assert found.varying == ("model.cell.hidden_size",)
    assert [c.options["model.cell.hidden_size"] for c in found.conditions] == ["32", "64"]


def test_configs_that_differ_are_never_averaged(tmp_path: Path):
    write_run(tmp_path / "a", seed=0, config={"optimizer": {"lr": 0.1}})
    write_run(tmp_path / "b", seed=1, config={"optimizer": {"lr": 0.2}})
    found = compare([tmp_path])
    assert found.varying == ("optimizer.lr",)
    assert len(found.conditions) == 2


def test_what_changes_no_number_is_no_factor(tmp_path: Path):
    for seed, name in enumerate("ab"):
        write_run(
            tmp_path / name,
            seed=seed,
            factors={
                "experiment": name,
                "probe": name,
                "logger": name,
                "threads": str(seed),
                "dataset.seed": str(seed),
                "dataset.order": "${seed}",
            },
            config={
                "dataset": {"num_workers": seed, "root": name, "url": name, "order": seed},
                "trainer": {"default_root_dir": name},
            },
        )
    found = compare([tmp_path])
    assert found.varying == ()
    assert len(found.conditions) == 1
    assert len(found.conditions[0].runs) == 2


def test_a_factor_whose_values_are_the_seeds_stays_one(tmp_path: Path):
    for seed in (1, 2, 3):
        named, config = {"model.num_layers": str(seed)}, {"optimizer": {"lr": seed}}
        write_run(tmp_path / str(seed), seed=seed, factors=named, config=config)
    found = compare([tmp_path])
    assert found.varying == ("model.num_layers",)
    assert len(found.conditions) == 3


def test_a_config_whose_values_are_the_seeds_is_never_averaged(tmp_path: Path):
    for seed in (1, 2, 3):
        write_run(tmp_path / str(seed), seed=seed, config={"optimizer": {"lr": seed}})
    assert compare([tmp_path]).varying == ("optimizer.lr",)


def test_a_factor_that_goes_with_another_is_shown_once(tmp_path: Path):
    for model, structure in (("lstm", "chain"), ("tree_lstm", "parse")):
        write_run(tmp_path / model, factors={"model": model, "structure": structure})
    found = compare([tmp_path])
    assert found.varying == ("model", "structure")
    assert found.distinguishing_factors == ("model",)
    assert "Goes with the factors shown: structure." in words(found)


def test_by_pools_what_else_varies_and_says_so(study: Path):
    found = compare([study], by=["clipping"])
    assert [c.options for c in found.conditions] == [{"clipping": "none"}, {"clipping": "global_norm"}]
    assert [len(c.runs) for c in found.conditions] == [9, 9]
    assert found.pooled == ("model",)
    (effect,) = found.effects
    assert effect.metric is not None
    # Paired by model and seed: nine differences of 0.05 and not three of runs that have nothing to do with another.
    assert (effect.metric.mean, effect.metric.n) == (pytest.approx(0.05), 3)
    assert "Pooled over model." in words(found)


# -- who is left out ---------------------------------------------------------------------------------


def test_every_run_that_can_not_be_compared_is_named_with_its_reason(tmp_path: Path):
    good = runs.read(write_run(tmp_path / "good"))
    write_run(tmp_path / "running", status="running")
    write_run(tmp_path / "interrupted", status="interrupted")
    write_run(tmp_path / "failed", status="failed", error="ValueError: it\nbroke")
    copied(good, tmp_path / "version", seed=8)
    (tmp_path / "version" / "run.json").write_text(json.dumps(dataclasses.asdict(good) | {"version": 7}))
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "run.json").write_text('{"name": ')
    found = reasons(compare([tmp_path]))
    assert found.keys() == {"running", "interrupted", "failed", "version", "damaged"}
    assert found["running"].startswith("unfinished: still running or killed")
    assert found["interrupted"].startswith("unfinished: interrupted")
    assert found["failed"] == "failed: ValueError: it broke"
    assert found["version"].startswith("record version 7, this rnn_research reads versions 1 to 2")
    assert found["damaged"].startswith("damaged (Expecting value")


def test_a_run_on_other_data_is_left_out(tmp_path: Path):
    for seed in range(3):
        write_run(tmp_path / f"{seed}", seed=seed)
    write_run(tmp_path / "stranger", seed=3, data={"name": "digits", "fingerprint": "digits-2"})
    found = reasons(compare([tmp_path]))
    assert found == {"stranger": "other data: fingerprint digits-2, most have digits-1"}


@pytest.mark.parametrize("key", ["root", "cache", "url"])
def test_data_of_another_place_are_other_data_where_their_fingerprint_is(tmp_path: Path, key: str):
    for seed, place in enumerate("aab"):
        config = {"dataset": {key: place}}
        data = {"name": "sst", "fingerprint": f"in {place}"}
        write_run(tmp_path / f"{seed}", seed=seed, config=config, data=data, factors={f"dataset.{key}": place})
    write_run(tmp_path / "moved", seed=3, config={"dataset": {key: "c"}}, data={"name": "sst", "fingerprint": "in a"})
    found = compare([tmp_path])
    assert reasons(found) == {"2": "other data: fingerprint in b, most have in a"}
    assert len(found.conditions) == 1


def test_data_of_two_places_are_not_taken_for_data_drawn_by_the_seed(tmp_path: Path):
    for seed, place in enumerate("ab"):
        data = {"name": "sst", "fingerprint": f"in {place}"}
        write_run(tmp_path / place, seed=seed, config={"dataset": {"root": place}}, data=data)
    found = compare([tmp_path])
    assert reasons(found) == {"b": "other data: fingerprint in b, most have in a"}
    assert found.notes == ()


def test_other_data_by_another_config_are_a_factor(tmp_path: Path):
    for length in ("50", "100"):
        write_run(
            tmp_path / length,
            factors={"dataset.length": length},
            config={"dataset": {"length": int(length)}},
            data={"name": "adding", "fingerprint": length},
        )
    found = compare([tmp_path])
    assert found.excluded == ()
    assert [c.options["dataset.length"] for c in found.conditions] == ["50", "100"]


def test_data_drawn_by_the_seed_are_no_error_but_said(tmp_path: Path):
    for model in ("rnn", "gru"):
        for seed in range(2):
            data = {"name": "digits", "fingerprint": f"drawn-{seed}"}
            write_run(tmp_path / f"{model}{seed}", seed=seed, factors={"model": model}, data=data)
    found = compare([tmp_path])
    assert found.excluded == ()
    assert found.notes == ("digits: every seed has data of its own",)


def test_of_runs_of_one_condition_and_seed_the_latest_counts(tmp_path: Path):
    write_run(tmp_path / "old", accuracy=0.1, start="2026-01-01T00:00:00+00:00")
    write_run(tmp_path / "new", accuracy=0.9, start="2026-01-03T00:00:00+00:00")
    write_run(tmp_path / "mid", accuracy=0.5, start="2026-01-02T00:00:00+00:00")
    found = compare([tmp_path])
    assert [run.folder.name for run in found.runs] == ["new"]
    assert set(reasons(found)) == {"old", "mid"}
    assert all(reason.startswith("repeated: new is of the same condition") for reason in reasons(found).values())


def test_a_failed_run_does_not_replace_the_one_that_worked(tmp_path: Path):
    write_run(tmp_path / "worked", start="2026-01-01T00:00:00+00:00")
    write_run(tmp_path / "failed", status="failed", start="2026-01-02T00:00:00+00:00")
    assert [run.folder.name for run in compare([tmp_path]).runs] == ["worked"]


def test_two_seeds_are_no_surer_than_each(tmp_path: Path):
    for seed, gamma in enumerate((0.875, 0.84)):
        write_run(tmp_path / str(seed), gamma, seed=seed)
    (condition,) = compare([tmp_path]).conditions
    assert condition.chosen is not None
    assert condition.chosen.words == ("weakens", "vanishes")
    assert sorted((condition.chosen.verdict.word, *condition.chosen.verdict.also)) == ["vanishes", "weakens"]
    assert condition.chosen.verdict.doubt == " (borderline)"


def test_a_far_ratio_of_some_seeds_says_of_how_many(tmp_path: Path):
    for seed in range(3):
        write_run(tmp_path / str(seed), 0.9, seed=seed)
    for seed in (1, 2):
        (tmp_path / str(seed) / "probes" / "adjoint.npy").write_bytes(b"torn")
    assert "0.038 (of 1)" in report.text(compare([tmp_path]))


def test_a_metric_that_all_seeds_have_is_not_said_to_be_of_some_where_runs_are_pooled(tmp_path: Path):
    for seed in range(3):
        for rate in ("0.1", "0.01"):
            factors = {"optimizer.lr": rate}
            write_run(tmp_path / f"{seed}{rate}", seed=seed, accuracy=0.8 + 0.01 * seed, factors=factors)
        write_run(tmp_path / f"{seed}v", seed=seed, threshold=1.0, factors={"optimizer.lr": "0.1"})
    compared = compare([tmp_path], by=["clipping"])
    plain = compared.conditions[0]
    assert (plain.seeds, len(plain.runs)) == (3, 6)
    assert "(of" not in metric_columns.metric_cell(plain)


def test_runs_that_diverged_count_and_their_metric_does_not(tmp_path: Path):
    write_run(tmp_path / "0", seed=0, accuracy=0.9)
    for seed in (1, 2):
        gammas = {0: 1.0, 50: 1.5, 100: float("nan")}
        write_run(tmp_path / f"{seed}", gammas, seed=seed, accuracy=0.1, status="diverged", diverged_step=40 + seed)
    (condition,) = compare([tmp_path]).conditions
    assert len(condition.runs) == 3
    assert condition.metric is not None
    assert (condition.metric.mean, condition.metric.n) == (0.9, 1)
    assert [run.chosen.curve.step for run in condition.runs if run.chosen] == [200, 50, 50]
    text = report.text(compare([tmp_path]))
    assert "2/3 at step 41, 42" in text
    assert "0.9 (of 1)" in text


def test_where_all_diverged_there_is_no_metric(tmp_path: Path):
    write_run(tmp_path / "0", status="diverged", diverged_step=3)
    (condition,) = compare([tmp_path]).conditions
    assert condition.metric is None
    assert condition.learning is None


def test_a_run_that_overflowed_before_it_could_be_measured_exploded(tmp_path: Path):
    write_run(tmp_path / "0", {0: float("nan")}, status="diverged", diverged_step=0, steps=1)
    (condition,) = compare([tmp_path]).conditions
    assert condition.chosen is not None
    assert condition.chosen.verdict.word == "explodes"
    assert "overflowed before a norm could be measured" in condition.chosen.verdict.reason
    html = report.write(compare([tmp_path]), tmp_path / "out", figures=False).read_text()
    assert "overflowed before" in html


def test_a_step_whose_norm_is_nan_was_not_clipped(tmp_path: Path):
    folder = write_run(tmp_path / "0", threshold=1.0, status="diverged", diverged_step=3)
    table = clipping_table(4, 1.0, 0)
    table["norm_before"], table["fired"] = [2, 0.5, 0.5, np.nan], [True, False, False, True]
    runs.write_table(folder, "clipping", table)
    (condition,) = compare([tmp_path]).conditions
    assert condition.clipped is not None
    assert condition.clipped.mean == pytest.approx(1 / 3)
    report.write(compare([tmp_path]), tmp_path / "out", figures=False)
    (row,) = csv.DictReader((tmp_path / "out" / "runs.csv").open())
    assert float(row["clipped"]) == pytest.approx(1 / 3)


# -- options -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "word"), [("first", "keeps"), ("last", "vanishes"), (0, "keeps"), (50, "vanishes")])
def test_the_step_is_the_one_asked_for(three: list[Path], asked, word: str):
    chosen = compare(three, step=asked).conditions[0].chosen
    assert chosen is not None
    assert chosen.verdict.word == word


@pytest.mark.parametrize(
    ("asked", "name", "mean"),
    [
        (None, "test_accuracy", 0.81),
        ("accuracy", "test_accuracy", 0.81),
        ("val_accuracy", "val_accuracy", 0.81),
        ("loss", "test_loss", 0.19),
    ],
)
def test_the_metric_is_the_one_asked_for(three: list[Path], asked: str | None, name: str, mean: float):
    found = compare(three, metric=asked)
    assert found.metric == name
    assert found.conditions[0].metric is not None
    assert found.conditions[0].metric.mean == pytest.approx(mean)


def test_the_metric_is_by_default_one_with_a_baseline(tmp_path: Path):
    record = runs.read(write_run(tmp_path / "run"))
    final = {"val_accuracy": 0.5, "test_accuracy": 0.5, "test_mse": 0.1, "test_loss": 0.1}
    copied(record, tmp_path / "run", final=final, baselines={"test_mse": 0.16, "val_mse": 0.16})
    found = compare([tmp_path])
    assert found.metric == "test_mse"
    assert found.conditions[0].baseline == 0.16


def test_where_none_was_tested_the_metric_is_the_one_of_the_baseline(tmp_path: Path):
    record = runs.read(write_run(tmp_path / "run", status="diverged", diverged_step=0))
    copied(record, tmp_path / "run", final={"train_accuracy": 0.0}, baselines={"test_accuracy": 0.1})
    found = compare([tmp_path])
    assert found.metric == "test_accuracy"
    assert found.conditions[0].metric is None


def test_the_horizon_has_the_fraction_asked_for(three: list[Path]):
    chosen = compare(three, fraction=0.5).conditions[0].chosen
    assert chosen is not None
    assert chosen.decay.horizon == 3


def test_a_state_that_only_some_runs_have_is_missing_in_the_others(tmp_path: Path):
    write_run(tmp_path / "rnn", factors={"model": "rnn"})
    lstm = write_run(tmp_path / "lstm", factors={"model": "lstm"})
    table = adjoint_table({0: 0.9}, 0)
    both = np.zeros(len(table), dtype=[*table.dtype.descr, ("cell", "f8")])
    for name in table.dtype.names or ():
        both[name] = table[name]
    both["cell"] = table["hidden"]
    runs.write_table(lstm, "adjoint", both)
    found = compare([tmp_path], state="cell")
    words = {c.options["model"]: c.chosen and c.chosen.verdict.word for c in found.conditions}
    assert words == {"rnn": None, "lstm": "weakens"}
    missing = {run.folder.name: run.missing for run in found.runs}
    assert missing == {"rnn": ("state: given 'cell', expected joint, hidden",), "lstm": ()}


# -- the command -------------------------------------------------------------------------------------


def test_the_command_prints_the_table_and_where_the_page_is(study: Path, tmp_path: Path, capsys):
    assert main([str(study), "--out", str(tmp_path / "out"), "--no-figures"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.splitlines()[-1] == str(tmp_path / "out" / "comparison.html")
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == [
        "comparison.html",
        "conditions.csv",
        "runs.csv",
    ]
    assert "18 runs in 6 conditions" in printed.out
    assert max(map(len, printed.out.splitlines()[:-1])) <= 100


def test_the_page_is_by_default_beside_the_runs(tmp_path: Path, capsys):
    write_run(tmp_path / "a" / "1")
    write_run(tmp_path / "b" / "2", seed=1)
    assert main([str(tmp_path / "a"), "--no-figures"]) == 0
    assert (tmp_path / "a" / "comparison" / "comparison.html").exists()
    assert main([str(tmp_path / "a"), str(tmp_path / "b"), "--no-figures"]) == 0
    assert (tmp_path / "comparison" / "comparison.html").exists()


def test_a_damaged_record_beside_good_ones_is_named_and_the_others_compared(tmp_path: Path, capsys):
    write_run(tmp_path / "good")
    broken = write_run(tmp_path / "broken", seed=1)
    (broken / "run.json").write_text("{")
    lacking = write_run(tmp_path / "lacking", seed=2)
    (lacking / "probes" / "adjoint.npy").write_bytes(b"junk")
    assert main([str(tmp_path), "--no-figures"]) == 0
    printed = capsys.readouterr()
    assert "rnn-compare: left out broken: damaged" in printed.err
    assert "rnn-compare: lacking: adjoint table: damaged (not a .npy file); run it again" in printed.err
    html = (tmp_path / "comparison" / "comparison.html").read_text()
    assert "<td>broken</td>" in html
    assert "<td>lacking</td>" in html
    assert "2 runs in 1 condition" in printed.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/absent"], "absent, which does not exist; give the folder of a run or a sweep"),
        (["{tmp}/run/run.json"], "given the file"),
        (["{tmp}/run/packed.zip"], "expected a folder; unpack it first"),
        (["{tmp}/empty"], "no run.json at or below"),
        (["{tmp}/broken"], "none of the 2 runs at or below"),
        (
            ["{tmp}/run", "--step", "soon"],
            "given soon, expected first, last, or the number of a recorded step",
        ),
        (["{tmp}/run", "--step", "7"], "step: given 7, expected one of first, last, 0, 50, 100, 150, 200"),
        (["{tmp}/run", "--fraction", "2"], "fraction: given 2.0, expected a number > 0 and <= 1"),
        (["{tmp}/run", "--fraction", "half"], "given half, expected a number > 0 and <= 1"),
        (["{tmp}/run", "--metric", "acuracy"], "did you mean accuracy?"),
        (["{tmp}/run", "--state", "hiden"], "did you mean hidden?"),
        (["{tmp}/run", "--by", "modle"], "did you mean model?"),
        (["{tmp}/run", "--colour"], "unrecognized arguments: --colour"),
        ([], "the following arguments are required: FOLDER"),
        (["{tmp}/run", "--out", "{tmp}/run/run.json"], "which can't be written"),
        (["{tmp}/run", "--out", "{tmp}/run/run.json/below"], "which can't be written"),
    ],
)
def test_what_can_not_be_done_is_one_line_and_exit_code_2(tmp_path: Path, capsys, arguments: list[str], message: str):
    write_run(tmp_path / "run", dict.fromkeys(STEPS, 0.5))
    (tmp_path / "run/packed.zip").write_bytes(b"PK")
    (tmp_path / "empty").mkdir()
    for name in ("one", "two"):
        (tmp_path / "broken" / name).mkdir(parents=True)
        (tmp_path / "broken" / name / "run.json").write_text("{")
    line = refused([argument.format(tmp=tmp_path) for argument in arguments], capsys)
    assert message in line
    if "broken" in str(arguments):
        assert "one: damaged" in line
        assert "two: damaged" in line


def filled(table: np.ndarray, value: float) -> np.ndarray:
    """Every norm is `value`."""
    table = table.copy()
    for name in table.dtype.names or ():
        if table.dtype[name].kind == "f":
            table[name] = value
    return table


STRANGE = {
    "empty": lambda table: table[:0],
    "step alone": lambda table: table[["step"]],
    "one row": lambda table: table[:1],
    "text": lambda table: table.astype([(name, "U8") for name in table.dtype.names]),
    "floats": lambda table: table.astype([(name, "f4") for name in table.dtype.names]),
    "unknown": lambda table: np.zeros(3, dtype=[("unknown", "f8")]),
    "nested": lambda table: np.zeros(3, dtype=[("step", "i8"), ("hidden", "f8", (2,))]),
    "nan": lambda table: filled(table, np.nan),
    "inf": lambda table: filled(table, np.inf),
    "negative": lambda table: filled(table, -1.0),
    "zero": lambda table: filled(table, 0.0),
}


@pytest.mark.parametrize("name", ["adjoint", "clipping"])
@pytest.mark.parametrize("kind", STRANGE)
def test_a_strange_table_is_never_a_traceback(tmp_path: Path, capsys, name: str, kind: str):
    folder = write_run(tmp_path / "run", distances=9)
    runs.write_table(folder, name, STRANGE[kind](runs.read_table(folder, name)))
    assert main([str(tmp_path), "--no-figures"]) == 0
    assert "0.9" in capsys.readouterr().out  # the metric is compared all the same


def test_strange_tables_beside_good_ones_are_drawn_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    draw_less(monkeypatch)
    steps = dict.fromkeys(STEPS[::2], 0.5)
    write_run(tmp_path / "good", steps, distances=9)
    for kind, spoil in STRANGE.items():
        folder = write_run(tmp_path / kind, steps, factors={"model": kind}, distances=9)
        for name in ("adjoint", "clipping"):
            runs.write_table(folder, name, spoil(runs.read_table(folder, name)))
    html = report.write(compare([tmp_path]), tmp_path / "out").read_text()
    assert read_page(html).tags.count("figure") == 6


def test_a_metric_that_is_measured_after_training_alone_is_not_missing(tmp_path: Path):
    folder = write_run(tmp_path / "run")
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"final": record["final"] | {"test_bleu": 20.0}}))
    (run,) = compare([tmp_path], metric="test_bleu").runs
    assert run.missing == ()
    said = [caveat.text for caveat in caveats(compare([tmp_path], metric="test_bleu"))]
    assert any("choose by --metric val_loss" in text for text in said)
    (folder / "metrics.csv").write_text("step,split,loss\n1,train,2.0\n")
    (run,) = compare([tmp_path], metric="test_bleu").runs
    assert run.missing == ("metrics.csv: no validation bleu",)


@pytest.mark.parametrize("kind", ["empty", "zero", "inf"])
def test_strange_tables_alone_are_drawn_or_not(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch):
    draw_less(monkeypatch)
    folder = write_run(tmp_path / "run", dict.fromkeys(STEPS[::2], 0.5), distances=9)
    for name in ("adjoint", "clipping"):
        runs.write_table(folder, name, STRANGE[kind](runs.read_table(folder, name)))
    read_page(report.write(compare([tmp_path]), tmp_path / "out").read_text())


@pytest.mark.parametrize(
    "text",
    ["", "\x00\n", "step,split\n1,val\n", "step,epoch,split,loss,accuracy\nx,y,val,nan,high\n"],
)
def test_strange_metrics_are_missing_and_no_traceback(tmp_path: Path, text: str):
    folder = write_run(tmp_path / "run")
    (folder / "metrics.csv").write_text(text)
    (run,) = compare([tmp_path]).runs
    assert run.learning is None
    assert run.missing == ("metrics.csv: no validation accuracy",)


def test_a_record_without_metrics_is_compared_by_its_gradient(tmp_path: Path, capsys):
    record = runs.read(write_run(tmp_path / "run"))
    copied(record, tmp_path / "run", final={}, baselines={})
    found = compare([tmp_path])
    assert found.metric is None
    assert found.conditions[0].chosen is not None
    assert main([str(tmp_path), "--no-figures"]) == 0


def test_records_far_from_each_other_are_compared(tmp_path: Path):
    write_run(tmp_path / "a", factors={"model": "rnn"})
    write_run(
        tmp_path / "b",
        factors={"dataset": "adding"},
        data={"name": "adding", "fingerprint": "1"},
        distances=5,
    )
    assert len(compare([tmp_path]).conditions) == 2


def test_help_is_fast_and_comparing_needs_neither_torch_nor_matplotlib(tmp_path: Path):
    write_run(tmp_path / "run")
    code = (
        "import sys; from rnn_research.cli.compare import main; "
        f"main([{str(tmp_path)!r}, '--no-figures']); "
        "print([name for name in ('torch', 'lightning', 'hydra', 'omegaconf', 'torchmetrics', 'matplotlib') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_help_takes_at_most_half_of_importing_torch():
    """The test above says on every run that nothing is imported which would take that long."""

    def seconds(code: str, times: int) -> float:
        taken = []
        for _ in range(times):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
            taken.append(time.perf_counter() - started)
        return min(taken)

    shown = "import sys; sys.argv = ['rnn-compare', '--help']; from rnn_research.cli.compare import main; main()"
    assert seconds(shown, 2) <= 0.5 * seconds("import torch", 1)


# -- what is written ---------------------------------------------------------------------------------


class Reader(HTMLParser):
    """What a page would load or run, its ids, and whether its tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data", "action") and not (value or "").startswith("#"):
                self.loads.append(f"{tag} {name}={value}")
            if name.startswith("on"):
                self.loads.append(f"{tag} {name}")
            if name == "id":
                self.ids.append(value or "")
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read_page(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    return reader


def test_the_page_needs_nothing_else(page: str):
    reader = read_page(page)
    assert reader.loads == []
    assert not {"link", "img", "iframe", "object"}.intersection(reader.tags)
    assert reader.tags.count("script") == 2  # the data and the page's own, which its policy knows by hash
    assert re.findall(r"url\((?!#)[^)]*\)|@import", page) == []
    assert reader.tags.count("figure") == 7
    assert len(reader.ids) == len(set(reader.ids))
    assert len(page) < 2_000_000


def test_the_page_says_what_was_found_in_words_and_numbers(page: str):
    assert "At step 200, over 31 applications, the gradient <span" in page
    assert '<span class="word vanishes">vanishes</span> in rnn (to 1.4\u00a0×\u00a010⁻⁷)' in page
    assert '<span class="word explodes">explodes</span> in gru (to 1042)' in page
    assert "global_norm clipped" in page
    assert "of the norm at distance 1 arrives over 31 applications" in page
    assert "0123456789abcdef" in page
    assert "rnn-train model=rnn dataset=digits" in page
    assert "2.13.0" in page


@SOME_OR_EVERY
def test_the_figures_are_files_too(every: bool, three: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    names = ("vanishing", "rates", "clipping", "learning") if every else ("learning",)
    monkeypatch.setattr(figures, "FIGURES", {name: figures.FIGURES[name] for name in names})
    page = report.write(compare(three[:1]), tmp_path)
    for name in names:
        assert page.with_name(f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert page.with_name(f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert page.with_name(f"{name}.svg").read_text().startswith("<?xml")


@SOME_OR_EVERY
def test_the_same_runs_make_the_same_page(every: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if not every:
        draw_less(monkeypatch, "vanishing")
    write_run(tmp_path / "run", {0: 0.9, 50: 0.8})
    pages = [report.write(compare([tmp_path]), tmp_path / name).read_bytes() for name in "ab"]
    assert pages[0] == pages[1]


@SOME_OR_EVERY
def test_text_from_records_is_text_on_the_page_and_in_figures(
    every: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    draw_less(monkeypatch, *(() if every else ("vanishing", "rates", "beside_task")))
    evil = '<script>alert("&")</script>$\\frac$ __x ' + "long " * 30
    write_run(tmp_path / "a", dict.fromkeys(STEPS, 0.5), factors={"model": evil, "dataset": evil}, commit=evil)
    write_run(tmp_path / "b", factors={"model": "rnn", "dataset": "digits"})
    write_run(tmp_path / "b2", factors={"model": "rnn", "dataset": "digits", "clipping": evil}, threshold=1.0)
    write_run(tmp_path / "c", status="failed", error=evil)
    assert len(compare([tmp_path]).effects) == 1
    html = report.write(compare([tmp_path]), tmp_path / "out").read_text()
    assert read_page(html).tags.count("script") == 2
    assert "&lt;script&gt;" in html


def test_every_digit_is_in_the_csv(compared: Comparison, written: Path):
    with written.with_name("conditions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    for row, condition in zip(rows, compared.conditions, strict=True):
        assert condition.chosen is not None
        assert float(row["rate"]) == condition.chosen.decay.rate
        assert float(row["rate_high"]) == condition.chosen.decay.high
        assert row["verdict"] == condition.chosen.verdict.word
    with written.with_name("runs.csv").open() as file:
        of_runs = list(csv.DictReader(file))
    assert [row["run"] for row in of_runs] == [compared.name(run.folder) for run in compared.runs]
    assert {row["seed"] for row in of_runs} == {"0", "1", "2"}


def test_runs_that_were_left_out_are_on_the_page_and_in_the_csv(tmp_path: Path):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", status="running")
    html = report.write(compare([tmp_path]), tmp_path / "out", figures=False).read_text()
    assert "<h2>Left out</h2>" in html
    assert "unfinished: still running or killed" in (tmp_path / "out" / "runs.csv").read_text()


def interval_of(mean: float, half: float, n: int = 3) -> Interval:
    return Interval(mean, mean - half, mean + half, n)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0%"),
        (1e-5, "<0.1%"),
        (1 / 320, "0.3%"),
        (0.0096, "1%"),
        (0.26, "26%"),
        (319 / 320, ">99%"),
        (1.0, "100%"),
    ],
)
def test_a_share_is_never_rounded_to_never_or_always(share: float, text: str):
    assert as_text.percent(interval_of(share, 0.0)) == text


def test_the_interval_of_an_accuracy_stays_where_accuracies_are(tmp_path: Path):
    for seed, accuracy in enumerate((0.99, 0.98, 0.9)):
        write_run(tmp_path / str(seed), seed=seed, accuracy=accuracy)
    found = compare([tmp_path])
    low = 2 * 0.956667 - scipy.stats.t.interval(0.95, 2, 0.956667, scipy.stats.sem([0.99, 0.98, 0.9]))[1]
    assert metric_columns.metric_cell(found.conditions[0]) == f"0.96 [{low:.2f}, 1.00]"


def test_where_the_first_step_is_the_last_it_is_shown_once(tmp_path: Path, compared: Comparison):
    write_run(tmp_path / "run", {0: 0.5})
    found = compare([tmp_path])
    assert [column.title for column in columns.gradient_columns(found)].count("step 0") == 1
    assert "At step 0: " not in prose.sentence(found, found.conditions[0])
    assert [column.title for column in columns.verdict_columns(compared)][-2:] == ["step 0", "step 200"]


def test_a_far_ratio_that_underflows_is_below_a_number(tmp_path: Path):
    write_run(tmp_path / "run", 0.01)
    (condition,) = compare([tmp_path]).conditions
    assert condition.chosen is not None
    assert re.fullmatch(r"<\de-3\d", as_text.far(condition.chosen))
    assert condition.chosen.verdict.word == "vanishes"


def test_what_is_higher_in_words_is_so_by_its_p_among_all(compared: Comparison):
    def said(p: float, half: float = 0.01) -> str:
        changed = {"rate": interval_of(0.1, half), "metric": interval_of(-0.1, half), "rate_p": p, "metric_p": p}
        changed |= {"rate_detectable": 0.25, "metric_detectable": None, "notes": ()}
        effects = tuple(dataclasses.replace(effect, **changed) for effect in compared.effects)
        return " ".join(changes.sentences(dataclasses.replace(compared, effects=effects)))

    assert said(0.051).count("(no difference shown among all that is tested, p = 0.051)") == 6
    assert said(0.3, 0.2).count("(no difference shown; rules out more than +0.3 and less than −0.1)") == 3
    assert said(0.3, 0.2).count("(no difference shown; rules out more than +0.1 and less than −0.3)") == 3
    assert said(0.049).count("(higher, p = 0.049)") == said(0.049).count("(lower, p = 0.049)") == 3
    assert said(float("nan")).count("(no interval: no test)") == 6


def test_where_trees_and_chains_share_a_panel_its_axis_says_so(tmp_path: Path):
    for model in ("rnn", "tree"):
        folder = write_run(tmp_path / model, factors={"model": model})
    chain = adjoint_table({0: 0.9}, 0, distances=5)
    tree = np.concatenate([np.repeat(chain[chain["distance"] == depth], 2**depth) for depth in range(5)])
    runs.write_table(folder, "adjoint", tree)
    (drawn,) = figures.draw(compare([tmp_path]), files=False, names=["vanishing"])
    assert "distance d (cell applications to the loss; in a tree, depth)" in drawn.svg
    assert "tree depth" not in drawn.svg


def test_many_conditions_are_drawn_without_bands_and_with_a_legend_that_fits(tmp_path: Path):
    names = [f"a_strategy_with_a_long_name_{number}" for number in range(12)]
    for name, seed in itertools.product(names, range(2)):
        write_run(tmp_path / f"{name}{seed}", factors={"clipping": name}, seed=seed, distances=9)
    comparison = compare([tmp_path])
    look = looks.look(comparison)
    made = vanishing.curves(comparison, look)
    assert made is not None
    assert "too many conditions" in made.caption
    figure = made.figure
    figure.set_layout_engine("constrained")
    figure.canvas.draw()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert {text.get_text() for text in legend.get_texts()} >= set(names)
    assert not any(axes.collections for axes in figure.axes)


def test_trees_are_drawn_against_depth(tmp_path: Path):
    folder = write_run(tmp_path / "tree", factors={"structure": "parse"})
    chain = adjoint_table({0: 0.9, 100: 0.8}, 0, distances=5)
    tree = np.concatenate([np.repeat(chain[chain["distance"] == depth], 2**depth) for depth in range(5)])
    runs.write_table(folder, "adjoint", tree)
    comparison = compare([tmp_path])
    (condition,) = comparison.conditions
    assert condition.chosen is not None
    assert condition.chosen.depth_sum is not None
    assert condition.chosen.depth_sum.mean == pytest.approx((np.arange(5) - 1) * np.log(1.6), abs=1e-5)
    (drawn,) = figures.draw(comparison, files=False, names=["nodes"])
    assert "tree depth d (cell applications from the root)" in drawn.svg
    assert "summed over nodes" in drawn.svg + drawn.title + drawn.caption


def test_nothing_to_compare_is_an_error_a_caller_can_catch(tmp_path: Path):
    with pytest.raises(NothingToCompare, match=r"no run\.json at or below"):
        compare([tmp_path])
