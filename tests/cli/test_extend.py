"""A user's own options, from a folder: one file and one yaml each; and what a stranger's config can't do."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from folders import SOME_OR_EVERY
from forked import Forked

from rnn_research.cli import train
from rnn_research.records import runs

ROOT = Path(__file__).parents[2]

FOLDER = {
    "mgu.py": '''
import torch

from rnn_research.cells import Cell, Hidden


class MGU(Cell):
    """The minimal gated unit (Zhou et al. 2016): h = (1 - z) h' + z tanh(W x + U (z h') + b)."""

    gates = ("z", "n")
    bounds = {"z": (0.0, 1.0), "n": (-1.0, 1.0)}

    def activations(self, projected, *previous):
        hidden = self.summed(projected, previous).hidden
        rows = self.weight_hh.chunk(2)
        z = torch.sigmoid(projected[:, : self.hidden_size] + hidden @ rows[0].T)
        return {"z": z, "n": torch.tanh(projected[:, self.hidden_size :] + (z * hidden) @ rows[1].T)}

    def step(self, projected, *previous):
        gate, hidden = self.activations(projected, *previous), self.summed(projected, previous).hidden
        return Hidden((1 - gate["z"]) * hidden + gate["z"] * gate["n"])
''',
    "model/mine.yaml": """
# minimal gated unit (Zhou et al. 2016)
defaults:
  - _model
  - _self_
cell:
  _target_: mgu.MGU
  _partial_: true
  hidden_size: 8
  bias: false
""",
    "parity.py": '''
import numpy as np

from rnn_research.datasets.base import DataModule, Task
from rnn_research.structures import Sample


class Parity(DataModule):
    """Is the number of ones odd?"""

    def __init__(self, length=6, batch_size=32):
        super().__init__(batch_size)
        self.length = length

    def load(self):
        numbers = np.arange(2**self.length)
        bits = (numbers[:, None] >> np.arange(self.length)) % 2
        samples = [Sample(row[:, None].astype(np.float32), int(row.sum() % 2)) for row in bits]
        splits = {"train": samples[::2], "val": samples[1::4], "test": samples[3::4]}
        return Task("classification", input_size=1, output_size=2), splits
''',
    "dataset/mine.yaml": """
# is the number of ones odd?
_target_: parity.Parity
length: 6
batch_size: 8
""",
    "mean.py": '''
from rnn_research.models.architectures import Label


class Mean(Label):
    """o = W_o m + b_o, with m the mean of the top layer's hidden states, times `gain`."""

    def __init__(self, blueprint, gain=1.0):
        super().__init__(blueprint)
        self.gain = gain

    def answers(self, net, batch, unrolled):
        lengths = batch.structure.mask.sum(1, keepdim=True)
        return net.readout(self.gain * unrolled.hidden.sum(1) / lengths)
''',
    "architecture/mine.yaml": """
# a label read from the mean of all states
_target_: mean.Mean
_partial_: true
gain: 1.0
""",
    "normalised.py": '''
import torch

from rnn_research.clipping.base import Clipping, global_norm, scale


class Normalised(Clipping):
    """g <- g / ||g||."""

    def __init__(self, norm=1.0):
        super().__init__()
        self.norm = norm

    def forward(self, parameters):
        before = global_norm(parameters)
        coefficient = torch.where(before == 0, torch.ones_like(before), self.norm / before)
        for parameter in parameters:
            scale(parameter, coefficient)
        return coefficient
''',
    "clipping/mine.yaml": """
# the gradient's direction alone
_target_: normalised.Normalised
norm: 1.0
""",
    "weights.py": '''
from rnn_research.probes.base import Probe


class Weights(Probe):
    """The norm of each layer's U."""

    def measure(self, observation):
        norms = [float(cell.weight_hh.norm()) for cell in observation.cells]
        return {"layer": list(range(len(norms))), "recurrent": norms}
