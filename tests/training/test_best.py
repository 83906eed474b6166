"""Early stopping, and the best weights: kept, measured once, and gone on with exactly."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import SMALL, rnn_train
from lightning.pytorch import Trainer
from small import SEQUENCES, Given, model_of, sequences
from test_resume import HOOKS, Copies, Interrupts, same

from rnn_research.cells import LSTM
from rnn_research.clipping.zclip import ZClip
from rnn_research.datasets.task import less_is_better
from rnn_research.models import Model
from rnn_research.records import checksum, runs
from rnn_research.records.metrics_file import read_metrics
from rnn_research.records.runs import RunRecord
from rnn_research.training import resume
from rnn_research.training.checkpoints import CheckpointWriter
from rnn_research.training.fit import RunSpec, fit
from rnn_research.training.resume import ResumeError
from rnn_research.training.spec import StopWhen
from rnn_research.training.watched import BestValue

EVERY = {"val_check_interval": 2, "check_val_every_n_epoch": None}


def parts(monitor: str | None = None, seed: int = 0, task: Any = SEQUENCES) -> tuple[Given, Model]:
    """22 samples in batches of 4, whose labels are noise: the validation's loss gets better to step 4, worse, better
    to step 8, and worse from there on."""
    samples = sequences(22, seed=3)
    splits = {"train": samples, "val": sequences(8, seed=284), "test": sequences(7, seed=5)}
    data = Given(replace(task, monitor=monitor), splits)
    how: dict[str, Any] = {"optimizer": functools.partial(torch.optim.Adam, lr=0.05), "clipping": ZClip()}
    return data, model_of(data, LSTM, 6, num_layers=2, dropout=0.2, seed=seed, **how)


def trained(
    folder: Path,
    steps: int = 40,
    callbacks: tuple[Any, ...] = (),
    monitor: str | None = None,
    seed: int = 0,
    **run: Any,
) -> tuple[RunRecord, Model]:
    data, model = parts(monitor, seed)
    limits = {"accelerator": "cpu", "max_steps": steps, "max_epochs": -1, "log_every_n_steps": 5, **EVERY}
    make = lambda callbacks, **more: Trainer(callbacks=[*callbacks, *added], **limits, **more)  # noqa: E731
    added = callbacks
    return fit(data, model, make, {}, RunSpec(folder, **run)), model


STEPS = 16
"""Of a run that nothing ends before: by then each rule below has ended its own."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], tuple[RunRecord, Path]]:
    """A run of so many steps whose best weights are not kept, made once: its record and its folder."""

    @functools.cache
    def of(steps: int) -> tuple[RunRecord, Path]:
        folder = tmp_path_factory.mktemp("plain") / "run"
        return trained(folder, steps, keep_best=None)[0], folder

    return of


def validations(folder: Path, metric: str) -> dict[int, float]:
    """The first of each step."""
    rows = [row for row in read_metrics(folder) if row["split"] == "val"]
    return {int(row["step"]): float(row[metric]) for row in reversed(rows)}


def best_step(values: dict[int, float], metric: str) -> int:
    steps = sorted(values)
    return (min if less_is_better(metric) else max)(steps, key=values.__getitem__)


def best_file(folder: Path) -> dict[str, Any]:
    checksum.check(folder / "best.ckpt")
    return torch.load(folder / "best.ckpt", weights_only=True)


# What is kept.


