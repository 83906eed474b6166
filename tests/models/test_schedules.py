"""Learning-rate schedules against their closed forms, in live runs; and what is refused."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from command import SMALL, rnn_train
from lightning.pytorch import Callback, Trainer
from small import SEQUENCES, Given, model_of, run, sequences

import rnn_research.training.fit
from rnn_research.models.schedules import (
    CosineSchedule,
    NoSchedule,
    PlateauSchedule,
    RateSchedule,
    StepSchedule,
    WarmupSchedule,
)
from rnn_research.records.metrics_file import read_metrics

LR = 0.5
STEPS = 12


class Rates(Callback):
    """The rate of each update."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_before_optimizer_step(self, trainer: Trainer, model: Any, optimizer: Any) -> None:  # type: ignore[override]
        self.seen.append(optimizer.param_groups[0]["lr"])


def rates(schedule: RateSchedule | None, folder: Path, batches: int = 1, **limits: Any) -> list[float]:
    """In epochs of 5 batches of 4, and of one where nothing is learnt from."""
    data = Given(SEQUENCES, {"train": sequences(20), "val": sequences(4, seed=1), "test": sequences(4, seed=2)})
    model = model_of(data, optimizer=partial(torch.optim.SGD, lr=LR), scheduler=schedule)
    seen = Rates()
    given = {"max_steps": STEPS, "max_epochs": -1, "accumulate_grad_batches": batches} | limits
    run(data, model, folder, callbacks=(seen,), **given)
    return seen.seen


def cosine(done: int, steps: int, low: float) -> float:
    return low + (LR - low) * (1 + math.cos(math.pi * min(done, steps) / steps)) / 2


