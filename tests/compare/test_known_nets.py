"""From the command line to the printed table: nets whose gradient algebra knows get the rate, half-life, horizon and
word that algebra gives."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from command import rnn_train

from benchmarks import forget_bias
from rnn_research.cli.compare import main

LENGTH = 300
SMALL = (
    "dataset=adding",
    f"dataset.length={LENGTH}",
    "dataset.train_size=8",
    "dataset.val_size=4",
    "dataset.test_size=4",
    "dataset.batch_size=8",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=-1",
    "trainer.max_steps=1",
    "engine=torch",
    "model.cell.hidden_size=8",
)
USERS = '''
"""Nets whose gradient is known."""

from typing import NamedTuple

from torch import Tensor

from rnn_research.cells import Cell


def shut(cell, value=4.0):
    """A GRU whose update gate lets sigmoid(value) of the old state through, whatever it reads."""
    for parameter in cell.parameters():
        parameter.zero_()
    cell.bias_ih.view(3, -1)[1].fill_(value)


class Line(NamedTuple):
    hidden: Tensor
    one: Tensor
    two: Tensor
    three: Tensor
    four: Tensor
    five: Tensor
    six: Tensor
    seven: Tensor
    eight: Tensor
    nine: Tensor


class Skip(Cell):
    """h = W x + gain h' of ten steps before, which the other parts carry."""

    state_type = Line

    def __init__(self, *arguments, gain=0.9, **options):
        super().__init__(*arguments, **options)
        self.gain = gain

    def step(self, projected, *previous):
        before = self.summed(projected, previous)
        return Line(projected + self.gain * before.nine, *(1.0 * part for part in before[:-1]))
