"""One file and one yaml add a strategy at every stage: the parameters' gradient, the step, inside backpropagation, the
graph, the loss."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command import SMALL, Ended, rnn_train

from rnn_research.records import runs

STRATEGIES = Path(__file__).parents[2] / "docs" / "strategies.md"
MORE = """

class EverySecond(Clipping):  # the step
    def __init__(self):
        super().__init__()
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self, parameters):
        self.step += 1
        if self.step % 2 == 0:
            skip(parameters)


class Half(Halve):  # a name that torch's modules have a method of
    pass


class Front(BackwardStrategy):  # the graph: no gradient reaches the first two steps
    def intervention(self, cell, structure, layer, unit):
        kept = (torch.arange(structure.mask.shape[1]) >= 2).float().expand(structure.mask.shape)
        return Intervention(keep=[kept for _ in cell.state_names], unit=unit)
"""


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The classes of docs/strategies.md, and two more, with a yaml each."""
    code = re.search(r"```python\n(.*?)```", STRATEGIES.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    folder = tmp_path / "mine"
    named = dict.fromkeys(("Halve", "Half", "Root", "Gentle", "Signed", "EverySecond", "Front"), "clipping")
    named["Small"] = "regularizer"
    for name, group in named.items():
        (folder / group).mkdir(parents=True, exist_ok=True)
        text = f"# mine\n{name.lower()}:\n  _target_: stages.{name}\n"
        (folder / group / f"{name.lower()}.yaml").write_text(text, encoding="utf-8")
    (folder / "stages.py").write_text("import torch\n" + code[1] + MORE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield folder
    sys.modules.pop("stages", None)
    sys.path[:] = [path for path in sys.path if not path.endswith("/mine")]


def trained(options: Path, *typed: str) -> tuple[runs.RunRecord, np.ndarray]:
    ended: Ended = rnn_train("--config-dir", str(options), *SMALL, "model=lstm", *typed, "hydra.run.dir=out")
    assert ended.code == 0, ended
    table = runs.read_table(Path("out"), "clipping")
    assert table is not None
    return runs.read(Path("out")), table


def test_on_the_gradient(options: Path) -> None:
    _, table = trained(options, "clipping=halve")
    np.testing.assert_allclose(table["norm_after"], table["norm_before"] / 2, rtol=1e-6)
    np.testing.assert_allclose(table["cosine"], 1.0, rtol=1e-6)


def test_a_name_may_be_that_of_a_method_of_modules(options: Path) -> None:
    also = ("probe=counterfactual", "clipping@probe.counterfactual.strategies=[half]")
    _, table = trained(options, "clipping=[half,global_norm]", *also)
    np.testing.assert_allclose(table["half.norm_after"], table["norm_before"] / 2, rtol=1e-6)


def test_on_the_gradient_by_its_norm(options: Path) -> None:
    also = ("probe=counterfactual", "clipping@probe.counterfactual.strategies=[root]")
    _, table = trained(options, "clipping=root", *also)
    np.testing.assert_allclose(
        table["norm_after"], table["norm_before"] / table["norm_before"].clip(1) ** 0.5, rtol=1e-6
    )
    foreseen = runs.read_table(Path("out"), "counterfactual")
    assert foreseen is not None
    np.testing.assert_allclose(foreseen["root.norm_after"], table["norm_after"], rtol=1e-6)


def test_on_the_step(options: Path) -> None:
    _, table = trained(options, "clipping=[everysecond,global_norm]")
    assert table["skipped"].tolist() == [0.0, 1.0, 0.0]
    assert table["everysecond.skipped"].tolist() == [0.0, 1.0, 0.0]


def test_inside_backpropagation_at_native_speed(options: Path) -> None:
    record, table = trained(options, "clipping=gentle")
    assert record.engine["used"] == "native"
    assert (table["acted"] > 0).any()


def test_inside_backpropagation_in_pytorch(options: Path) -> None:
    record, table = trained(options, "clipping=signed")
    assert record.engine["used"] == "reference"
    assert "not native" in record.engine["why"]
    assert (table["acted"] == 1).all()


def test_on_the_graph(options: Path) -> None:
    trained(options, "clipping=front", "probe.adjoint.every_n_steps=1")
    table = runs.read_table(Path("out"), "adjoint")
    assert table is not None
    first = table["distance"].max()
    assert (table["hidden"][table["distance"] > first - 2] == 0).all()
    assert (table["hidden"][table["distance"] == first - 2] > 0).all()


def test_on_the_loss(options: Path) -> None:
    record, _ = trained(options, "regularizer=small")
    assert record.choices["regularizer"] == "small"
    values = runs.read_table(Path("out"), "regularizer")
    assert values is not None
    assert (values["small"] > 0).all()
    assert (np.diff(values["small"]) < 0).all()
