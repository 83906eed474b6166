"""Strategies that act inside backpropagation, or cut its graph, as a model uses them.

What each does at a state is tested in tests/unroll/test_intervention.py against loops by hand, and that a step which
accumulates batches is that of one, in tests/models/test_accumulation.py. Here: that thresholds are a sample's own,
whatever the batch or loss scaling; that a strategy which does nothing changes nothing; and the record.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import SEQUENCES, STEPS, TREES, Given, model_of, run, sentences, sequences

from rnn_research.cells import GRU, LSTM, RNN, ChildSumTreeLSTM, NaryTreeLSTM
from rnn_research.clipping import BackwardStrategy, Clipping, Composed
from rnn_research.clipping.adjoint_norm import AdjointNorm
from rnn_research.clipping.adjoint_normalize import AdjointNormalize
from rnn_research.clipping.depth_detach import DepthDetach
from rnn_research.clipping.global_norm import GlobalNorm
from rnn_research.clipping.graves import Graves
from rnn_research.clipping.h_detach import HDetach
from rnn_research.clipping.none import NoClipping
from rnn_research.clipping.tbptt import TBPTT
from rnn_research.models import Model
from rnn_research.probes.adjoint import Adjoint
from rnn_research.records import runs
from rnn_research.structures.layouts import ParseTreeLayout

SETTINGS: dict[str, tuple[Callable[[], Given], Any]] = {
    "rnn": (lambda: Given(SEQUENCES, sequences(6)), RNN),
    "lstm": (lambda: Given(STEPS, sequences(6, steps=True)), LSTM),
    "gru": (lambda: Given(SEQUENCES, sequences(6)), GRU),
    "nary": (lambda: Given(TREES, sentences(6), ParseTreeLayout()), NaryTreeLSTM),
    "child_sum": (lambda: Given(TREES, sentences(6), ParseTreeLayout()), ChildSumTreeLSTM),
}
ACTING: dict[str, Callable[[], Clipping]] = {
    "graves": lambda: Graves(0.02),
    "adjoint_norm": lambda: AdjointNorm(0.1),
    "adjoint_normalize": lambda: AdjointNormalize(0.7),
    "composed": lambda: Composed({"norm": AdjointNorm(0.1), "graves": Graves(0.02), "keep": AdjointNormalize(0.5)}),
}
IDLE: dict[str, tuple[Callable[[], Clipping], tuple[str, ...]]] = {
    "graves": (lambda: Graves(float("inf")), ("rnn", "nary")),
    "adjoint_norm": (lambda: AdjointNorm(float("inf")), ("gru", "child_sum")),
    "adjoint_normalize": (lambda: AdjointNormalize(0.0), ("lstm", "nary")),
    "h_detach": (lambda: HDetach(0.0), ("lstm", "nary")),
    "h_detach_no_more": (lambda: HDetach(1.0, until_step=0), ("lstm", "nary")),
    "tbptt": (lambda: TBPTT(100), ("rnn", "lstm")),
    "depth_detach": (lambda: DepthDetach(100), ("nary",)),
}


PLAIN: dict[str, dict[str, torch.Tensor]] = {}
"""The weights of each setting after training without any strategy."""


def gradients(model: Model, data: Given, chosen: slice, scaling: float = 1.0) -> tuple[dict[str, torch.Tensor], int]:
    """Of the mean loss over some samples, and how many labels that is the mean of."""
    model.zero_grad()
    batch = data.layout.collate(data.samples("train")[chosen])
    (model.training_step(batch, 0) * scaling).backward()
    model.on_after_backward()
    labels = int((batch.position_targets >= 0).sum()) if model.architecture.learns_positions else len(batch)  # type: ignore[operator]
    return {name: p.grad.clone() / scaling for name, p in model.named_parameters() if p.grad is not None}, labels


@pytest.mark.parametrize(
    ("setting", "strategy", "engine"),
    [  # each setting with each strategy, by the engines in turn; by the other one it is slow
        pytest.param(setting, strategy, engine, marks=[pytest.mark.slow] if (place + number + other) % 2 else [])
        for place, setting in enumerate(SETTINGS)
        for number, strategy in enumerate(ACTING)
        for other, engine in enumerate(("native", "reference"))
    ],
)
def test_a_threshold_is_a_samples_own(setting: str, strategy: str, engine: str) -> None:
    """The gradient of a batch is the mean of its samples' gradients, each clipped alone; loss scaling cancels."""
    data, cell = SETTINGS[setting][0](), SETTINGS[setting][1]
    model = model_of(data, cell, clipping=ACTING[strategy](), engine=engine, num_layers=2).double()
    together, labels = gradients(model, data, slice(None))
    alone = [gradients(model, data, slice(index, index + 1)) for index in range(len(data.samples("train")))]
    assert sum(count for _, count in alone) == labels
    for name, value in together.items():
        summed = sum(found[name] * count for found, count in alone if name in found)
        torch.testing.assert_close(value, summed / labels, rtol=1e-11, atol=1e-15, msg=name)  # type: ignore[operator]
    scaled, _ = gradients(model, data, slice(None), scaling=1024.0)
    assert all(torch.equal(scaled[name], value) for name, value in together.items())
    plain, _ = gradients(model_of(data, cell, num_layers=2, engine=engine).double(), data, slice(None))
    assert any((plain[name] - value).abs().max() > 1e-6 for name, value in together.items()), "nothing was done"