@pytest.mark.parametrize("metric", ["loss", "accuracy"])
def test_the_best_weights_are_kept_and_measured(
    metric: str, plain: Callable[[int], tuple[RunRecord, Path]], tmp_path: Path
) -> None:
    """As by a run that ends at that step, bit by bit; the last ones are in the checkpoint all the same."""
    record, model = trained(tmp_path / "run", STEPS, keep_best=metric)
    values = validations(tmp_path / "run", metric)
    step = best_step(values, metric)
    assert 0 < step < STEPS
    kept = {"step": step, "metric": metric, "value": values[step]}
    assert record.weights["best"].items() >= {"file": "best.ckpt", **kept}.items()
    assert record.weights["measured"] == "best.ckpt"
    assert runs.read(tmp_path / "run") == record
    ended, at_end = plain(step)
    assert ended.weights == {"measured": "checkpoint.ckpt"}
    measured = ("val_loss", "val_accuracy", "test_loss", "test_accuracy")
    assert [record.final[name] for name in measured] == [ended.final[name] for name in measured]
    answers = [runs.read_table(folder, "answers") for folder in (tmp_path / "run", at_end)]
    np.testing.assert_array_equal(*answers)
    found, expected = best_file(tmp_path / "run"), torch.load(at_end / "checkpoint.ckpt", weights_only=True)
    assert found[resume.PLACE].items() >= kept.items()
    assert found["state_dict"].keys() == {n for n in expected["state_dict"] if not n.startswith("clipping.")}
    assert all(same(value, expected["state_dict"][name]) for name, value in found["state_dict"].items())
    assert all(same(value, model.state_dict()[name]) for name, value in found["state_dict"].items())
    without, beside = plain(STEPS)
    last = [torch.load(folder / "checkpoint.ckpt", weights_only=True) for folder in (tmp_path / "run", beside)]
    assert same(last[0]["state_dict"], last[1]["state_dict"])
    assert without.final["train_loss"] == record.final["train_loss"]
    assert not (beside / "best.ckpt").exists()


def test_rows_of_the_best_weights_are_at_their_step(tmp_path: Path) -> None:
    record, _ = trained(tmp_path, STEPS, keep_best="loss")
    rows = read_metrics(tmp_path)
    step, epoch = record.weights["best"]["step"], record.weights["best"]["epoch"]
    assert [(row["split"], row["step"], row["epoch"]) for row in rows[-2:]] == [
        (split, str(step), str(epoch)) for split in ("val", "test")
    ]
    (first,) = [row for row in rows[:-2] if (row["split"], row["step"]) == ("val", str(step))]
    assert first == rows[-2]
    assert [row["split"] for row in rows].count("test") == 1


def test_the_last_weights_may_be_the_best(tmp_path: Path) -> None:
    """Of a run too short to be validated in between, too: they are measured once."""
    for steps in (1, 2):
        record, _ = trained(tmp_path / str(steps), steps, keep_best="loss")
        assert record.weights["best"]["step"] == steps
        assert record.weights["measured"] == "best.ckpt"
        splits = [row["split"] for row in read_metrics(tmp_path / str(steps))]
        assert (splits.count("val"), splits.count("test")) == (1, 1)


def test_the_data_may_name_the_metric(tmp_path: Path) -> None:
    record, _ = trained(tmp_path / "a", 6, monitor="accuracy")
    assert record.weights["best"]["metric"] == "accuracy"
    record, _ = trained(tmp_path / "b", 6, monitor="accuracy", keep_best=None)
    assert record.weights == {"measured": "checkpoint.ckpt"}
    record, _ = trained(tmp_path / "c", 6, monitor="accuracy", keep_best="loss")
    assert record.weights["best"]["metric"] == "loss"
    record, _ = trained(tmp_path / "d", 6)
    assert record.weights == {"measured": "checkpoint.ckpt"}


@pytest.mark.parametrize(
    ("metric", "values", "best", "missed"),
    [
        ("loss", [3.0, 2.0, 2.0, 2.5], 2.0, 2),
        ("accuracy", [0.5, 0.7, 0.6, 0.7], 0.7, 2),
        ("position_mse", [3.0, 1.0], 1.0, 0),
        ("bits", [2.0, 1.0], 1.0, 0),
        ("macro_f1", [0.2, 0.1], 0.2, 1),
        ("loss", [math.nan, math.inf, 5.0, math.nan], 5.0, 1),
        ("accuracy", [math.nan], None, 1),
    ],
)
def test_the_better_of_two_values(metric: str, values: list[float], best: float | None, missed: int) -> None:
    found = BestValue(metric)
    for value in values:
        found.look(value)
    assert (found.value, found.missed) == (best, missed)


# Stopping early.


def expected_end(values: dict[int, float], metric: str, patience: int, delta: float) -> int | None:
    sign, best, missed = 1 if less_is_better(metric) else -1, math.inf, 0
    for step in sorted(values):
        value = sign * values[step]
        best, missed = (value, 0) if value < best - delta else (best, missed + 1)
        if missed == patience:
            return step
    return None


