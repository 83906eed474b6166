"""When probes measure, and each column against an independent computation."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from small import SEQUENCES, STEPS, TREES, Given, batches, for_training, model_of, run, sentences, sequences

from rnn_research.cells import GRU, LSTM, RNN, ChildSumTreeLSTM
from rnn_research.clipping.global_norm import GlobalNorm
from rnn_research.clipping.h_detach import HDetach
from rnn_research.clipping.tbptt import TBPTT
from rnn_research.datasets.task import Task
from rnn_research.models import Model
from rnn_research.probes.adjoint import Adjoint
from rnn_research.probes.base import Probe
from rnn_research.probes.callback import observation_of
from rnn_research.probes.gradient_norm import GradientNorm
from rnn_research.probes.observation import Observation
from rnn_research.probes.saturation import Saturation
from rnn_research.records import runs
from rnn_research.structures import ChainLayout, ParseTreeLayout, Sample, Tree


class Seen(Probe):
    """Keeps whether the step was recorded."""

    def measure(self, observation: Observation) -> dict[str, Any]:
        return {"recorded": bool(observation.unrolled)}


class Recorded(Seen):
    needs_adjoints = True


class Watch(Callback):
    """Keeps at which micro-batches the model was recording."""

    def __init__(self) -> None:
        self.at: list[tuple[int, bool, bool]] = []

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        step = pl_module.step
        self.at.append((trainer.global_step, step.recorded, step.recorded and bool(step.parts)))


def _table(folder: Path, name: str) -> np.ndarray:
    table = runs.read_table(folder, name)
    assert table is not None
    return table


class Now(Probe):
    """One more column at step 1 alone."""

    def __init__(self, value: Any) -> None:
        super().__init__(1)
        self.value = value

    def measure(self, observation: Observation) -> dict[str, Any]:
        return {"always": 0, **({"now": self.value} if observation.step == 1 else {})}


def test_a_column_that_comes_and_goes_is_missing_in_other_rows(tmp_path: Path) -> None:
    data = Given(SEQUENCES, for_training(sequences(12)))
    run(data, model_of(data), tmp_path / "some", {"now": Now(0.5)}, max_steps=3)
    table = _table(tmp_path / "some", "now")
    assert table["step"].tolist() == [0, 1, 2]
    np.testing.assert_array_equal(table["now"], [math.nan, 0.5, math.nan])
    with pytest.raises(ValueError, match=r"^Now: given no now in some rows, expected it in all, since it is of int64$"):
        run(data, model_of(data), tmp_path / "whole", {"now": Now(1)}, max_steps=3)


@pytest.mark.parametrize(
    ("clipping", "acted"),
    [(lambda: TBPTT(3), [False, True, True]), (lambda: HDetach(0.5, until_step=2), [True, True, False])],
    ids=["tbptt", "h_detach"],
)
def test_where_nothing_acts_no_norm_is_said(clipping: Any, acted: list[bool], tmp_path: Path) -> None:
    """Of sequences that are no longer than a window, of which nothing is cut; and of steps that came too late."""
    samples = sequences(12, (5, 5))
    data = Given(SEQUENCES, for_training(samples))
    for number in next(iter(data.train_dataloader().batch_sampler)):  # type: ignore[arg-type]
        samples[number] = replace(samples[number], inputs=samples[number].inputs[: 3 if acted[1:] == [True] * 2 else 5])
    data = Given(SEQUENCES, for_training(samples))
    run(data, model_of(data, LSTM, clipping=clipping()), tmp_path, {"adjoint": Adjoint(1)}, max_steps=3)
    table = _table(tmp_path, "adjoint")
    for step, did in enumerate(acted):
        for column in ("recurrent_before", "recurrent_after"):
            said = np.isfinite(table[column][table["step"] == step])
            assert said.all() if did else not said.any()
    assert np.isfinite(table["hidden"]).all()


# When.


@pytest.mark.parametrize(
    ("schedule", "limits", "expected"),
    [
        ((3, True, True), {"max_steps": 8}, [0, 3, 6, 7]),
        ((3, True, True), {"max_steps": 7}, [0, 3, 6]),
        ((3, False, True), {"max_steps": 8}, [3, 6, 7]),
        ((3, True, False), {"max_steps": 8}, [0, 3, 6]),
        ((1, False, False), {"max_steps": 4}, [1, 2, 3]),
        ((0, True, True), {"max_steps": 8}, [0, 7]),
        ((0, True, True), {"max_steps": 1}, [0]),
        ((0, False, False), {"max_steps": 4}, []),
        ((0, True, True), {"max_epochs": 2}, [0, 13]),
        ((0, False, True), {"max_epochs": 2, "accumulate_grad_batches": 3}, [5]),
        ((2, True, True), {"max_epochs": 2, "accumulate_grad_batches": 3}, [0, 2, 4, 5]),
        ((0, False, True), {"max_epochs": 1, "max_steps": 100}, [6]),
        ((0, False, True), {"max_epochs": 9, "max_steps": 10}, [9]),
        ((0, False, True), {"max_epochs": 3, "limit_train_batches": 2}, [5]),
        ((5, True, True), {"fast_dev_run": 3}, [0, 2]),
    ],
)
def test_a_schedule(
    schedule: tuple[int, bool, bool], limits: dict[str, int], expected: list[int], tmp_path: Path
) -> None:
    """7 batches an epoch. While no probe is due, nothing is recorded."""
    data = Given(SEQUENCES, for_training(sequences(26)), batch_size=4)
    watch = Watch()
    probes = {"seen": Seen(*schedule), "recorded": Recorded(*schedule)}
    run(data, model_of(data), tmp_path, probes, [watch], **limits)
    for name in probes:
        assert _table(tmp_path, name)["step"].tolist() == expected
    if expected:
        assert _table(tmp_path, "recorded")["recorded"].all()
    else:
        assert _table(tmp_path, "recorded").dtype.names == ("step",)
    assert {step for step, recording, _ in watch.at if recording} == set(expected)
    assert all(recording == observed == (step in expected) for step, recording, observed in watch.at)
    assert len(watch.at) >= len(expected)


def test_probes_with_other_schedules_do_not_mind_each_other(tmp_path: Path) -> None:
    data = Given(STEPS, sequences(8, steps=True))
    model, watch = model_of(data, LSTM), Watch()
    probes = {"a": Adjoint(2, last=False), "s": Saturation(3, first=False, last=False), "seen": Seen(1, last=False)}
    run(data, model, tmp_path, probes, [watch], max_steps=8)
    assert np.unique(_table(tmp_path, "a")["step"]).tolist() == [0, 2, 4, 6]
    assert _table(tmp_path, "s")["step"].tolist() == [3, 6]
    assert _table(tmp_path, "seen")["recorded"].tolist() == [True, False, True, True, True, False, True, False]
    assert [step for step, recording, _ in watch.at if recording] == [0, 2, 3, 4, 6]
    assert (model.step.recorded, model.step.parts) == (False, {})


def test_a_probe_that_needs_no_adjoints_costs_none(tmp_path: Path) -> None:
    data, watch = Given(SEQUENCES, sequences(8)), Watch()
    run(data, model_of(data), tmp_path, {"gradient_norm": GradientNorm(1)}, [watch], max_steps=3)
    assert not any(recording or observed for _, recording, observed in watch.at)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"every_n_steps": -1}, "every_n_steps"),
        ({"every_n_steps": True}, "every_n_steps"),
        ({"samples": 0}, "samples"),
    ],
)
def test_a_mistake_names_its_key(arguments: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=f"^{key}: given {arguments[key]}, expected an integer"):
        Adjoint(**arguments)


@pytest.mark.parametrize("threshold", [0.0, 0.51, -1.0, float("nan")])
def test_a_threshold_is_a_margin(threshold: float) -> None:
    with pytest.raises(ValueError, match=f"^threshold: given {threshold}, expected a number > 0 and <= 0.5"):
        Saturation(threshold=threshold)


# What is kept.


class Columns(Probe):
    def __init__(self, *columns: dict[str, Any]) -> None:
        super().__init__(1)
        self.columns = iter(columns)

    def measure(self, observation: Observation) -> dict[str, Any]:
        return next(self.columns)


def test_tables_concatenate(tmp_path: Path) -> None:
    """In the widest type: a number that was whole at first loses no fraction later."""
    data = Given(SEQUENCES, sequences(8))
    probe = Columns({"a": [1, 2], "b": np.zeros(2, "f4")}, {"a": torch.tensor([0.5]), "b": 3.0}, {"a": [], "b": []})
    run(data, model_of(data), tmp_path, {"columns": probe}, max_steps=3)
    table = _table(tmp_path, "columns")
    assert table["step"].tolist() == [0, 0, 1]
    assert table["a"].tolist() == [1.0, 2.0, 0.5]
    assert table["b"].tolist() == [0.0, 0.0, 3.0]


@pytest.mark.parametrize("columns", [{"a": [1, 2], "b": 3.0}, {}])
def test_columns_of_other_lengths_are_refused(columns: dict[str, Any], tmp_path: Path) -> None:
    data = Given(SEQUENCES, sequences(8))
    with pytest.raises(ValueError, match=r"^Columns: given columns of lengths \{.*\}, expected equally many rows"):
        run(data, model_of(data), tmp_path, {"columns": Columns(columns)}, max_steps=1)


# The adjoint.

ADJOINTS = {
    "chain-terminal": (SEQUENCES, sequences(12), None, LSTM),
    "chain-every": (STEPS, sequences(12, steps=True), None, LSTM),
    "chain-gru": (STEPS, sequences(12, steps=True), None, GRU),
    "parse-every": (TREES, sentences(12), ParseTreeLayout(), ChildSumTreeLSTM),
    "parse-terminal": (TREES, sentences(12), ParseTreeLayout(), ChildSumTreeLSTM),
}


def _alone(model: Model, data: Given, sample: Sample, part: str) -> list[dict[str, np.ndarray]]:
    """The norms at every position of one sample by itself, a layer a table: of its summed loss ("own"), or of its
    last step's or root's loss alone."""
    model.zero_grad()
    batch = data.layout.collate([sample])
    unrolled = model.fold(batch, record=True)
    if model.architecture.learns_positions and part == "own":
        kept = batch.position_targets != -1
        outputs, targets = model.readout(unrolled.hidden[kept]), batch.position_targets[kept]
    else:
        outputs, targets = model.readout(batch.structure.terminal(unrolled.hidden)), batch.target
    torch.nn.functional.cross_entropy(outputs, targets, reduction="sum").backward()
    tables = []
    for layer in unrolled.layers:
        columns = {"distance": layer.distance[layer.mask].numpy()}
        for suffix, state in {"": layer.adjoints, "_direct": layer.direct, "_recurrent": layer.recurrent}.items():
            for name, values in zip(layer.cell.state_names, state, strict=True):
                columns[name + suffix] = values[layer.mask].norm(dim=-1).numpy()
        tables.append(columns)
    return tables


STEPPED = [(4, 1, None), (4, 2, None), (12, 1, None), (12, 1, 5), (3, 3, 2)]
"""A batch's size, the batches of a step, and the samples that are measured."""


