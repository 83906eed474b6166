"""Models: the loss and the metrics by hand, layers, equal sizes, mistakes, checkpoints."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from composed import option_node
from hydra.utils import get_object
from small import SEQUENCES, STEPS, TREES, Given, model_of, run, sentences, sequences
from torch.nn.functional import cross_entropy

from rnn_research.cells import LSTM, RNN, ChildSumTreeLSTM, NaryTreeLSTM
from rnn_research.clipping.none import NoClipping
from rnn_research.config.groups import CONF
from rnn_research.datasets.base import DataModule
from rnn_research.datasets.task import SPLITS, Task
from rnn_research.models import Model
from rnn_research.models.metrics import RunningMetrics
from rnn_research.models.model import count_parameters
from rnn_research.models.objective import objective_of
from rnn_research.models.sizing import hidden_size_for
from rnn_research.records.metrics_file import read_metrics
from rnn_research.structures import BalancedTreeLayout, ParseTreeLayout, Sample

SUMS = Task("regression", input_size=2, output_size=2, tolerance=2.0)
GIVEN = {
    "chain": Given(STEPS, sequences(11, steps=True)),
    "parse": Given(TREES, sentences(11), ParseTreeLayout()),
    "balanced": Given(TREES, sentences(11), BalancedTreeLayout()),
}


def sums(count: int, seed: int = 0) -> list[Sample]:
    """The sums of two features: a regression with two components."""
    random = np.random.default_rng(seed)
    rows = [random.normal(size=(random.integers(1, 6), 2)).astype(np.float32) for _ in range(count)]
    return [Sample(row, row.sum(0)) for row in rows]


def _lone(data: Given, sample: Sample) -> Any:
    return data.layout.collate([sample])


def _labelled(data: Given, model: Model, sample: Sample) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs and targets at the labelled positions of one sample alone."""
    batch = _lone(data, sample)
    kept = batch.position_targets != -1
    return model.readout(model.fold(batch).hidden)[kept], batch.position_targets[kept]


# The loss.


@pytest.mark.parametrize("layout", GIVEN)
@pytest.mark.parametrize("loss", ["auto", "terminal", "every"])
def test_the_loss_by_hand(layout: str, loss: str) -> None:
    """terminal: the mean over samples; every: the mean over labels of the whole batch."""
    data = GIVEN[layout]
    samples = data.samples("train")
    if layout == "balanced" and loss == "every":
        with pytest.raises(ValueError, match=r"^loss: given every, but these batches label no positions"):
            model_of(data, loss=loss)
        return
    model = model_of(data, NaryTreeLSTM if layout != "chain" else LSTM, loss=loss).double()
    with torch.no_grad():
        found = model.training_step(data.layout.collate(samples), 0)
        if loss == "terminal" or layout == "balanced":
            expected = [cross_entropy(model(_lone(data, s)), torch.tensor([s.target])) for s in samples]
        else:
            pairs = [_labelled(data, model, sample) for sample in samples]
            expected = [cross_entropy(*pair, reduction="none") for pair in pairs]
            expected = list(torch.cat(expected))
            assert len(expected) != len(samples)
    assert found.item() == pytest.approx(float(sum(expected)) / len(expected), rel=1e-12)


@pytest.mark.parametrize("target", ["vector", "column", "number"])
def test_the_loss_of_a_regression(target: str) -> None:
    """The squared error, averaged over components; one number a sample needs no axis of its own."""
    task = Task("regression", input_size=2, output_size=2 if target == "vector" else 1)
    given = {"vector": lambda s: s, "column": lambda s: s[:1], "number": lambda s: float(s[0])}[target]
    samples = [Sample(sample.inputs, given(sample.target)) for sample in sums(7)]
    data = Given(task, samples)
    model = model_of(data).double()
    with torch.no_grad():
        found = model.training_step(data.layout.collate(samples), 0)
        errors = [(model(_lone(data, s)).numpy() - np.asarray(s.target)) ** 2 for s in samples]
    assert found.item() == pytest.approx(np.mean([error.mean() for error in errors]), rel=1e-6)


