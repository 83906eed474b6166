"""An option that does nothing, or something else than it says, is said before training; or it is refused."""

from __future__ import annotations

import inspect
from functools import partial
from pathlib import Path

import pytest
from command import SMALL, Ended, last, rnn_train
from lightning.pytorch import Trainer

from rnn_research.cells import LSTM
from rnn_research.cells import initialisation as init
from rnn_research.config.build import build
from rnn_research.config.compose import Composer
from rnn_research.config.groups import REFUSED as ELSEWHERE
from rnn_research.config.instantiate import LATER
from rnn_research.config.notices import log, overwritten
from rnn_research.config.trainer_refused import FREE, REFUSED, check_meaning
from rnn_research.records import runs

SAYS = {
    "trainer.precision=16-mixed": "trainer.precision=16-mixed: on this device it is bf16-mixed",
    "model=lstm init=[forget_bias,basic_tanh]": "init=forget_bias: has no effect, basic_tanh after it",
    "model.dropout=0.5": "model.dropout=0.5: does nothing, since it acts between layers",
    "model.embedding_size=9": "model.embedding_size=9: does nothing, since the data are no tokens",
    "model.match_parameters=22": "model.match_parameters=22: not reached, the nearest is",
    "dataset.bucket=true": "dataset.bucket=true: saves nothing, since samples are of one size",
    "probe.adjoint.first=false probe.adjoint.last=false": "probe.adjoint.every_n_steps=100: measures nothing",
    "regularizer=orthogonality regularizer.weight=0": "regularizer=orthogonality: its weight is 0",
    "optimizer=sgd +optimizer.dampening=0.5": "optimizer.dampening=0.5: does nothing without momentum",
    "regularizer=omega regularizer.alpha=0": "regularizer=omega: its alpha is 0",
    "model.frame_features=9": "model.frame_features=9: does nothing, since the data are no images",
    "scheduler=step scheduler.every_n_steps=3": "scheduler.every_n_steps=3: does nothing, since the run ends before",
    "optimizer.lr=0": "optimizer.lr=0: nothing is learnt",
    "init=[orthogonal,default]": "init=default: has no effect, it changes no weight",
    "dataset=copy_tokens clipping=tbptt clipping.k1=4": "clipping=tbptt: cuts the encoder and the decoder each into",
}


def said(ended: Ended) -> list[str]:
    """The lines beside the bar."""
    return [text for text in ended.err.splitlines() if text.startswith("rnn-train: ")]


def test_each_is_noticed_where_a_run_is_built(caplog: pytest.LogCaptureFixture) -> None:
    for given, line in SAYS.items():
        caplog.clear()
        build(Composer().run(last([*SMALL, *given.split()])).task)
        found = [record.getMessage() for record in caplog.records if record.name == log.name]
        assert [text.startswith(line) for text in found] == [True], (given, found)


def test_it_is_said_in_one_line_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert said(rnn_train(*SMALL, "trainer.max_steps=1", "hydra.run.dir=plain")) == []
    given, line = next(iter(SAYS.items()))
    ended = rnn_train(*SMALL, "trainer.max_steps=1", given, "hydra.run.dir=run")
    assert ended.code == 0, ended.err
    assert [text.startswith(f"rnn-train: {line}") for text in said(ended)] == [True], ended.err
    assert line in (tmp_path / "run" / "run.log").read_text()


def test_the_record_tells_what_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    more = ("trainer.max_steps=1", "trainer.precision=16-mixed", "model.match_parameters=500", "model.num_layers=2")
    assert rnn_train(*SMALL, *more, "hydra.run.dir=run").code == 0
    record = runs.read(tmp_path / "run")
    assert record.actual["precision"] == "bf16-mixed"
    assert record.actual["hidden_sizes"] != [4, 4]
    assert len(record.actual["hidden_sizes"]) == 2


@pytest.mark.parametrize(
    ("names", "idle"),
    [
        (["forget_bias", "basic_tanh"], ["forget_bias"]),
        (["basic_tanh", "forget_bias"], []),
        (["orthogonal", "gaussian", "identity"], ["orthogonal", "gaussian"]),
        (["chrono", "forget_bias"], []),
        (["forget_bias", "chrono"], ["forget_bias"]),
        (["scaled"], ["scaled"]),
        (["default"], []),
        (["basic_tanh", "orthogonal"], []),
    ],
)
def test_what_is_overwritten(names: list[str], idle: list[str]) -> None:
    given = {name: partial(getattr(init, name)) for name in names}
    found = list(overwritten(LSTM(input_size=2, hidden_size=3), given))
    assert [line.partition(":")[0] for line in found] == [f"init={name}" for name in idle]


# Lightning's arguments.


def test_every_argument_of_the_trainer_is_known() -> None:
    """A new one of lightning's is looked at before it is let through."""
    elsewhere = {key.removeprefix("trainer.") for key in ELSEWHERE} | LATER["trainer"]
    assert set(inspect.signature(Trainer).parameters) == set(REFUSED) | FREE | elsewhere


WRONG = {
    "overfit_batches=1": "lightning would take other batches each epoch",
    "overfit_batches=0.5": "lightning would take other batches each epoch",
    "reload_dataloaders_every_n_epochs=1": "a loader made anew",
    "sync_batchnorm=true": "one device",
    "limit_predict_batches=1": "would do nothing",
}


@pytest.mark.parametrize("given", WRONG)
def test_what_would_mislead_is_refused(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = rnn_train(*SMALL, f"+trainer.{given}")
    assert ended.code == 2
    assert ended.err.startswith(f"rnn-train: trainer.{given.partition('=')[0]}: given ")
    assert WRONG[given] in ended.err
    assert ended.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_values_that_change_nothing_are_taken() -> None:
    check_meaning({key: values[0] for key, (values, _) in REFUSED.items()})
    with pytest.raises(ValueError, match=r"^val_check_interval: given '00:01:00', a time by the clock"):
        check_meaning({"val_check_interval": "00:01:00"})


def test_beside_a_refusal_nothing_else_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does something else than it says may be noticed before what can't be had."""
    monkeypatch.chdir(tmp_path)
    ended = rnn_train(*SMALL, "trainer.precision=16-mixed", "clipping=h_detach")
    assert ended.code == 2
    assert ended.err.startswith("rnn-train: clipping=h_detach: leaves the path through c")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("value", [1, 2, 3])
def test_an_initialisation_that_sets_the_same_numbers_again_acts(value: int) -> None:
    """The cell that is looked at has been initialised already."""
    own = partial(init.forget_bias, value=value)
    assert list(overwritten(LSTM(2, 4, initialise=(own,)), {"forget_bias": own})) == []
