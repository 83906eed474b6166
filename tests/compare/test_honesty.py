"""What to know before believing a comparison, planted one by one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from folders import STEPS, write_run

from rnn_research import report
from rnn_research.compare import Comparison, caveats, compare
from rnn_research.records import runs


def change(folder: Path, **changes) -> None:
    runs.write(dataclasses.replace(runs.read(folder), **changes), folder)


def said(comparison: Comparison) -> dict[str, str]:
    """The text of each caveat by its kind; of several of one kind all."""
    found: dict[str, str] = {}
    for caveat in caveats(comparison):
        found[caveat.kind] = "; ".join(filter(None, (found.get(caveat.kind), caveat.text)))
    return found


def seeds(root: Path, count: int = 3, name: str = "run", **options) -> list[Path]:
    return [write_run(root / f"{name}{seed}", seed=seed, **options) for seed in range(count)]


def test_a_comparison_that_needs_no_caveat_has_the_test_sets_alone(tmp_path: Path):
    seeds(tmp_path)
    assert list(said(compare([tmp_path]))) == ["test set"]
    assert said(compare([tmp_path], metric="val_accuracy")) == {}


def test_each_kind_of_run_left_out_is_counted_with_its_reason(tmp_path: Path):
    seeds(tmp_path)
    seeds(tmp_path, 2, "killed", status="running")
    write_run(tmp_path / "stopped", status="interrupted")
    write_run(tmp_path / "bad1", status="failed", error="ValueError: boom")
    write_run(tmp_path / "bad2", status="failed", error="ValueError: boom")
    write_run(tmp_path / "again", seed=0, start="2025-01-01T00:00:00+00:00")
    write_run(tmp_path / "strange", seed=4, data={"name": "digits", "fingerprint": "other"})
    (write_run(tmp_path / "torn") / "run.json").write_text("{")
    found = said(compare([tmp_path], metric="val_accuracy"))
    assert list(found) == ["running", "interrupted", "failed", "other data", "repeated", "damaged", ]  # fmt: skip
    assert found["running"].startswith("2 runs left out, unfinished, still running or killed")
    assert found["running"].endswith(": killed0, killed1")
    assert found["failed"] == "2 runs left out, failed, ValueError: boom (2): bad1, bad2"
    assert found["repeated"].endswith("a later run has the same condition and seed: again")
    assert found["damaged"].startswith("1 run left out, can't be read, damaged")


def test_words_of_two_steps_over_different_lengths_are_said(tmp_path: Path):
    """As where a batch has sequences of one length (`bucket=true`): one law weakens over 4 and vanishes over 31."""
    for folder in seeds(tmp_path):
        table = np.load(folder / "probes" / "adjoint.npy")
        assert "different lengths" not in said(compare([tmp_path]))
        runs.write_table(folder, "adjoint", table[(table["step"] > table["step"].min()) | (table["distance"] < 27)])
        assert "different lengths" not in said(compare([tmp_path]))
    for folder in tmp_path.iterdir():
        table = np.load(folder / "probes" / "adjoint.npy")
        runs.write_table(folder, "adjoint", table[(table["step"] > table["step"].min()) | (table["distance"] < 6)])
    assert said(compare([tmp_path]))["different lengths"] == (
        "words of two steps are over different lengths, 4 and 31 applications, as their batches are: they differ by "
        "that too, not by training alone: all runs"
    )


def test_diverged_runs_are_counted_by_condition(tmp_path: Path):
    seeds(tmp_path)
    change(tmp_path / "run1", status="diverged", diverged_step=7)
    assert said(compare([tmp_path]))["diverged"].startswith("1 run diverged, all runs (1): they count as a result")


def test_machines_engines_widths_and_versions_that_differ_are_said(tmp_path: Path):
    first, second, third = seeds(tmp_path)
    engine = {"asked": "auto", "used": "native", "why": "because", "vector": "8"}
    change(first, engine=engine)
    change(second, engine=engine | {"why": "of another reason"})
    change(third, engine=engine | {"used": "torch", "vector": "4"}, commit="another")
    change(second, machine={"system": "Linux", "processor": "arm64", "cores": 64, "threads": 7})
    found = said(compare([tmp_path]))
    assert found["machine"].startswith("processor differs, also within 1 of 1 conditions, x86_64 (2), arm64 (1): ")
    assert "engine used differs" in found["engine"]
    assert "native (2), torch (1)" in found["engine"]
    assert "engine vector differs, also within 1 of 1 conditions, 8 (2), 4 (1)" in found["engine"]
    assert found["version"].startswith(
        "commit differs, also within 1 of 1 conditions, 0123456789abcdef (2), another (1)"
    )
    assert "cores" not in found["machine"]
    assert "why" not in found["engine"]


def test_unequal_and_few_seeds_are_said(tmp_path: Path):
    seeds(tmp_path, 3, "rnn", factors={"model": "rnn"})
    seeds(tmp_path, 2, "lstm", factors={"model": "lstm"})
    found = said(compare([tmp_path]))
    assert found["unequal seeds"] == "conditions have 2 to 3 seeds; with fewer than 3: lstm"
    assert found["few seeds"].startswith("1 of 2 conditions have fewer than 3 seeds: no interval")
    write_run(tmp_path / "lstm5", seed=5, factors={"model": "lstm"})
    found = said(compare([tmp_path]))
    assert "not the same ones" in found["unequal seeds"]
    assert "few seeds" not in found


def test_differences_without_a_seed_in_both_conditions_are_counted(tmp_path: Path):
    for seed in range(4):
        write_run(tmp_path / f"rnn{seed}", seed=seed, threshold=1.0 if seed > 1 else None, factors={"model": "rnn"})
        write_run(tmp_path / f"lstm{seed}", seed=seed, threshold=None, factors={"model": "lstm"})
        write_run(tmp_path / f"clipped{seed}", seed=seed, threshold=1.0, factors={"model": "lstm"})
    assert said(compare([tmp_path]))["no pair"] == (
        "1 of 2 differences from the baseline can't be taken, since no seed is in both conditions: "
        "rnn / global_norm and rnn / none"
    )


def test_sizes_more_than_a_tenth_apart_are_warned_of(tmp_path: Path):
    seeds(tmp_path, 3, "rnn", factors={"model": "rnn"}, parameters=1000)
    seeds(tmp_path, 3, "lstm", factors={"model": "lstm"}, parameters=1100)
    assert "parameters" not in said(compare([tmp_path]))
    for folder in tmp_path.glob("lstm*"):
        change(folder, parameters=1101)
    found = said(compare([tmp_path]))["parameters"]
    assert found.startswith("parameters differ by more than 10%: 1,000 (rnn) to 1,101 (lstm) (1.1 times as many)")


def test_a_rate_from_few_distances_is_marked(tmp_path: Path):
    seeds(tmp_path, distances=10)
    comparison = compare([tmp_path])
    assert said(comparison)["few distances"].startswith("1 rate † fitted over fewer than 10 distances (9)")
    assert "†" in report.text(comparison).partition("TASK")[0]
    seeds(tmp_path, distances=11)
    assert "few distances" not in said(compare([tmp_path]))


def test_a_rate_from_norms_that_underflow_is_marked(tmp_path: Path):
    seeds(tmp_path, gammas=dict.fromkeys(STEPS, 0.02))
    comparison = compare([tmp_path])
    assert "near underflow" in said(comparison)
    assert "‡" in report.text(comparison).partition("TASK")[0]
    seeds(tmp_path, gammas=dict.fromkeys(STEPS, 0.2))
    assert "near underflow" not in said(compare([tmp_path]))


def test_what_is_incomplete_or_without_the_metric_is_said(tmp_path: Path):
    seeds(tmp_path, 3, "rnn", factors={"model": "rnn"})
    for folder in seeds(tmp_path, 3, "lstm", factors={"model": "lstm"}):
        change(folder, final={})
        (folder / "probes" / "adjoint.npy").unlink()
    found = said(compare([tmp_path]))
    assert found["no metric"] == "1 of 2 conditions without test_accuracy: lstm"
    assert found["incomplete"].startswith("3 runs compared although incomplete, adjoint table: there is none")


def test_long_names_and_many_are_cut_in_the_text_and_whole_in_the_list(tmp_path: Path):
    seeds(tmp_path)
    for number in range(9):
        write_run(tmp_path / f"{'n' * 200}{number}", status="running")
    (caveat,) = [caveat for caveat in caveats(compare([tmp_path])) if caveat.kind == "running"]
    assert len(caveat.text) < 400
    assert caveat.text.endswith(" and 6 more")
    assert len(caveat.about) == 9
    assert max(map(len, caveat.about)) == 201


def test_gradients_of_different_training_steps_are_said(tmp_path: Path):
    seeds(tmp_path, 3, "rnn", factors={"model": "rnn"}, gammas=dict.fromkeys(STEPS, 0.5))
    seeds(tmp_path, 3, "lstm", factors={"model": "lstm"}, gammas=dict.fromkeys(STEPS, 0.5))
    assert "different steps" not in said(compare([tmp_path]))
    diverged = {0: 1.0, 50: 1.2, 100: float("nan")}
    write_run(tmp_path / "rnn1", diverged, seed=1, factors={"model": "rnn"}, status="diverged", diverged_step=90)
    (found,) = [one for one in caveats(compare([tmp_path])) if one.kind == "different steps"]
    assert found.text == (
        "1 of 2 conditions average gradients of different training steps §, 50 to 200 "
        "(--step 100 reads all at the last that all recorded): rnn"
    )
    assert found.about == ("rnn",)
    assert report.text(compare([tmp_path])).partition("ON THE WAY")[0].count("§") == 1
    assert "different steps" not in said(compare([tmp_path], step=50))
    for seed in (0, 2):
        write_run(tmp_path / f"rnn{seed}", diverged, seed=seed, factors={"model": "rnn"})
    assert said(compare([tmp_path]))["different steps"].startswith(
        "the conditions' gradients are of different training"
    )


def two_tasks(root: Path, **final: dict[str, float]) -> None:
    for task, values in final.items():
        for folder in seeds(root, 3, task, factors={"dataset": task}):
            change(folder, final=values, baselines={})


def test_tasks_without_a_common_metric_are_told(tmp_path: Path):
    two_tasks(tmp_path, digits={"test_accuracy": 0.9, "test_loss": 1.0}, adding={"test_mse": 0.1, "test_loss": 2.0})
    found = compare([tmp_path])
    assert said(found)["no common metric"] == (
        "the tasks have no metric in common that tells how well they are solved: each is compared by its own, adding "
        "by test_mse; digits by test_accuracy; no mean or difference is of two metrics"
    )
    assert "no common metric" not in said(compare([tmp_path], where=["dataset=adding"]))
    assert compare([tmp_path], metric="loss").metric == "test_loss"


def test_what_all_tasks_have_goes_before_what_some_have(tmp_path: Path):
    two_tasks(tmp_path, a={"test_accuracy": 0.9, "val_accuracy": 0.9}, b={"val_accuracy": 0.1})
    assert compare([tmp_path]).metric == "val_accuracy"
    assert compare([tmp_path], metric="accuracy").metric == "val_accuracy"