def test_a_batch_without_labels_teaches_nothing() -> None:
    """Where the loss is at labelled positions: it is 0, not the NaN that a mean over nothing is."""
    samples = [Sample(s.inputs, s.target, step_targets=np.full(len(s.inputs), -1)) for s in sequences(3)]
    data = Given(STEPS, samples)
    model = model_of(data)
    loss = model.training_step(data.layout.collate(samples), 0)
    loss.backward()
    assert loss.item() == 0.0
    assert all((parameter.grad == 0).all() for parameter in model.parameters())


# Metrics.


@pytest.mark.parametrize("layout", GIVEN)
def test_metrics_are_counts_over_uneven_batches(layout: str, tmp_path: Path) -> None:
    """11 samples in batches of 4, 4 and 3."""
    data = Given(GIVEN[layout].of, GIVEN[layout].given, GIVEN[layout].layout)
    model = model_of(data, LSTM).double()
    record = run(data, model, tmp_path, max_steps=3)
    rows = {row["split"]: row for row in read_metrics(tmp_path)}
    with torch.no_grad():
        samples = data.samples("test")
        answers = torch.cat([model(_lone(data, sample)) for sample in samples])
        targets = torch.tensor([sample.target for sample in samples])
        loss = cross_entropy(answers, targets).item()
        expected = {"accuracy": (answers.argmax(-1) == targets).double().mean().item()}
        if layout != "balanced":
            pairs = [_labelled(data, model, sample) for sample in samples]
            outputs, labels = (torch.cat(parts) for parts in zip(*pairs, strict=True))
            loss = cross_entropy(outputs, labels).item()
            expected["position_accuracy"] = (outputs.argmax(-1) == labels).double().mean().item()
    for split in ("val", "test"):
        assert set(rows[split]) - {"step", "epoch", "split"} == {"loss", *expected}
        assert float(rows[split]["loss"]) == pytest.approx(loss, rel=1e-12)
        assert record.final[f"{split}_loss"] == pytest.approx(loss, rel=1e-12)
        for name, value in expected.items():
            assert record.final[f"{split}_{name}"] == pytest.approx(value, rel=1e-6)
            assert 0 < value < 1


def test_metrics_of_a_regression_and_its_baseline(tmp_path: Path) -> None:
    data = Given(SUMS, dict(zip(SPLITS, (sums(9), sums(7, 1), sums(11, 2)), strict=True)))
    model = model_of(data).double()
    record = run(data, model, tmp_path, max_steps=3)
    mean = np.mean([sample.target for sample in data.samples("train")], axis=0)
    for split in ("val", "test"):
        with torch.no_grad():
            answers = torch.cat([model(_lone(data, sample)) for sample in data.samples(split)]).numpy()
        targets = np.array([sample.target for sample in data.samples(split)])
        within = (np.abs(answers - targets) <= 2.0).all(1)
        assert record.final[f"{split}_mse"] == pytest.approx(np.mean((answers - targets) ** 2), rel=1e-6)
        assert record.final[f"{split}_loss"] == pytest.approx(np.mean((answers - targets) ** 2), rel=1e-6)
        assert record.final[f"{split}_accuracy"] == pytest.approx(within.mean(), rel=1e-12)
        assert 0 < within.mean() < 1
        assert record.baselines[f"{split}_mse"] == pytest.approx(np.mean((targets - mean) ** 2), rel=1e-6)


def test_the_baseline_of_a_classification(tmp_path: Path) -> None:
    data = Given(SEQUENCES, dict(zip(SPLITS, (sequences(20), sequences(7, seed=1), sequences(9, seed=2)), strict=True)))
    record = run(data, model_of(data), tmp_path, max_steps=1)
    train = [sample.target for sample in data.samples("train")]
    most = max(set(train), key=train.count)
    for split in ("val", "test"):
        right = np.mean([sample.target == most for sample in data.samples(split)])
        assert record.baselines[f"{split}_accuracy"] == pytest.approx(right)


def test_a_loss_that_is_nan_stays_visible() -> None:
    """In one batch of a split: the mean is NaN, not the mean of the other batches."""
    model = model_of(GIVEN["chain"])
    batch = GIVEN["chain"].layout.collate(GIVEN["chain"].samples("val"))
    model.validation_step(batch, 0)
    with torch.no_grad():
        model.readout.bias.fill_(float("nan"))
    model.validation_step(batch, 1)
    assert math.isnan(model.measured("val")["loss"])


