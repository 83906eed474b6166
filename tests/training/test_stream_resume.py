"""A language model that is stopped within an epoch goes on with the states that its streams had there, bit for bit."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer

from rnn_research.cells import LSTM
from rnn_research.clipping.none import NoClipping
from rnn_research.datasets.text.language import Text
from rnn_research.models import Model
from rnn_research.probes.adjoint import Adjoint
from rnn_research.records import runs
from rnn_research.training import resume
from rnn_research.training.fit import RunSpec, fit
from rnn_research.training.resume import ResumeError


class Stops(Callback):
    """Ctrl-C after the forward pass of one batch, counted in all epochs: its states are carried, and the step is not
    done."""

    def __init__(self, batch: int) -> None:
        self.left = batch

    def on_before_backward(self, *rest: Any) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


def trained(
    text: Path, folder: Path, steps: int, earlier: Path | None = None, stop: int | None = None, **options: Any
) -> runs.RunRecord:
    """An epoch has 9 batches: 27 steps for each of 3 streams of 87."""
    batches = options.pop("batches", 1)
    data = Text(str(text), batch_size=3, window=10, val_fraction=0.1, test_fraction=0.2, **options)
    torch.manual_seed(0)
    optimizer = partial(torch.optim.Adam, lr=0.01)
    sizes: dict[str, Any] = {"num_layers": 2, "dropout": 0.5, "embedding_size": 3, "position_targets": True}
    model = Model(data.task, partial(LSTM, hidden_size=4), optimizer, NoClipping(), **sizes)
    limits: dict[str, Any] = {"accelerator": "cpu", "max_epochs": -1, "max_steps": steps, "log_every_n_steps": 3}
    extra = [] if stop is None else [Stops(stop)]

    def make(callbacks: list[Any], **more: Any) -> Trainer:
        return Trainer(callbacks=[*callbacks, *extra], accumulate_grad_batches=batches, **limits, **more)

    return fit(data, model, make, {"adjoint": Adjoint(2, last=False)}, RunSpec(folder, resume_from=earlier))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("".join(np.random.default_rng(0).choice(list("abcd"), 374)))
    return path


@pytest.fixture(scope="module")
def whole(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int], Path]:
    """The folder of the run that nothing stopped, of so many steps of so many batches: made once."""

    @functools.cache
    def of(steps: int, batches: int) -> Path:
        folder = tmp_path_factory.mktemp("whole") / "run"
        trained(text, folder, steps, batches=batches)
        return folder

    return of


def assert_same(whole: Path, resumed: Path, rows: bool = True) -> None:
    one, other = (torch.load(folder / "checkpoint.ckpt", weights_only=True) for folder in (whole, resumed))
    for name, value in one["state_dict"].items():
        assert torch.equal(value, other["state_dict"][name]), name
    carried = [place[resume.PLACE]["carried"] for place in (one, other)]
    assert [len(layer) for layer in carried[0]] == [2, 2]  # layers, each with h and c
    for layers in zip(*carried, strict=True):
        for parts in zip(*layers, strict=True):
            assert torch.equal(*parts)
    assert not rows or (whole / runs.METRICS).read_text() == (resumed / runs.METRICS).read_text()
    for name in ("adjoint", "clipping", "answers"):
        np.testing.assert_array_equal(runs.read_table(whole, name), runs.read_table(resumed, name))
    final = [
        {key: value for key, value in runs.read(folder).final.items() if rows or not key.startswith("train_")}
        for folder in (whole, resumed)
    ]
    assert final[0] == final[1]


@pytest.mark.parametrize("stops", [9, 13, *(pytest.param(stops, marks=pytest.mark.slow) for stops in (1, 4))])
def test_stopped_by_a_limit(stops: int, text: Path, whole: Callable[[int, int], Path], tmp_path: Path) -> None:
    trained(text, tmp_path / "first", stops)
    trained(text, tmp_path / "second", 15, tmp_path / "first")
    assert_same(whole(15, 1), tmp_path / "second")


@pytest.mark.parametrize(("batches", "stop"), [(1, 5), (2, 7), pytest.param(2, 8, marks=pytest.mark.slow), (3, 11)])
def test_interrupted_within_a_step(
    batches: int, stop: int, text: Path, whole: Callable[[int, int], Path], tmp_path: Path
) -> None:
    """The step is taken anew, with the batches that it had accumulated: from the states before them."""
    with pytest.raises(KeyboardInterrupt):
        trained(text, tmp_path / "first", 7, stop=stop, batches=batches)
    trained(text, tmp_path / "second", 7, tmp_path / "first", batches=batches)
    assert_same(whole(7, batches), tmp_path / "second", rows=False)  # the tally of train begins anew, as for any data


def test_independent_windows_go_on_as_well(text: Path, tmp_path: Path) -> None:
    trained(text, tmp_path / "whole", 12, stateful=False)
    trained(text, tmp_path / "first", 5, stateful=False)
    trained(text, tmp_path / "second", 12, tmp_path / "first", stateful=False)
    assert (tmp_path / "whole" / runs.METRICS).read_text() == (tmp_path / "second" / runs.METRICS).read_text()


def test_another_order_of_batches_is_refused(text: Path, tmp_path: Path) -> None:
    trained(text, tmp_path / "first", 2)
    with pytest.raises(ResumeError, match="stateful False"):
        trained(text, tmp_path / "second", 4, tmp_path / "first", stateful=False)