def trained(folder: Path, setting: str, clipping: Clipping, **limits: Any) -> dict[str, torch.Tensor]:
    data, cell = SETTINGS[setting][0](), SETTINGS[setting][1]
    model = model_of(data, cell, clipping=clipping, dropout=0.25, num_layers=2)
    run(data, model, folder, {"adjoint": Adjoint(1)}, max_epochs=2, **limits)
    return {name: value for name, value in model.state_dict().items() if not name.startswith("clipping")}


@pytest.mark.parametrize(
    ("strategy", "setting"),
    [  # slow where the strategy, and the cell beside another strategy, are tried already
        pytest.param(name, one, marks=[pytest.mark.slow] if place and one in ("nary", "lstm") else [])
        for name, (_, some) in IDLE.items()
        for place, one in enumerate(some)
    ],
)
def test_what_does_nothing_changes_no_bit(strategy: str, setting: str, tmp_path: Path) -> None:
    plain = PLAIN[setting] = PLAIN.get(setting) or trained(tmp_path / "plain", setting, NoClipping())
    idle = trained(tmp_path / "idle", setting, IDLE[strategy][0]())
    assert all(torch.equal(value, idle[name]) for name, value in plain.items())
    table = runs.read_table(tmp_path / "idle", "clipping")
    assert table is not None
    assert not table["fired"].any()


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ACTING)
def test_accumulation_is_one_large_batch(strategy: str, tmp_path: Path) -> None:
    found = []
    for size in (6, 2):
        data = Given(SEQUENCES, sequences(6), batch_size=size)
        model = model_of(data, RNN, clipping=ACTING[strategy](), num_layers=2)
        run(data, model, tmp_path / str(size), max_epochs=2, accumulate_grad_batches=6 // size)
        found.append(model.state_dict())
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-5, atol=1e-6)


def test_the_record_says_where_it_acted(tmp_path: Path) -> None:
    trained(tmp_path, "lstm", Composed({"adjoint_norm": AdjointNorm(0.2), "global_norm": GlobalNorm(0.05)}))
    steps, adjoints = runs.read_table(tmp_path, "clipping"), runs.read_table(tmp_path, "adjoint")
    assert steps is not None
    assert adjoints is not None
    for step in steps["step"]:
        rows = adjoints[adjoints["step"] == step]
        changed = (rows["adjoint_before"] != rows["adjoint_after"]).mean()
        assert steps["acted"][steps["step"] == step] == pytest.approx(changed, rel=1e-12)
    assert 0 < steps["acted"].mean() < 1
    assert (adjoints["adjoint_after"] <= 0.2 * (1 + 1e-6)).all()
    expected = np.minimum(adjoints["adjoint_before"], 0.2)
    np.testing.assert_allclose(adjoints["adjoint_after"], expected, rtol=1e-5)
    assert (steps["global_norm.norm_after"] <= 0.05).all()


def test_h_detach_draws_anew_each_step_and_again_after_a_reload() -> None:
    data = Given(SEQUENCES, sequences(6))
    structure, model = data.layout.collate(data.samples("train")).structure, model_of(data, LSTM)
    cell, unit = model.cells[0], model._scale

    def draws(strategy: HDetach, count: int) -> list[list[float]]:
        found = []
        for _ in range(count):
            found.append(strategy.intervention(cell, structure, 0, unit))
            again = strategy.intervention(cell, structure, 0, unit)  # of a batch that the same step accumulates
            assert torch.equal(again.keep[0], found[-1].keep[0])  # type: ignore[index,union-attr]
            strategy([])
        assert all(one is not None and one.keep[1] is None for one in found)
        assert all((one.keep[0] == one.keep[0][:1]).all() for one in found)  # type: ignore[index,union-attr]
        return [one.keep[0][0].tolist() for one in found]  # type: ignore[index,union-attr]

    whole = draws(HDetach(0.5), 40)
    assert 0.4 < np.mean(whole) < 0.6
    assert len(set(map(tuple, whole))) > 10
    first, rest = HDetach(0.5), HDetach(0.5)
    half = draws(first, 15)
    rest.load_state_dict(first.state_dict())
    assert half + draws(rest, 25) == whole
    assert draws(HDetach(0.5, seed=1), 40) != whole


def test_the_methods_former_name_is_answered_with_the_new_one() -> None:
    with pytest.raises(TypeError, match=r"^Old\.inside: this method is now called `intervention`"):

        class Old(BackwardStrategy):
            def inside(self, cell, structure, layer, unit):
                return None