def test_what_was_measured_starts_anew() -> None:
    model = model_of(GIVEN["chain"])
    batch = GIVEN["chain"].layout.collate(GIVEN["chain"].samples("val"))
    model.validation_step(batch, 0)
    first = model.measured("val")
    with torch.no_grad():
        model.readout.weight.neg_()
    model.validation_step(batch, 0)
    assert model.measured("val") != first
    assert math.isnan(model.measured("val")["loss"])  # nothing since


@pytest.mark.parametrize("name", ["classification", "regression"])
@pytest.mark.parametrize("batches", [1, RunningMetrics.TOGETHER, 2 * RunningMetrics.TOGETHER + 3])
def test_a_tally_is_torchmetrics_batch_by_batch(name: str, batches: int) -> None:
    """It counts many batches, of any size, at a time."""
    task = STEPS if name == "classification" else SUMS
    ours, random = objective_of(task), torch.Generator().manual_seed(0)
    tally = RunningMetrics(ours.answer_metrics(), ours.position_metrics() if name == "classification" else None)
    for _ in range(2):  # then it starts anew
        answers, positions, losses = ours.answer_metrics(), objective_of(STEPS).position_metrics(), []
        for _ in range(batches):
            size = int(torch.randint(1, 9, (), generator=random))
            if name == "classification":
                pair, nodes = (
                    torch.randint(3, (2, size), generator=random),
                    torch.randint(3, (2, 3 * size), generator=random),
                )
            else:
                pair, nodes = 3 * torch.randn(2, size, 2, generator=random), None
            loss = torch.rand((), generator=random)
            answers.update(*pair)
            losses += [float(loss)] * size
            if nodes is not None:
                positions.update(*nodes)
            tally.add(loss, size, tuple(pair), None if nodes is None else tuple(nodes))
        expected = {"loss": torch.tensor(losses).mean(), **answers.compute()}
        expected |= positions.compute() if name == "classification" else {}
        found = tally.measured()
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert found[key] == pytest.approx(value.item(), rel=1e-6), key


@pytest.mark.parametrize("size", [1, 3, 7, 32, 100])
@pytest.mark.parametrize("components", [1, 2])
def test_the_mean_squared_error_in_one_operation_has_the_same_bits(size: int, components: int) -> None:
    """And the same gradient."""
    objective, random = objective_of(replace(SUMS, output_size=components)), torch.Generator().manual_seed(size)
    targets, found = torch.randn(size, components, generator=random), []
    outputs = 9 * torch.randn(size, components, generator=random)
    for mean in (lambda x: objective.mean_loss(x, targets, True), lambda x: objective.losses(x, targets).mean()):
        given = outputs.clone().requires_grad_()
        loss = mean(given)
        loss.backward()
        found.append((loss.detach(), given.grad))
    ours, plain = found
    assert all(torch.equal(one, other) for one, other in zip(ours, plain, strict=True))


def test_a_tally_of_halves_sums_as_floats() -> None:
    """The sum of these squares is no float16."""
    tally = RunningMetrics(objective_of(SUMS).answer_metrics())
    for _ in range(3):
        tally.add(torch.ones(()), 4, (torch.full((4, 2), 200.0).half(), torch.zeros(4, 2).half()))
    assert tally.measured()["mse"] == 40_000


# Inputs and layers.


def test_token_0_reads_as_zero_and_learns_nothing(tmp_path: Path) -> None:
    data = GIVEN["parse"]
    model = model_of(data, NaryTreeLSTM)
    batch = data.layout.collate(data.samples("train"))
    assert (batch.inputs == 0).any()
    before = model.embedding.weight.detach().clone()
    model.training_step(batch, 0).backward()
    assert (model.embedding.weight.grad[0] == 0).all()
    assert (model.embedding.weight.grad[1:] != 0).all()
    run(Given(data.of, data.given, data.layout), model, tmp_path, max_steps=3)
    assert (before[0] == 0).all()
    assert (model.embedding.weight[0] == 0).all()
    assert (model.embedding.weight[1:] != before[1:]).any(1).all()


@pytest.mark.parametrize("size", [1, 5])
def test_embeddings_have_the_size_asked_for(size: int) -> None:
    model = model_of(GIVEN["parse"], embedding_size=size)
    assert model.embedding.weight.shape == (7, size)
    assert model.cells[0].input_size == size
    assert model_of(GIVEN["chain"]).embedding is None