@pytest.mark.parametrize(
    ("metric", "patience", "delta"), [("loss", 1, 0.0), ("loss", 3, 0.0), ("accuracy", 4, 0.0), ("loss", 3, 0.02)]
)
def test_training_ends_where_a_metric_gets_no_better(
    metric: str, patience: int, delta: float, plain: Callable[[int], tuple[RunRecord, Path]], tmp_path: Path
) -> None:
    whole, folder = plain(STEPS)
    end = expected_end(validations(folder, metric), metric, patience, delta)
    assert end is not None
    record, _ = trained(tmp_path / "stopped", STEPS, stop_when=StopWhen(metric, patience, delta))
    assert (record.status, record.steps, whole.steps) == ("done", end, STEPS)
    rows = [(row["step"], row["split"]) for row in read_metrics(tmp_path / "stopped")]
    assert rows.count((str(end), "val")) == 1
    assert rows[-1] == (str(end), "test")
    weights = [torch.load(of / "checkpoint.ckpt", weights_only=True) for of in (tmp_path / "stopped", plain(end)[1])]
    assert same(weights[0]["state_dict"], weights[1]["state_dict"])


def test_both_together_measure_the_best(whole: Path) -> None:
    record = runs.read(whole)
    assert record.weights["best"]["step"] == record.steps - 6
    assert record.weights["measured"] == "best.ckpt"


# Going on.

BOTH: dict[str, Any] = {"stop_when": StopWhen("loss", 3), "keep_best": "loss"}


def assert_same(whole: Path, second: Path) -> None:
    one, other = (torch.load(folder / "checkpoint.ckpt", weights_only=True) for folder in (whole, second))
    for key in ("state_dict", "optimizer_states"):
        assert same(one[key], other[key])
    for key in ("missed", "best_weights", "validated", "rows"):
        assert same(one[resume.PLACE][key], other[resume.PLACE][key]), key
    assert same(best_file(whole), best_file(second))
    records = [runs.read(folder) for folder in (whole, second)]
    for key in ("steps", "epochs", "best", "weights", "status"):
        assert getattr(records[0], key) == getattr(records[1], key), key
    final = [{key: value for key, value in record.final.items() if not key.startswith("train")} for record in records]
    assert final[0] == final[1]
    rows = [[row for row in read_metrics(folder) if row["split"] != "train"] for folder in (whole, second)]
    assert rows[0] == rows[1]
    np.testing.assert_array_equal(*[runs.read_table(folder, "answers") for folder in (whole, second)])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    record, _ = trained(folder, 60, **BOTH)
    assert record.steps == 14
    return folder


@pytest.mark.parametrize("steps", [1, 6, 7, 13, *(pytest.param(steps, marks=pytest.mark.slow) for steps in (2, 5, 12))])
def test_a_run_goes_on_with_its_best(steps: int, whole: Path, tmp_path: Path) -> None:
    """Also where the last validation of the shorter run, which the longer one has not, was its best."""
    trained(tmp_path / "first", steps, **BOTH)
    trained(tmp_path / "second", 60, seed=7, resume_from=tmp_path / "first", **BOTH)
    assert_same(whole, tmp_path / "second")


ENDS = {
    **{name: end for name, end in HOOKS.items() if name != "in the test"},
    "in a later validation": ("on_validation_batch_start", 12),
    "when a validation is done": ("on_validation_epoch_end", 6),
    "when the best was looked at": ("on_validation_end", 2),
    "in the last validation, of the best": ("on_validation_batch_start", 15),
    "in the test": ("on_test_batch_start", 1),
}
ALIKE = (
    *("before a batch", "before the backward pass", "after a batch", "after an epoch's last batch"),
    "in a validation",
)
"""As `before the update`, or a later validation, for what is kept of the best: `test_resume` tries them too. Slow."""


@pytest.mark.parametrize("end", [pytest.param(end, marks=[pytest.mark.slow] if end in ALIKE else []) for end in ENDS])
def test_a_run_that_was_interrupted_goes_on_with_its_best(end: str, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "first", 60, (Interrupts(*ENDS[end]),), **BOTH)
    assert runs.read(tmp_path / "first").status == "interrupted"
    trained(tmp_path / "second", 60, seed=7, resume_from=tmp_path / "first", **BOTH)
    assert_same(whole, tmp_path / "second")