'''
SHUT = "# a shut update gate\nshut:\n  _target_: known.shut\n  _partial_: true\n  value: 4.0\n"
SKIP = (
    "# a skip of ten steps\ndefaults: [_model, _self_]\ncell:\n  _target_: known.Skip\n  _partial_: true\n"
    "  hidden_size: 8\n  gain: 0.9\n"
)


def table(folder: Path, capsys: pytest.CaptureFixture) -> dict[str, dict[str, str]]:
    """What `rnn-compare` prints of the gradient, by the first column's value and then by title."""
    assert main([str(folder), "--no-figures"]) == 0
    blocks = capsys.readouterr().out.split("\n\n")
    found: dict[str, dict[str, str]] = {}
    for title in ("GRADIENT", "ON THE WAY"):
        (at,) = [number for number, block in enumerate(blocks) if block.startswith(title)]
        head, *rows = [re.split("  +", line.strip()) for line in blocks[at + 1].splitlines()]
        for row in rows:
            found.setdefault(row[0], {}).update(zip(head, row, strict=True))
    return found


def trained(*options: str) -> None:
    ended = rnn_train("-m", *SMALL, *options, "hydra.sweep.dir=runs")
    assert ended.code == 0, ended.err


def check(row: dict[str, str], rate: float, tolerance: float = 1e-3) -> None:
    """That the row is of n(d) = exp(rate (d - 1)) over distances 1 to 299."""
    assert row["law"] == "exponential"
    assert float(row["rate [95%]"].split()[0]) == pytest.approx(rate, rel=tolerance, abs=2e-6)
    log = rate * (LENGTH - 2)
    word, *_ = row["step 0"].split()
    bounds = {"vanishes": math.log(0.01), "weakens": math.log(0.5), "keeps": math.log(2), "grows": math.log(100)}
    assert word == next((name for name, bound in bounds.items() if log <= bound), "explodes")
    assert f"over {LENGTH - 2}" in row["step 0"]
    if abs(rate) < 1e-6:
        assert row["half-life"] == "–"
    else:
        half_life = float(row["half-life"].removeprefix("×2 in "))
        assert half_life == pytest.approx(math.log(2) / abs(rate), rel=0.05)
        assert row["half-life"].startswith("×2") == (rate > 0)
    horizon = 2 + math.floor(math.log(0.01) / rate) if rate < 0 else LENGTH
    if horizon < LENGTH:
        assert float(row["horizon"]) == pytest.approx(horizon, abs=max(1, tolerance * horizon))
    else:
        assert row["horizon"] == f"> {LENGTH - 1}"
    if row["far ratio [95%]"].startswith("<"):
        assert log < math.log(1e-34)
    else:
        assert math.log(float(row["far ratio [95%]"].split()[0])) == pytest.approx(log, rel=tolerance, abs=0.08)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mine(tmp_path: Path) -> str:
    """A config-dir with a cell and an initialisation of a user's own."""
    folder = tmp_path / "mine"
    for name, text in (("known.py", USERS), ("init/shut.yaml", SHUT), ("model/skip.yaml", SKIP)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return str(folder)


def test_an_lstm_forgets_by_the_sigmoid_of_its_bias(capsys: pytest.CaptureFixture):
    # Without weights the forget gate is sigmoid(b) and the cell the only way back; hidden falls to zero at once.
    trained("model=lstm", "init=[basic_tanh,forget_bias]", "init.basic_tanh.scale=0",
            "init.forget_bias.value=-3,0,3,5")  # fmt: skip
    rows = table(Path("runs"), capsys)
    assert list(rows) == ["-3", "0", "3", "5"]
    for bias, row in rows.items():
        check(row, -math.log1p(math.exp(-float(bias))))


def test_a_shut_gru_gate_forgets_by_its_sigmoid(mine: str, capsys: pytest.CaptureFixture):
    trained("--config-dir", mine, "model=gru", "init=shut", "init.shut.value=2,6")
    for value, row in table(Path("runs"), capsys).items():
        check(row, -math.log1p(math.exp(-float(value))))


def test_an_orthogonal_linear_net_has_its_gain(capsys: pytest.CaptureFixture):
    trained("model=linear", "init=orthogonal", "init.orthogonal.gain=0.95,1,1.05")
    for gain, row in table(Path("runs"), capsys).items():
        check(row, math.log(float(gain)))


def test_an_irnn_keeps_what_its_scale_keeps(capsys: pytest.CaptureFixture):
    trained("model=rnn", "model.cell.nonlinearity=relu", "init=identity", "init.identity.scale=0.98,1",
            "init.identity.input_scale=0.1")  # fmt: skip
    for scale, row in table(Path("runs"), capsys).items():
        rate = math.log(float(scale))  # relu lets half of the units through or all, and never more than the scale
        found = float(row["rate [95%]"].split()[0])
        assert rate - 0.004 < found <= rate + 1e-5
        assert row["step 0"].startswith("vanishes over 298" if rate else "keeps")


def test_a_skip_of_ten_steps_keeps_for_ten_what_each_step_would_lose(mine: str, capsys: pytest.CaptureFixture):
    trained("--config-dir", mine, "model=skip", "engine=reference", "model.cell.gain=0.9,1")
    for gain, row in table(Path("runs"), capsys).items():
        check(row, math.log(float(gain)) / 10, tolerance=0.02)


def test_a_random_tanh_net_grows_by_its_largest_lyapunov_exponent(capsys: pytest.CaptureFixture):
    # Mean-field values of infinite nets; of 200 units that are driven it is lower, most near the edge of chaos.
    trained("model=rnn", "init=gaussian", "init.gaussian.gain=1.5,3", "model.cell.hidden_size=200")
    rows = table(Path("runs"), capsys)
    rates = {gain: float(row["rate [95%]"].split()[0]) for gain, row in rows.items()}
    assert 0.0652 - 0.045 < rates["1.5"] < 0.0652 + 0.01
    assert 0.3119 - 0.03 < rates["3"] < 0.3119 + 0.01
    assert all(row["step 0"].startswith("explodes") for row in rows.values())
    assert all(row["law"] == "exponential" for row in rows.values())


def test_the_experiment_shows_the_time_scale_of_algebra_beside_the_measured_one(capsys: pytest.CaptureFixture):
    trained("experiment=forget_bias", "init.forget_bias.value=0,3", "init.scaled.gain=0", "seed=0")
    forget_bias.main(["runs"])
    head, *lines = [re.split("  +", line.strip()) for line in capsys.readouterr().out.splitlines()]
    assert head[:5] == ["gain", "bias", "tau", "measured", "gates"]
    assert len(lines) == 2
    for gain, bias, tau, measured, gates, *_ in lines:
        assert float(tau) == pytest.approx(1 / math.log1p(math.exp(-float(bias))), rel=0.01)
        assert float(gates) == pytest.approx(float(tau), rel=0.1)
        assert gain == "0"
        assert float(measured) == pytest.approx(float(tau), rel=0.25)
