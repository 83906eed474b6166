"""Architectures: which one follows from the task, what each reads out, and what is refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from composed import composed
from small import SEQUENCES, STEPS, TREES, Given, model_of, sentences, sequences

from rnn_research.cells import LSTM, RNN, ChildSumTreeLSTM
from rnn_research.clipping.adjoint_norm import AdjointNorm
from rnn_research.config.build import build
from rnn_research.datasets.base import Task
from rnn_research.errors import UsageError
from rnn_research.models.architectures import Label, Position
from rnn_research.probes.adjoint import Adjoint
from rnn_research.probes.callback import observation_of, terminal_adjoints
from rnn_research.structures import BalancedTreeLayout, ParseTreeLayout, Sample

GIVEN = {
    "whole": (Given(SEQUENCES, sequences(5)), RNN, Label),
    "steps": (Given(STEPS, sequences(5, steps=True)), LSTM, Position),
    "nodes": (Given(TREES, sentences(5), ParseTreeLayout()), ChildSumTreeLSTM, Position),
    "balanced": (Given(TREES, sentences(5), BalancedTreeLayout()), ChildSumTreeLSTM, Label),
}


@pytest.mark.parametrize("name", GIVEN)
def test_the_automatic_one_follows_from_the_task(name: str) -> None:
    """And gives the same bits as the one that it is, asked for by its own name or by `model.loss`."""
    data, cell, kind = GIVEN[name]
    batch = data.layout.collate(data.samples("train"))
    loss = "every" if kind is Position else "terminal"
    models = [model_of(data, cell), model_of(data, cell, architecture=kind), model_of(data, cell, loss=loss)]
    assert [type(model.architecture) for model in models] == [kind] * 3
    losses = [model.training_step(batch, 0) for model in models]
    for loss_of in losses:
        loss_of.backward()
    assert losses[0].item() == losses[1].item() == losses[2].item()
    for others in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(others[0].grad, others[1].grad)
        assert torch.equal(others[0].grad, others[2].grad)


def test_a_label_is_learnt_where_positions_have_some_too() -> None:
    data, cell, _ = GIVEN["steps"]
    label, terminal = model_of(data, cell, architecture=Label), model_of(data, cell, loss="terminal")
    batch = data.layout.collate(data.samples("train"))
    assert label.training_step(batch, 0).item() == terminal.training_step(batch, 0).item()
    assert label.tallies["val_"].names == ("loss", "accuracy")


@pytest.mark.parametrize("loss", ["terminal", "every"])
def test_the_loss_is_asked_for_once(loss: str) -> None:
    data, cell, _ = GIVEN["steps"]
    with pytest.raises(ValueError, match=f"^loss: given {loss} beside the architecture Position, .* leave one out"):
        model_of(data, cell, architecture=Position, loss=loss)


def test_positions_without_labels_are_refused() -> None:
    data, cell, _ = GIVEN["whole"]
    with pytest.raises(ValueError, match=r"^architecture=position: these batches label no positions; use archit"):
        model_of(data, cell, architecture=Position)
    task = Task("regression", input_size=2, output_size=1, step_targets=True)
    samples = [Sample(s.inputs, 0.5, step_targets=np.zeros(len(s.inputs), np.float32)) for s in sequences(4)]
    with pytest.raises(ValueError, match=r"^architecture=position: .* numbers, expected classes; use architecture="):
        model_of(Given(task, samples), architecture=Position)


class Twice(Label):
    """Two stacks of cells side by side, each of `num_layers`; the readout reads the second, which starts where the
    first ends: an encoder and a decoder over the same inputs."""

    def modules(self) -> dict[str, Any]:
        modules = super().modules()
        modules["cells"].extend(self.blueprint.layers())
        return modules

    def fold(self, net: Any, batch: Any, unroll: Any) -> Any:
        cells, inputs, count = list(net.cells), self.inputs(net, batch), self.blueprint.num_layers
        first = unroll(cells[:count], batch.structure, inputs, name="encoder")
        last = [tuple(batch.structure.terminal(part) for part in layer.states) for layer in first.layers]
        return unroll(cells[count:], batch.structure, inputs, name="decoder", initial=last)


def _of_states(layer: Any, state: Any) -> list[torch.Tensor]:
    return [part[layer.mask] for part in state]


@pytest.mark.parametrize("clipped", [False, True])
def test_an_architecture_may_unroll_several_parts(clipped: bool) -> None:
    """Each has its adjoints under its name; they are those of one chain, twice as long, of equally long samples."""
    samples = [Sample(sample.inputs[:1].repeat(4, 0), sample.target) for sample in sequences(3)]
    data = Given(SEQUENCES, samples)
    arguments: dict[str, Any] = {"clipping": AdjointNorm(1e9)} if clipped else {}
    model = model_of(data, RNN, architecture=Twice, **arguments).double()
    model.cells[1].load_state_dict(model.cells[0].state_dict())
    long = Given(SEQUENCES, [Sample(np.concatenate([s.inputs, s.inputs]), s.target) for s in samples])
    whole = model_of(long, RNN).double()
    whole.load_state_dict({name: value for name, value in model.state_dict().items() if ".1." not in name}, strict=True)
    for one, given in ((model, data), (whole, long)):
        one.step.recorded = True
        one.training_step(given.layout.collate(given.samples("train")), 0).backward()
        one.on_after_backward()
    seen = observation_of(model)
    assert list(seen.unrolled) == ["encoder", "decoder"]
    expected = whole.step.parts["cells"].unrolled.adjoints[0]
    for name, times in (("encoder", slice(0, 4)), ("decoder", slice(4, 8))):
        torch.testing.assert_close(seen.unrolled[name].adjoints[0], expected[:, times], rtol=1e-12, atol=1e-15)
    with torch.no_grad():
        rows = Adjoint().measure(seen)
    assert rows["layer"].tolist() == [0] * 12 + [1] * 12
    if clipped:
        assert model.step.interventions is not None
        assert len(model.step._changed) == 2


def test_terminal_adjoints_are_of_the_answers_alone() -> None:
    data, cell, _ = GIVEN["steps"]
    model = model_of(data, cell).double()
    model.step.recorded = True
    loss = model.training_step(data.layout.collate(data.samples("train")), 0)
    (terminal,) = terminal_adjoints(model)["cells"]
    loss.backward()
    layer = model.step.parts["cells"].unrolled.layers[0]
    at_end = [part[layer.distance == 0] for part in terminal]
    assert all((part != 0).any() for part in at_end)
    assert terminal_adjoints(model_of(data, cell, architecture=Label)) == {}


def _composed(*overrides: str) -> Any:
    small = ["model.cell.hidden_size=3", "dataset=temporal_order", "dataset.train_size=8", "probe=none"]
    return composed(*small, *overrides)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["architecture=position"], "architecture=position: these batches label no positions; use architecture=label"),
        (["architecture=label", "model.loss=terminal"], "model.loss: given terminal beside the architecture Label"),
        (
            ["model.loss=every"],
            "model.loss: given every, but these batches label no positions; use model.loss=terminal",
        ),
        (["+architecture.blueprint=1"], "architecture.blueprint: can't be set, expected the one that"),
        (["+architecture.depth=1"], "architecture.depth: unknown, expected "),
        (
            ["architecture._target_=rnn_research.cells.rnn.RNN"],
            "architecture._target_: given 'rnn_research.cells.rnn.RNN'",
        ),
    ],
)
def test_a_mistake_is_told_in_one_line(overrides: list[str], told: str) -> None:
    with pytest.raises(UsageError, match=re.escape(told)) as refused:
        build(_composed(*overrides))
    assert str(refused.value).startswith(told)
    assert "\n" not in str(refused.value)