CLOSED: dict[str, tuple[RateSchedule | None, Callable[[int], float]]] = {
    "not given": (None, lambda n: LR),
    "none": (NoSchedule(), lambda n: LR),
    "step": (StepSchedule(5, 0.3), lambda n: LR * 0.3 ** (n // 5)),
    "cosine over the run": (CosineSchedule(min_lr=0.1), lambda n: cosine(n, STEPS, 0.1)),
    "cosine over fewer steps": (CosineSchedule(8), lambda n: cosine(n, 8, 0.0)),
    "warmup": (WarmupSchedule(5), lambda n: LR * min(1.0, (n + 1) / 5)),
    "warmup of one": (WarmupSchedule(1), lambda n: LR),
    "warmup, then cosine": (
        WarmupSchedule(5, "cosine", min_lr=0.1),
        lambda n: LR * (n + 1) / 5 if n < 5 else cosine(n - 4, STEPS - 4, 0.1),
    ),
    "warmup, then cosine over fewer": (
        WarmupSchedule(3, "cosine", 9),
        lambda n: LR * (n + 1) / 3 if n < 3 else cosine(n - 2, 7, 0.0),
    ),
}


@pytest.mark.parametrize(
    ("case", "batches"),
    [  # each by one number of batches, and one that changes at each update by all; the others are slow
        pytest.param(
            case, 1 + number, marks=[] if place % 3 == number or case == "warmup, then cosine" else [pytest.mark.slow]
        )
        for place, case in enumerate(CLOSED)
        for number in range(3)
    ],
)
def test_rates_are_those_of_the_closed_form(case: str, batches: int, tmp_path: Path) -> None:
    """Counted in updates: accumulated batches, the last of an epoch fewer, are one."""
    schedule, formula = CLOSED[case]
    found = rates(schedule, tmp_path, batches, check_val_every_n_epoch=STEPS)
    assert found == pytest.approx([formula(n) for n in range(STEPS)], rel=1e-12, abs=1e-15)


def test_the_run_s_length_may_come_from_its_epochs(tmp_path: Path) -> None:
    found = rates(CosineSchedule(), tmp_path, 2, max_steps=-1, max_epochs=4)
    assert found == pytest.approx([cosine(n, 12, 0.0) for n in range(12)], rel=1e-12)


@pytest.mark.parametrize("case", ["step", "cosine over the run", "warmup, then cosine"])
def test_lightning_s_own_loop_gives_the_same(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = rates(CLOSED[case][0], tmp_path / "ours", 2, check_val_every_n_epoch=STEPS)
    monkeypatch.setattr(rnn_research.training.fit, "make_lean", lambda trainer: None)
    assert rates(CLOSED[case][0], tmp_path / "theirs", 2, check_val_every_n_epoch=STEPS) == ours


def test_rates_are_seen_in_metrics_csv(tmp_path: Path) -> None:
    """The one that the next update takes, as step s is the state after s updates; and no column where none changes."""
    rates(CLOSED["step"][0], tmp_path / "step", log_every_n_steps=1)
    rows = read_metrics(tmp_path / "step")
    assert {row["split"] for row in rows} == {"train", "val", "test"}
    for row in rows:
        assert float(row["lr"]) == pytest.approx(CLOSED["step"][1](int(row["step"])), rel=1e-12)
    rates(None, tmp_path / "none")
    with (tmp_path / "none" / "metrics.csv").open() as file:
        assert next(csv.reader(file)) == ["step", "epoch", "split", "loss", "accuracy"]


@pytest.mark.parametrize(("metric", "sign"), [("loss", 1), ("accuracy", -1)])
def test_a_plateau_is_torch_s_own_over_the_validations(metric: str, sign: int, tmp_path: Path) -> None:
    """By a loop that counts bad validations itself."""
    schedule = PlateauSchedule(metric, factor=0.5, patience=1, threshold=0.01, min_lr=0.1)
    rates(schedule, tmp_path, max_steps=16, log_every_n_steps=1, val_check_interval=1)
    rows = read_metrics(tmp_path)
    rate, best, bad = LR, math.inf * sign, 0
    expected = {0: rate}
    for row in rows:
        if row["split"] == "val":
            value = float(row[metric])
            better = value < best * 0.99 if sign == 1 else value > best * 1.01
            best, bad = (value, 0) if better else (best, bad + 1)
            if bad > 1:
                rate, bad = max(0.1, rate * 0.5), 0
            expected[int(row["step"])] = rate
    found = {int(row["step"]): float(row["lr"]) for row in rows if row["split"] == "train"}
    assert {LR, 0.1} < set(found.values())
    assert all(found[step] == expected[step - 1] for step in found if step < 16)


def test_a_metric_that_is_not_measured_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^scheduler.metric: given 'acuracy', expected one of loss, accuracy \(did"):
        rates(PlateauSchedule("acuracy"), tmp_path)
    assert list(tmp_path.iterdir()) == []


REFUSED = {
    "scheduler=plateau scheduler.metric=bleu": "scheduler.metric: given 'bleu', expected one of loss, accuracy",
    "scheduler=cosin": "scheduler: given 'cosin'",
    "scheduler=step scheduler.gamma=0": "scheduler.gamma: given 0, expected a number > 0",
    "scheduler=step scheduler.every_n_steps=0": "scheduler.every_n_steps: given 0, expected an integer >= 1",
    "scheduler=plateau scheduler.factor=1": "scheduler.factor: given 1.0, which changes nothing",
    "scheduler=plateau scheduler.patience=-1": "scheduler.patience: given -1, expected an integer >= 0",
    "scheduler=warmup scheduler.then=linear": "scheduler.then: given 'linear', expected one of constant, cosine",
    "scheduler=warmup scheduler.steps=50": "scheduler.steps: given 50, expected more than warmup_steps=100",
    "scheduler=cosine scheduler.min_lr=-1": "scheduler.min_lr: given -1, expected a number >= 0",
    "scheduler=cosine scheduler.warmup_steps=3": "scheduler.warmup_steps",
    "scheduler=cosine trainer.max_steps=-1 +trainer.max_time=00:00:00:09": "scheduler: goes over the run's steps",
    "scheduler._target_=torch.optim.lr_scheduler.StepLR": "scheduler._target_: given 'torch.optim.lr_scheduler.StepLR'",
}


@pytest.mark.parametrize("typed", REFUSED)
def test_mistakes_are_one_line(typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = rnn_train(*SMALL, *typed.split(), "hydra.run.dir=run")
    assert (ended.code, ended.out) == (2, "")
    assert len(ended.err.strip().splitlines()) == 1
    assert REFUSED[typed] in ended.err
    assert not (tmp_path / "run").exists()
