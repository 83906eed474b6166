"""A config is checked before anything of it is built."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest
import torch
from composed import composed
from omegaconf import OmegaConf, open_dict
from small import SEQUENCES, Given, sequences

from rnn_research.cells import RNN
from rnn_research.config import build as building
from rnn_research.config import estimate
from rnn_research.config.build import build, check, construct
from rnn_research.config.compose import Composer
from rnn_research.config.sizes import sizes_of
from rnn_research.datasets.adding import Adding
from rnn_research.errors import UsageError
from rnn_research.structures import SampleArrays

SMALL = ("model.cell.hidden_size=3", "dataset=temporal_order", "dataset.train_size=8", "trainer.max_steps=1")
MISTAKES = {
    "+regularise=1": "regularise: unknown, expected one of model, dataset, ",
    "seed=-1": "seed: given -1, expected an integer from 0 to ",
    "engine=fast": "engine: given 'fast', expected one of ",
    "+model.cell.gates=3": "model.cell.gates: unknown, expected one of ",
    "+dataset.sise=3": "dataset.sise: unknown, expected one of ",
    "+structure.deep=3": "structure.deep: unknown, expected ",
    "+model.layers=3": "model.layers: unknown, expected one of ",
    "+optimizer.rate=3": "optimizer.rate: unknown, expected ",
    "optimizer.lr=-1": "optimizer.lr: given -1, expected a number >= 0",
    "trainer.accelerator=tpu": "trainer.accelerator: given 'tpu', expected one of ",
    "+trainer.plugins=[1]": "trainer.plugins: given [1], not supported: ",
    "trainer.max_steps=0": "trainer: given a limit of 0, which trains nothing",
    "model._target_=os.system": "model._target_: given 'os.system', expected a class of ",
}


@pytest.mark.parametrize("override", MISTAKES)
def test_a_mistake_is_said_before_anything_is_built(override: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `check` as by `build`, with the same words."""
    cfg = composed(*SMALL, override)
    monkeypatch.setattr(building, "construct", lambda _: pytest.fail("something was built"))
    said = []
    for checked in (check, build):
        with pytest.raises(UsageError) as refused:
            checked(cfg)
        said.append(str(refused.value))
    assert said[0].startswith(MISTAKES[override])
    assert said[0] == said[1]


@pytest.mark.parametrize("value", [["a"], "x", 5])
@pytest.mark.parametrize("group", ["probe", "logger", "init", "regularizer", "optimizer", "clipping"])
def test_a_group_that_is_no_mapping_is_told(group: str, value: Any) -> None:
    """As a stranger's queue may have it."""
    cfg = Composer().run(["dataset=adding"]).task
    with open_dict(cfg):
        cfg[group] = value
    with pytest.raises(UsageError, match=rf"^{group}: given .*, expected one of its options"):
        check(cfg)


def test_an_optimizer_without_a_class_is_told() -> None:
    cfg = Composer().run(["dataset=adding"]).task
    with open_dict(cfg):
        cfg.optimizer = {"a": {}}
    with pytest.raises(UsageError, match=r"^optimizer: given .*, expected a mapping with a _target_"):
        check(cfg)


def test_what_is_checked_is_what_is_made() -> None:
    """Interpolations are resolved once, and the config that was given is left as it is."""
    cfg = composed(*SMALL, "model.cell.hidden_size=${dataset.batch_size}", "dataset.batch_size=5")
    before = OmegaConf.to_yaml(cfg, resolve=False)
    checked = check(cfg)
    assert checked.model.cell.hidden_size == 5
    assert OmegaConf.to_yaml(cfg, resolve=False) == before
    assert construct(checked).model.cells[0].hidden_size == 5


def test_a_busy_machine_refuses_no_data_that_a_quiet_one_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """While others have the core, a sample takes long to be made, and this process computes nothing."""
    data = Adding(length=10)
    samples = data.samples("train")
    make = samples.make
    monkeypatch.setattr(samples, "make", lambda random, count: time.sleep(0.2) or make(random, count))
    assert 3 * samples.BLOCK * 0.2 > estimate.PATIENCE
    estimate.check_data(data)


@pytest.mark.parametrize("samples", [sequences(4, (30, 30)), SampleArrays.of(sequences(4, (30, 30)))])
def test_a_step_is_estimated_with_the_samples_that_are_there(samples: Any) -> None:
    """Also of data that no option makes so long."""
    data, cell, slow = Given(SEQUENCES, samples), partial(RNN, hidden_size=10**4), partial(torch.optim.SGD, lr=0.1)
    found = sizes_of({"num_layers": 1}, cell, 1, data, slow, "32")
    assert found is not None
    assert (found.batch, found.longest) == (4, 30)


def test_samples_that_are_none_are_left_to_the_check() -> None:
    data = Given(SEQUENCES, [3, 4])  # type: ignore[list-item]
    data.checked = False
    found = sizes_of({"num_layers": 1}, partial(RNN, hidden_size=4), 1, data, partial(torch.optim.SGD, lr=0.1), "32")
    assert found is not None
    assert found.longest == 0


@pytest.mark.parametrize("key", building.ELSEWHERE)
def test_a_loggers_files_lie_in_its_runs_folder(key: str) -> None:
    """Said before the logger is made: some make their folder at once."""
    with pytest.raises(UsageError, match=rf"^logger\.wandb\.{key}: can't be set"):
        building._loggers(OmegaConf.create({"wandb": {key: "/somewhere"}}))