def test_a_run_that_was_killed_goes_on_with_its_best(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever has become of `best.ckpt` since the checkpoint."""
    monkeypatch.setattr(CheckpointWriter, "EVERY", 0.0)
    trained(tmp_path / "run", 60, (Copies(tmp_path / "run", tmp_path / "killed"),), **BOTH)
    assert runs.read(tmp_path / "killed").status == "running"
    (tmp_path / "killed" / "best.ckpt").write_bytes(b"of a later step")
    trained(tmp_path / "second", 60, seed=7, resume_from=tmp_path / "killed", **BOTH)
    assert_same(whole, tmp_path / "second")


def test_another_metric_begins_anew_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trained(tmp_path / "first", 8, keep_best="loss")
    record, _ = trained(tmp_path / "second", 12, keep_best="accuracy", resume_from=tmp_path / "first")
    assert record.weights["best"]["step"] > 8
    assert "keep_best=accuracy: none were kept by it before step 8" in caplog.text
    record, _ = trained(tmp_path / "third", 12, keep_best=None, resume_from=tmp_path / "first")
    assert record.weights == {"measured": "checkpoint.ckpt"}


def test_the_best_weights_are_no_checkpoint(tmp_path: Path) -> None:
    trained(tmp_path / "first", 4, keep_best="loss")
    with pytest.raises(ResumeError, match=r"best.ckpt does not say where training stood"):
        trained(tmp_path / "second", 8, resume_from=tmp_path / "first" / "best.ckpt")


# What is refused.


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"stop_when": StopWhen("bleu")}, "stop_when"),
        ({"keep_best": "bleu"}, "keep_best"),
        ({"monitor": "bleu"}, "monitor"),
    ],
)
def test_a_metric_that_is_not_measured_is_refused_before_training(
    given: dict[str, Any], key: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=rf"^{key}: given 'bleu', expected one of loss, accuracy"):
        trained(tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


MISTAKES = {
    "stop_when=bleu": "stop_when: given 'bleu', expected one of loss, accuracy, mse",
    "stop_when=val_loss": "stop_when: given 'val_loss', expected one of loss, accuracy, mse (did you mean loss?)",
    "keep_best=acuracy": "keep_best: given 'acuracy', expected one of loss, accuracy, mse (did you mean accuracy?)",
    "stop_when=3": "stop_when: given 3, expected a metric of the validation set, or null",
    "keep_best=true": "keep_best: given True, expected a metric of the validation set, or null",
    "stop_when=loss stop_when_patience=0": "stop_when_patience: given 0, expected an integer >= 1",
    "stop_when=loss stop_when_min_delta=-1": "stop_when_min_delta: given -1, expected a number >= 0",
    "stop_when=loss +trainer.limit_val_batches=0": "stop_when: looks at loss, but trainer.limit_val_batches=0 leaves",
    "keep_best=loss +trainer.limit_val_batches=0": "keep_best: looks at loss, but trainer.limit_val_batches=0 leaves",
}


@pytest.mark.parametrize("typed", MISTAKES)
def test_mistakes_are_one_line(typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = rnn_train(*SMALL, *typed.split(), "hydra.run.dir=run")
    assert (ended.code, ended.out) == (2, "")
    assert len(ended.err.strip().splitlines()) == 1
    assert MISTAKES[typed] in ended.err
    assert not (tmp_path / "run").exists()


def test_the_command_line_gives_all_of_it(tmp_path: Path) -> None:
    typed = ("stop_when=loss", "stop_when_patience=1", "stop_when_min_delta=10", "keep_best=accuracy")
    limits = ("trainer.max_steps=50", "trainer.val_check_interval=2", "trainer.check_val_every_n_epoch=null")
    ended = rnn_train(*SMALL, *typed, *limits, f"hydra.run.dir={tmp_path / 'run'}")
    assert ended.code == 0, ended.err
    record = runs.read(tmp_path / "run")
    assert record.steps == 4
    assert record.weights["best"]["metric"] == "accuracy"
    assert "training ends at step 4: val_loss got no better" in (tmp_path / "run" / "run.log").read_text()
    assert "the best, best.ckpt: step " in show(tmp_path / "run")


def show(folder: Path) -> str:
    from rnn_research.compare.single import single
    from rnn_research.report.single import show_text

    return show_text(single(folder), 3)