''',
    "probe/mine.yaml": """
# the norm of each layer's U
mine:
  _target_: weights.Weights
  every_n_steps: 1
  first: true
  last: true
""",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("options")
    for name, text in FOLDER.items():
        (made / name).parent.mkdir(exist_ok=True)
        (made / name).write_text(text.lstrip(), encoding="utf-8")
    return made


def test_one_file_and_one_yaml_each_are_enough(folder: Path, tmp_path: Path) -> None:
    groups = ("model", "dataset", "architecture", "clipping")
    options = [*(f"{group}=mine" for group in groups), "architecture.gain=2.0"]
    limits = ["probe=[adjoint,mine]", "trainer.max_steps=3", "hydra.run.dir=out"]
    process = Forked(train.main, ["--config-dir", str(folder), *options, *limits], folder=tmp_path)
    _, said = process.communicate(timeout=250)
    assert process.returncode == 0, said.decode()
    record = runs.read(tmp_path / "out")
    assert (record.status, record.steps, record.data["name"]) == ("done", 3, "Parity")
    assert {record.choices[group] for group in groups} == {"mine"}
    assert record.config["architecture"]["gain"] == 2.0
    own, clipping = (runs.read_table(tmp_path / "out", name) for name in ("mine", "clipping"))
    assert own.dtype.names == ("step", "layer", "recurrent")
    assert own["step"].tolist() == [0, 1, 2]
    np.testing.assert_allclose(clipping["norm_after"], 1.0, rtol=1e-6)


def test_ones_own_yamls_may_share_what_the_built_in_ones_do(folder: Path, tmp_path: Path) -> None:
    """A data set's shared keys, and what makes an experiment a sweep in a folder of its name."""
    own = {
        "shared.py": """
from parity import Parity


class Shared(Parity):
    def __init__(self, length, batch_size, num_workers, bucket):
        super().__init__(length, batch_size)
        self.num_workers, self.bucket = num_workers, bucket
""",
        "dataset/shared.yaml": """
# parity, with the keys that all data sets share
defaults: [_dataset, _self_]
_target_: shared.Shared
length: 6
batch_size: 8
""",
        "experiment/study.yaml": """
# @package _global_
# Does the seed matter?
defaults:
  - _experiment
  - override /dataset: shared

hydra:
  sweeper:
    params:
      seed: 0,1

trainer:
  max_steps: 1
""",
    }
    for name, text in own.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_text(text.lstrip(), encoding="utf-8")
    (tmp_path / "own" / "parity.py").write_text(FOLDER["parity.py"], encoding="utf-8")
    arguments = ["--config-dir", "own", "experiment=study", "dataset.bucket=true"]
    process = Forked(train.main, arguments, folder=tmp_path)
    _, said = process.communicate(timeout=250)
    assert process.returncode == 0, said.decode()
    records = [runs.read(run) for run in runs.find([tmp_path / "outputs" / "study"])]
    assert [(record.status, record.seed, record.steps) for record in records] == [("done", 0, 1), ("done", 1, 1)]
    for record in records:
        keys = {"batch_size": 8, "num_workers": 0, "bucket": True, "length": 6}
        assert record.config["dataset"] == {"_target_": "shared.Shared", **keys}
        assert record.choices["probe"] == "adjoint"


@SOME_OR_EVERY
def test_the_contract_tests_find_them(every: bool, folder: Path, tmp_path: Path) -> None:
    """Those of each group, and fail where one breaks the contract."""
    broken = FOLDER["normalised.py"].replace("return coefficient", "return coefficient.float()")
    (folder / "broken.py").write_text(broken, encoding="utf-8")
    (folder / "clipping/mine_too.yaml").write_text("# broken\n_target_: broken.Normalised\nnorm: 1.0\n")
    some = "binds or plain_autograd or gives_samples or what_it_did"
    tests = (
        "tests/test_contract.py",
        "--config-dir",
        str(folder),
        "-k",
        "mine" if every else f"mine and ({some})",
        "-q",
        "-rA",
        f"--basetemp={tmp_path / 'inner'}",
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=",
    )
    process = Forked(pytest.main, list(tests), folder=ROOT)
    _, said = process.communicate(timeout=250)
    (folder / "clipping/mine_too.yaml").unlink()
    ended: dict[str, list[str]] = {"PASSED": [], "FAILED": [], "ERROR": []}
    for line in said.decode().splitlines():
        word, _, name = line.partition(" ")
        if word in ended and "::" in name:
            ended[word].append(name.split("::")[1].split(" ")[0])
    failed = {*ended["FAILED"], *ended["ERROR"]}
    assert failed, said.decode()
    assert {name.partition("[")[2][:8] for name in failed} == {"mine_too"}, said.decode()
    bound = {name.rpartition("[")[2] for name in ended["PASSED"] if "binds" in name}
    assert bound >= {f"{group}/mine]" for group in ("model", "dataset", "architecture", "clipping", "probe")}
    assert len(ended["PASSED"]) > (40 if every else 15)


OLD_PROBES = {
    "measure": (
        "    def measure(self, model):\n        return {}\n",
        "measure(self, observation), with observation.cells",
    ),
    "hook": (
        "    def measure(self, observation):\n        return {}\n\n    def on_train_start(self, trainer, model): ...\n",
        "given on_train_start, a hook of lightning's, which a probe is not called with; expected measure(self, obs",
    ),
}


@pytest.mark.parametrize("name", OLD_PROBES)
def test_a_probe_written_as_a_callback_is_told_what_to_change(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    body, told = OLD_PROBES[name]
    (tmp_path / "probe").mkdir()
    module = f"written_before_{name}"
    text = f"from rnn_research.probes.base import Probe\n\n\nclass Old(Probe):\n{body}"
    (tmp_path / f"{module}.py").write_text(text, encoding="utf-8")
    (tmp_path / "probe/old.yaml").write_text(f"# old\nold:\n  _target_: {module}.Old\n", encoding="utf-8")
    said = _refused(
        ["--config-dir", str(tmp_path), "probe=old", f"hydra.run.dir={tmp_path / 'out'}"], monkeypatch, capsys
    )
    assert told in said
    assert said.count("\n") == 1


# What a config from a stranger can't do.

NODES = (
    "model",
    "model.cell",
    "dataset",
    "structure",
    "architecture",
    "init.x",
    "clipping.none",
    "regularizer.x",
    "optimizer",
    "scheduler",
    "probe.x",
    "trainer",
    "logger.x",
)
TARGETS = (
    "os.system",
    "pandas.read_pickle",
    "pathlib.Path.unlink",
    "builtins.eval",
    "rnn_research_too.Cell",
    "torchx.f",
    "torch.hub.os.mkdir",
    "torch.load",
    "rnn_research.records.checksum.os.mkdir",
)


def _refused(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit) as ended:
        train.main(arguments)
    said = capsys.readouterr()
    assert ended.value.code == 2, said
    return said.err


@pytest.mark.parametrize("node", NODES)
def test_an_untrusted_target_is_refused_wherever_it_stands(
    node: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before it, or anything, is called."""
    evil = [
        f"++{node}._target_=os.mkdir",
        f"++{node}.path={tmp_path / 'called'}",
        f"++{node}._partial_=false",
    ]
    said = _refused([*evil, f"hydra.run.dir={tmp_path / 'out'}"], monkeypatch, capsys)
    assert f"{node}._target_: given 'os.mkdir', expected a class of " in said
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize("target", TARGETS)
def test_no_untrusted_target_is_called(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "options"
    (folder / "clipping").mkdir(parents=True)
    yaml = f"# evil\n_target_: {target}\n_args_: ['{tmp_path / 'kept'}']\n"
    (folder / "clipping" / "evil.yaml").write_text(yaml, encoding="utf-8")
    (tmp_path / "kept").touch()
    arguments = ["--config-dir", str(folder), "clipping=evil", f"hydra.run.dir={tmp_path / 'out'}"]
    said = _refused(arguments, monkeypatch, capsys)
    assert f"clipping._target_: given '{target}'" in said
    assert "trust=[" in said
    assert (tmp_path / "kept").exists()