def test_each_layer_reads_the_one_below() -> None:
    data = GIVEN["chain"]
    model = model_of(data, LSTM, num_layers=3, loss="terminal").double()
    assert [cell.input_size for cell in model.cells] == [2, 4, 4]
    for sample in data.samples("train"):
        inputs = torch.from_numpy(sample.inputs).double()
        for cell in model.cells:
            torch_cell = torch.nn.LSTM(cell.input_size, 4).double()
            torch_cell.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
            inputs = torch_cell(inputs)[0]
        with torch.no_grad():
            torch.testing.assert_close(model(_lone(data, sample))[0], model.readout(inputs[-1]), rtol=1e-12, atol=0)


def test_dropout_is_between_layers_alone() -> None:
    data = GIVEN["chain"]
    batch = data.layout.collate(data.samples("train"))
    one, two = (model_of(data, num_layers=layers, dropout=0.5) for layers in (1, 2))
    assert torch.equal(one(batch), one(batch))
    torch.manual_seed(0)
    assert not torch.equal(two(batch), two(batch))
    two.eval()
    assert torch.equal(two(batch), two(batch))
    two.train()
    layers = two.fold(batch).layers
    below = layers[0].hidden
    seen: list[torch.Tensor] = []
    two.between.register_forward_hook(lambda _, given, out: seen.extend([*given, out]))
    two.fold(batch)
    assert torch.equal(seen[0], below)  # the first layer itself is whole
    kept = seen[1] != 0
    torch.testing.assert_close(seen[1][kept], 2 * seen[0][kept])
    share = (kept & (seen[0] != 0)).sum() / (seen[0] != 0).sum()
    assert 0.35 < share < 0.65


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "bf16-mixed"])
def test_other_precisions(precision: str, tmp_path: Path) -> None:
    for name, (data, cell) in {
        "trees": (Given(TREES, sentences(8), ParseTreeLayout()), ChildSumTreeLSTM),
        "sums": (Given(SUMS, sums(8)), LSTM),
    }.items():
        record = run(data, model_of(data, cell), tmp_path / name, max_steps=2, precision=precision)
        assert record.status == "done"
        assert np.isfinite(list(record.final.values())).all()


# Sizes.

MODELS = sorted(path.stem for path in (CONF / "model").glob("[!_]*.yaml"))


@pytest.fixture(scope="module")
def cells() -> dict[str, Any]:
    """Each model option's cell, without its size."""
    made = {}
    for name in MODELS:
        node = option_node("model", name).cell
        keys = {key: value for key, value in node.items() if key[0] != "_" and key != "hidden_size"}
        made[name] = partial(get_object(node._target_), **keys)
    return made


def _sized(cell: Any, data: DataModule = GIVEN["parse"], **arguments: Any) -> Model:
    return model_of(data, cell, num_layers=2, embedding_size=5, **arguments)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("target", [150, pytest.param(1000, marks=pytest.mark.slow), 12345])
def test_parameters_are_matched_as_near_as_can_be(name: str, target: int, cells: dict[str, Any]) -> None:
    model = _sized(cells[name], match_parameters=target)
    size = model.cells[0].hidden_size
    assert {cell.hidden_size for cell in model.cells} == {size}
    distances = [
        abs(count_parameters(_sized(cells[name], hidden_size=h)) - target) for h in (size - 1, size, size + 1) if h
    ]
    nearest = abs(count_parameters(model) - target)
    assert nearest in distances
    assert nearest == min(distances)


def test_matching_changes_no_number(cells: dict[str, Any]) -> None:
    """A matched model is the one that its size gives."""
    matched = _sized(cells["gru"], match_parameters=1000)
    plain = _sized(cells["gru"], hidden_size=matched.cells[0].hidden_size)
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in matched.state_dict().items())


@pytest.mark.parametrize(("target", "size"), [(2, 1), (6, 3), (7, 3), (8, 4), (9, 4)])
def test_of_two_sizes_equally_near_the_smaller_is_taken(target: int, size: int) -> None:
    assert hidden_size_for(target, lambda size: torch.nn.Linear(size, 2, bias=False), count_parameters) == size