@pytest.mark.parametrize(
    ("setting", "batch_size", "accumulated", "samples"),
    [  # of each setting two, and of each step two; the others are slow
        pytest.param(setting, *step, marks=[] if (place + number) % 5 in (0, 2) else [pytest.mark.slow])
        for place, setting in enumerate(ADJOINTS)
        for number, step in enumerate(STEPPED)
    ],
)
def test_adjoints_are_of_each_samples_own_loss(
    setting: str, batch_size: int, accumulated: int, samples: int | None, tmp_path: Path
) -> None:
    """Whatever else is in the batch, however long, and however many batches make a step."""
    task, given, layout, cell = ADJOINTS[setting]
    loss = "terminal" if setting.endswith("terminal") else "auto"
    data = Given(task, for_training(given), layout, batch_size)
    model = model_of(data, cell, num_layers=2, loss=loss)
    probe = {"adjoint": Adjoint(0, samples=samples)}
    limits = {"max_steps": 1, "accumulate_grad_batches": accumulated, "precision": "64-true"}
    run(data, model, tmp_path, probe, **limits)
    table = _table(tmp_path, "adjoint")
    measured = list(Given(task, given, layout, batch_size).train_dataloader().batch_sampler)[accumulated - 1]
    chosen = [(2 * part + 1) * len(measured) // (2 * (samples or 1)) for part in range(samples or 0)]
    alone = model_of(data, cell, num_layers=2, loss=loss).double()
    states = alone.cells[0].state_names
    names = [name + suffix for suffix in ("", "_direct", "_recurrent") for name in states]
    terminal = [f"{name}_terminal" for name in states] if alone.architecture.learns_positions else []
    tokens = ["token"] if task.tokens else []
    assert table.dtype.names == ("step", "layer", "sample", "distance", *tokens, *names, *terminal)
    rows = 0
    for place in chosen or range(len(measured)):
        index = measured[place]
        own = _alone(alone, data, given[index], "own")
        last = _alone(alone, data, given[index], "last") if terminal else []
        for layer in (0, 1):
            found = table[(table["layer"] == layer) & (table["sample"] == place)]
            order, wanted = (
                np.argsort(found["distance"], kind="stable"),
                np.argsort(own[layer]["distance"], kind="stable"),
            )
            rows += len(found)
            for name in ["distance", *names]:
                np.testing.assert_allclose(
                    found[name][order], own[layer][name][wanted], rtol=1e-10, atol=1e-15, err_msg=name
                )
            for name in terminal:
                np.testing.assert_allclose(
                    found[name][order],
                    last[layer][name.removesuffix("_terminal")][wanted],
                    rtol=1e-10,
                    atol=1e-15,
                    err_msg=name,
                )
    assert rows == len(table)  # nor is there any row of padding


def test_adjoints_of_a_linear_chain_have_their_closed_form(tmp_path: Path) -> None:
    """U = g Q with Q orthogonal: the norm falls by g at each application."""
    task = Task("classification", input_size=2, output_size=3)
    data = Given(task, sequences(6, lengths=(3, 9), seed=1))
    model = model_of(data, RNN)
    model.cells[0].f = lambda x: x
    with torch.no_grad():
        torch.nn.init.orthogonal_(model.cells[0].weight_hh).mul_(0.5)
    run(data, model, tmp_path, {"adjoint": Adjoint(0)}, max_steps=1, precision="64-true")
    table = _table(tmp_path, "adjoint")
    assert table["distance"].max() >= 5
    for sample in np.unique(table["sample"]):
        rows = table[table["sample"] == sample]
        last = rows["hidden"][rows["distance"] == 0]
        np.testing.assert_allclose(rows["hidden"], last * 0.5 ** rows["distance"], rtol=1e-6)


# Gradient norms.


def test_gradient_norms_are_of_the_accumulated_gradient_before_clipping(tmp_path: Path) -> None:
    def frozen(**arguments: Any) -> tuple[Given, Model]:
        data = Given(SEQUENCES, sequences(10))
        model = model_of(data, LSTM, **arguments)
        model.readout.bias.requires_grad_(False)
        return data, model

    data, model = frozen()
    for batch in batches(data)[0][:2]:
        (torch.nn.functional.cross_entropy(model(batch), batch.target) / 2).backward()
    expected = {
        name: math.sqrt(math.fsum((parameter.grad.double() ** 2).flatten().tolist()))
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    assert len(expected) == 5
    expected["readout.bias"] = 0.0
    expected["total"] = math.hypot(*expected.values())
    data, model = frozen(clipping=GlobalNorm(expected["total"] / 10))
    probe = {"gradient_norm": GradientNorm(0)}
    run(data, model, tmp_path, probe, max_steps=1, accumulate_grad_batches=2)
    table = _table(tmp_path, "gradient_norm")
    assert set(table.dtype.names) == {"step", *expected}
    for name, value in expected.items():
        assert table[name][0] == pytest.approx(value, rel=1e-6, abs=0), name


def test_gradient_norms_are_accumulated_in_float64() -> None:
    model = model_of(Given(SEQUENCES, sequences(4)))
    for parameter in model.parameters():
        parameter.grad = 1e-25 * torch.randn_like(parameter)  # whose squares are zero in float32
    found = GradientNorm().measure(observation_of(model))
    for name, parameter in model.named_parameters():
        squares = (parameter.grad.double() ** 2).flatten().tolist()
        assert float(found[name]) == pytest.approx(math.sqrt(math.fsum(squares)), rel=1e-12, abs=0)


# Saturation.


def _saturation(model: Model, data: Given, threshold: float = 0.05) -> dict[str, np.ndarray]:
    model.step.recorded = True
    model.training_step(data.layout.collate(data.samples("train")), 0)
    with torch.no_grad():
        found = Saturation(threshold=threshold).measure(observation_of(model))
    return {name: values.numpy() for name, values in found.items()}


def _set(cell: Any, **biases: list[float]) -> None:
    """All weights zero, and these biases of each gate's units."""
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        for gate, ours, _ in cell.bias_blocks():
            ours.copy_(torch.tensor(biases[gate]))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_saturation_of_an_lstm_with_biases_set_by_hand() -> None:
    data = Given(SEQUENCES, sequences(6))
    model = model_of(data, LSTM, num_layers=2)
    _set(model.cells[0], i=[-4.0] * 4, f=[2.0] * 4, g=[3.0, -3.0, 1.0, 0.0], o=[5.0, 0.0, 0.0, 0.0])
    _set(model.cells[1], i=[2.9] * 4, f=[1.0, 2.0, 3.0, 4.0], g=[-1.8] * 4, o=[-2.95, 2.95, 2.9, 2.9])
    found = _saturation(model, data)
    assert found["layer"].tolist() == [0, 1]
    assert found["i"].tolist() == [1.0, 0.0]
    assert found["f"].tolist() == [0.0, 0.5]
    assert found["g"].tolist() == [0.5, 0.0]
    assert found["o"].tolist() == [0.25, 0.5]
    # torch's median: the lower of the two in the middle
    np.testing.assert_allclose(found["forget_timescale"], [-1 / math.log(sigmoid(b)) for b in (2.0, 2.0)], rtol=1e-5)
    assert _saturation(model, data, threshold=0.5)["i"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("reset_after", [True, False])
def test_saturation_of_a_gru_whose_reset_gate_is_shut(reset_after: bool) -> None:
    """r = 0.007 mutes the candidate's b_hn of 2 where the reset comes after it."""
    data = Given(SEQUENCES, sequences(6))
    model = model_of(data, lambda **sizes: GRU(reset_after=reset_after, **sizes))
    _set(model.cells[0], r=[-5.0] * 4, z=[0.0, 0.0, 0.0, 4.0], n=[0.0] * 4)
    with torch.no_grad():
        model.cells[0].bias_hh[-4:] = 2.0
    found = _saturation(model, data)
    assert set(found) == {"layer", "r", "z", "n"}
    assert (found["r"], found["z"], found["n"]) == (1.0, 0.25, 0.0 if reset_after else 1.0)


@pytest.mark.parametrize("nonlinearity", ["tanh", "sigmoid", "relu"])
def test_saturation_counts_no_padding(nonlinearity: str) -> None:
    """h = f(x), with x of -5, 0 or 5, in sequences of unequal length."""
    random = np.random.default_rng(0)
    rows = [random.choice([-5.0, 0.0, 5.0], size=(length, 1)).astype("f4") for length in (1, 9, 2, 5)]
    data = Given(Task("classification", 1, 3), [Sample(row, 0) for row in rows])
    model = model_of(data, lambda **sizes: RNN(nonlinearity=nonlinearity, **sizes), hidden_size=1)
    _set(model.cells[0], hidden=[0.0])
    with torch.no_grad():
        model.cells[0].weight_ih.fill_(1.0)
    found = _saturation(model, data)
    if nonlinearity == "relu":
        assert found["layer"] == [0]
        assert math.isnan(found["bounded"][0])
    else:
        assert found["hidden"][0] == pytest.approx(np.mean(np.concatenate(rows) != 0.0), rel=1e-12, abs=0)


def test_saturation_of_a_tree_counts_a_forget_gate_a_child() -> None:
    """f_k = i = sigmoid(x): the nodes' inputs, once a node and once a child."""
    samples = sentences(8, nodes=(2, 9))
    data = Given(TREES, samples, ParseTreeLayout())
    model = model_of(data, ChildSumTreeLSTM, hidden_size=1, embedding_size=1)
    _set(model.cells[0], i=[0.0], f=[0.0], g=[0.0], o=[0.0])
    values = torch.tensor([0.0, -5.0, -2.0, 1.0, 2.0, 5.0, 6.0])
    with torch.no_grad():
        model.embedding.weight.copy_(values[:, None])
        model.cells[0].weight_ih[:2] = 1.0
    found = _saturation(model, data)
    x = np.concatenate([values[sample.tree_inputs].numpy() for sample in samples])
    arity = np.concatenate([sample.tree.arity for sample in samples])
    flat = np.abs(x) > 3
    assert found["i"][0] == pytest.approx(flat.mean(), rel=1e-12, abs=0)
    assert found["f"][0] == pytest.approx((flat * arity).sum() / arity.sum(), rel=1e-12, abs=0)
    scales = np.sort([-1 / math.log(sigmoid(value)) for value in np.repeat(x, arity)])
    assert found["forget_timescale"][0] == pytest.approx(scales[(len(scales) - 1) // 2], rel=1e-5, abs=0)


def test_a_forget_gate_that_is_open_forgets_never() -> None:
    data = Given(SEQUENCES, sequences(4))
    model = model_of(data, LSTM)
    _set(model.cells[0], i=[0.0] * 4, f=[40.0] * 4, g=[0.0] * 4, o=[0.0] * 4)
    found = _saturation(model, data)
    assert (found["f"], found["forget_timescale"]) == (1.0, math.inf)


def test_trees_of_one_node_have_no_forget_gate(tmp_path: Path) -> None:
    """And give the same columns as others."""
    lone = [Sample(np.array([1]), 0, tree=Tree(np.array([-1])), tree_inputs=np.array([1]), tree_targets=np.array([0]))]
    data = Given(TREES, [*lone, *sentences(1, nodes=(5, 5))], ParseTreeLayout(), batch_size=1)
    model = model_of(data, ChildSumTreeLSTM)
    run(data, model, tmp_path, {"saturation": Saturation(1)}, max_steps=2)
    table = _table(tmp_path, "saturation")
    assert sorted(np.isnan(table["f"])) == [False, True]
    np.testing.assert_array_equal(np.isnan(table["f"]), np.isnan(table["forget_timescale"]))
    assert not np.isnan(table["i"]).any()


# NaN.


def test_nan_stays_visible(tmp_path: Path) -> None:
    """In the tables of a run that diverged at its first step."""
    data = Given(STEPS, sequences(8, steps=True))
    model = model_of(data, LSTM, clipping=GlobalNorm(1.0))
    with torch.no_grad():
        model.cells[0].bias_ih[4:8] = float("nan")  # the forget gates
    probes = {"adjoint": Adjoint(), "gradient_norm": GradientNorm(), "saturation": Saturation()}
    record = run(data, model, tmp_path, probes, max_steps=3)
    assert (record.status, record.diverged_step) == ("diverged", 0)
    assert np.isnan(_table(tmp_path, "adjoint")["hidden"]).any()
    assert np.isnan(_table(tmp_path, "gradient_norm")["total"]).all()
    saturation = _table(tmp_path, "saturation")
    assert np.isnan(saturation["f"]).all()
    assert np.isnan(saturation["forget_timescale"]).all()
    clipping = _table(tmp_path, "clipping")
    assert all(np.isnan(clipping[name]).all() for name in ("norm_before", "norm_after", "coefficient"))


@pytest.mark.parametrize("samples", [1, 2, 5])
@pytest.mark.parametrize("layout", [ChainLayout(), ParseTreeLayout()])
def test_the_probed_samples_are_as_long_as_the_batch(samples: int, layout: Any, tmp_path: Path) -> None:
    """Also where a batch is sorted by size: of its samples, as many are below its median as above."""
    task, given = (TREES, sentences(40, (1, 30))) if layout.needs_parse else (SEQUENCES, sequences(40, (2, 40)))
    data = Given(task, for_training(given), layout, batch_size=20)
    data.bucket = True
    run(data, model_of(data), tmp_path, {"adjoint": Adjoint(0, samples=samples, last=False)}, max_steps=1)
    table = _table(tmp_path, "adjoint")
    again = Given(task, given, layout, batch_size=20)
    again.bucket = True
    (batch, *_) = again.train_dataloader().batch_sampler
    sizes = [layout.size(given[index]) for index in batch]
    assert sizes == sorted(sizes)
    chosen, rows = np.unique(table["sample"], return_counts=True)
    assert len(chosen) == samples
    assert [sizes[number] for number in chosen] == rows.tolist()
    each = np.array_split(np.sort(sizes), samples)
    assert all(part.min() <= size <= part.max() for part, size in zip(each, rows, strict=True))