@pytest.mark.parametrize("name", MODELS)
def test_too_few_parameters_are_refused(name: str, cells: dict[str, Any]) -> None:
    smallest = count_parameters(_sized(cells[name], hidden_size=1))
    with pytest.raises(ValueError, match=rf"^match_parameters: given 9, expected {smallest} "):
        _sized(cells[name], match_parameters=9)
    assert _sized(cells[name], match_parameters=smallest).cells[0].hidden_size == 1


def test_a_parameter_count_is_the_sum_of_what_is_trained() -> None:
    model = model_of(GIVEN["chain"], LSTM)
    assert count_parameters(model) == 4 * 4 * (2 + 4 + 2) + 3 * (4 + 1)
    model.readout.bias.requires_grad_(False)
    assert count_parameters(model) == 4 * 4 * (2 + 4 + 2) + 3 * 4


# Mistakes.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dropout": 1.5}, "dropout: given 1.5, expected a number >= 0 and <= 1"),
        ({"dropout": -0.1}, "dropout: given -0.1"),
        ({"dropout": float("nan")}, "dropout: given nan"),
        ({"num_layers": 0}, "num_layers: given 0, expected an integer >= 1"),
        ({"hidden_size": 0}, "hidden_size: given 0"),
        ({"hidden_size": -3}, "hidden_size: given -3"),
        ({"embedding_size": 0}, "embedding_size: given 0"),
        ({"match_parameters": 0}, "match_parameters: given 0"),
        ({"match_parameters": 10**15}, "match_parameters: given 1000000000000000"),
        ({"loss": "all"}, "loss: given 'all', expected one of auto, terminal, every"),
        ({"max_children": 0}, "max_children: given 0"),
    ],
    ids=str,
)
def test_a_mistake_names_its_key(arguments: dict[str, Any], message: str) -> None:
    task = TREES
    given = {"loss": "terminal", **arguments}
    cell = partial(RNN, hidden_size=given.pop("hidden_size", 4))
    with pytest.raises(ValueError, match=f"^{message}"):
        Model(task, cell, partial(torch.optim.SGD, lr=0.1), NoClipping(), position_targets=True, **given)


@pytest.mark.parametrize("loss", ["auto", "every"])
def test_numbers_at_every_position_are_refused(loss: str) -> None:
    """They would be compared by broadcasting: every output with every target."""
    task = Task("regression", input_size=2, output_size=1, step_targets=True)
    samples = [Sample(s.inputs, 0.5, step_targets=np.zeros(len(s.inputs), np.float32)) for s in sequences(4)]
    with pytest.raises(ValueError, match=f"^loss: given {loss}, .* expected classes; use model.loss=terminal"):
        model_of(Given(task, samples), loss=loss)
    assert model_of(Given(task, samples), loss="terminal").architecture.learns_positions is False


# Checkpoints.


@pytest.mark.parametrize("layout", GIVEN)
def test_a_checkpoint_restores_the_test_metrics(layout: str, tmp_path: Path) -> None:
    data = Given(GIVEN[layout].of, GIVEN[layout].given, GIVEN[layout].layout)
    record = run(data, model_of(data, LSTM, num_layers=2), tmp_path / "first", max_steps=4)
    saved = torch.load(tmp_path / "first" / "checkpoint.ckpt", weights_only=True)
    assert saved["global_step"] == 4
    fresh = model_of(data, LSTM, num_layers=2, seed=1)
    fresh.load_state_dict(saved["state_dict"])
    again = Given(GIVEN[layout].of, GIVEN[layout].given, GIVEN[layout].layout)
    fresh.optimizer = partial(torch.optim.SGD, lr=0.0)
    restored = run(again, fresh, tmp_path / "second", max_steps=1)
    for name in [name for name in record.final if name.startswith("test_")]:
        assert restored.final[name] == record.final[name], name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_prediction_is_the_first_of_the_likeliest_classes(dtype: torch.dtype) -> None:
    objective = objective_of(Task("classification", input_size=2, output_size=4))
    outputs = torch.tensor([[0, 2, 2, 1], [3, 3, 3, 3], [-1, -torch.inf, 0, 0], [0, torch.nan, 5, torch.nan]])
    found = objective.predictions(outputs.to(dtype).requires_grad_())
    assert found.tolist() == outputs.argmax(-1).tolist() == [1, 0, 2, 1]
    assert found.dtype == torch.int64
    assert objective.predictions(outputs[:0].to(dtype)).shape == (0,)
