"""What an answer is read from beside the last state; class weights, macro F1, pretrained vectors and dropout."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from small import SEQUENCES, TREES, Given, model_of, run, sentences, sequences

from rnn_research.cells import LSTM, RNN, ChildSumTreeLSTM
from rnn_research.datasets.task import Task
from rnn_research.models.architectures.pooling import POOLINGS, Attention, pooled
from rnn_research.models.objective import Classification, objective_of
from rnn_research.probes.adjoint import Adjoint
from rnn_research.probes.callback import observation_of
from rnn_research.structures import Chain, ChainLayout, Forest, ParseTreeLayout, Sample

TERMINAL = replace(TREES, tree_targets=False)
DATA = {
    "chain": (Given(SEQUENCES, sequences(5)), RNN),
    "forest": (Given(TERMINAL, sentences(5, labels=False), ParseTreeLayout()), ChildSumTreeLSTM),
}


def _expected(pooling: str, structure: Chain | Forest, hidden: torch.Tensor, attention: Attention) -> torch.Tensor:
    """By a loop over the samples, of each one's own positions alone."""
    found = []
    for number in range(len(structure)):
        own = hidden[structure.mask & (structure.sample == number)]
        if pooling == "last":
            distance = structure.distance[structure.mask & (structure.sample == number)]
            found.append(own[distance.argmin()])
        elif pooling == "mean":
            found.append(own.mean(0))
        elif pooling == "max":
            found.append(own.max(0).values)
        else:
            weights = (
                torch.tanh(own @ attention.hidden.weight.T + attention.hidden.bias) @ attention.score.weight[0]
            ).softmax(0)
            found.append(weights @ own)
    return torch.stack(found)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("name", DATA)
def test_a_vector_is_of_a_samples_own_positions(name: str, pooling: str) -> None:
    data, _ = DATA[name]
    structure = data.layout.collate(data.samples("train")).structure
    torch.manual_seed(0)
    attention = Attention(4).double()
    hidden = torch.randn(*structure.mask.shape, 4, dtype=torch.float64)
    hidden[~structure.mask] = 1e9  # padding, which must not count
    hidden.requires_grad_()
    found = pooled(pooling, structure, hidden, attention)
    expected = _expected(pooling, structure, hidden, attention)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-14)
    weight = torch.randn_like(found)
    (one,) = torch.autograd.grad((found * weight).sum(), hidden, retain_graph=True)
    (other,) = torch.autograd.grad((expected * weight).sum(), hidden)
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
    assert (one[~structure.mask] == 0).all()


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("name", DATA)
def test_an_answer_is_the_same_whatever_else_is_in_the_batch(name: str, pooling: str) -> None:
    data, cell = DATA[name]
    model = model_of(data, cell, pooling=pooling).eval()
    samples = data.samples("train")
    with torch.no_grad():
        together = model(data.layout.collate(samples))
        alone = torch.cat([model(data.layout.collate([sample])) for sample in samples])
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_adjoints_are_those_of_plain_autograd_with_a_direct_part_at_every_position(pooling: str) -> None:
    """Against the cell applied to one step of one sample at a time. Where not the last state alone is read, every
    position has a direct part: the loss reads it there, and nothing vanishes on that way."""
    data, _ = DATA["chain"]
    model = model_of(data, LSTM, pooling=pooling).double()
    model.step.recorded = True
    batch = data.layout.collate(data.samples("train"))
    model.training_step(batch, 0).backward()
    model.on_after_backward()
    (layer,) = model.step.parts["cells"].unrolled.layers
    states, losses = [], []
    for sample in data.samples("train"):
        state: Any = None
        mine = []
        for step in torch.from_numpy(sample.inputs).double():
            state = model.cells[0](step[None], *(() if state is None else (state,)))
            state[0].retain_grad()
            mine.append(state[0])
        states += mine
        one = data.layout.collate([sample])
        vector = pooled(pooling, one.structure, torch.stack(mine, 1), getattr(model, "attention", None))
        losses.append(torch.nn.functional.cross_entropy(model.readout(vector), one.target))
    torch.stack(losses).mean().backward()
    expected = torch.cat([state.grad for state in states])  # type: ignore[misc]
    torch.testing.assert_close(layer.adjoints[0][layer.mask], expected, rtol=1e-11, atol=1e-14)
    assert (layer.adjoints[0][~layer.mask] == 0).all()
    direct = layer.direct[0][layer.mask].norm(dim=-1) > 0
    last = layer.distance[layer.mask] == 0
    assert direct.equal(last) if pooling == "last" else direct.all() or pooling == "max"
    with torch.no_grad():
        rows = Adjoint().measure(observation_of(model))
    assert len(rows["hidden"]) == layer.mask.sum()
    assert "hidden_terminal" not in rows


def test_a_pooled_state_takes_its_share_directly() -> None:
    """mean: dL/dh_t has 1/n of what the pooled vector has at each of n positions."""
    data, _ = DATA["chain"]
    model = model_of(data, RNN, pooling="mean").double()
    model.step.recorded = True
    batch = data.layout.collate(data.samples("train"))
    model.training_step(batch, 0).backward()
    (layer,) = model.step.parts["cells"].unrolled.layers
    lengths = batch.structure.lengths
    for number, length in enumerate(lengths.tolist()):
        own = layer.direct[0][number, :length]
        torch.testing.assert_close(own, own[:1].expand_as(own), rtol=0, atol=0)


def test_labels_at_positions_are_not_pooled() -> None:
    data = Given(TREES, sentences(5), ParseTreeLayout())
    with pytest.raises(ValueError, match=r"^pooling: given mean, but .* use model\.loss=terminal"):
        model_of(data, ChildSumTreeLSTM, pooling="mean")
    assert model_of(data, ChildSumTreeLSTM, pooling="mean", loss="terminal").architecture.blueprint.pooling == "mean"
    with pytest.raises(ValueError, match=r"^pooling: given 'sum', expected"):
        model_of(data, ChildSumTreeLSTM, pooling="sum")


@pytest.mark.parametrize("name", ["input_dropout", "output_dropout"])
def test_dropout_acts_in_training_alone_and_draws_nothing_where_it_is_0(name: str) -> None:
    data, cell = DATA["chain"]
    batch = data.layout.collate(data.samples("train"))
    plain, dropped = model_of(data, cell), model_of(data, cell, **{name: 0.5})
    losses = []
    for model in (plain, dropped):
        torch.manual_seed(1)
        losses.append(model.train().training_step(batch, 0).item())
        with torch.no_grad():
            losses.append(model.eval()(batch).sum().item())
    assert losses[0] != losses[2]
    assert losses[1] == losses[3]
    before = torch.get_rng_state()
    plain.train().training_step(batch, 0)
    assert torch.equal(before, torch.get_rng_state())


# Class weights and macro F1.


def test_class_weights_act_on_what_is_learnt_from_and_on_nothing_that_is_measured() -> None:
    weights = (0.5, 1.0, 3.0)
    samples = sequences(9)
    model = model_of(Given(replace(SEQUENCES, class_weights=weights), samples)).double()
    batch = ChainLayout().collate(samples)
    each = torch.nn.functional.cross_entropy(model(batch), batch.target, reduction="none")
    weighted = (each * torch.tensor(weights, dtype=torch.float64)[batch.target]).mean()
    assert model.training_step(batch, 0).item() == pytest.approx(weighted.item(), rel=1e-12)
    model.validation_step(batch, 0)
    assert model.measured("val")["loss"] == pytest.approx(each.mean().item(), rel=1e-12)
    model.test_step(batch, 0)
    assert model.answered[0]["loss"].mean().item() == pytest.approx(each.mean().item(), rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_macro_f1_is_scikit_learns(seed: int) -> None:
    random = np.random.default_rng(seed)
    targets, predictions = random.integers(0, 4, 30), random.integers(1, 5, 30)  # class 5 is nowhere, 0 never predicted
    task = Task("classification", 2, 6, classes=tuple("abcdef"))
    metrics = objective_of(task).answer_metrics()
    for part in (slice(0, 7), slice(7, 30)):
        metrics.update(torch.from_numpy(predictions[part]), torch.from_numpy(targets[part]))
    found = {str(name): float(value) for name, value in metrics.compute().items()}
    expected = f1_score(targets, predictions, average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(expected, rel=1e-6)
    assert found["accuracy"] == pytest.approx((targets == predictions).mean(), rel=1e-6)


def test_classes_without_names_are_measured_as_before() -> None:
    assert list(Classification(SEQUENCES).answer_metrics()) == ["accuracy"]


# Pretrained vectors.

VECTORS = np.full((7, 5), np.nan, dtype=np.float32)
VECTORS[2], VECTORS[4] = 1.5, np.arange(5)


def _words(vectors_frozen: bool = False) -> Given:
    task = replace(TERMINAL, max_children=None, vectors=VECTORS, vectors_frozen=vectors_frozen)
    return Given(task, [Sample(sample.inputs, sample.target) for sample in sentences(8)])


def test_vectors_are_where_an_embedding_starts() -> None:
    data = _words()
    weight, plain = model_of(data).embedding.weight, model_of(Given(TERMINAL, sentences(1)), embedding_size=5).embedding
    known = ~np.isnan(VECTORS[:, 0])
    np.testing.assert_array_equal(weight.detach().numpy()[known], VECTORS[known])
    assert torch.equal(weight[~torch.from_numpy(known)], plain.weight[~torch.from_numpy(known)])
    assert (weight[0] == 0).all()
    assert weight.shape == (7, 5)  # whatever embedding_size is: there it is 3
    sized = model_of(data, match_parameters=200)
    assert sized.cells[0].input_size == 5


@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_vectors_stay(frozen: bool, tmp_path: Path) -> None:
    data = _words(frozen)
    model = model_of(data, optimizer=partial(torch.optim.Adam, lr=0.1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert run(data, model, tmp_path, {"adjoint": Adjoint()}, max_steps=3).status == "done"
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert ("embedding.weight" not in changed) == frozen
    assert "readout.weight" in changed


def test_a_task_from_a_record_makes_a_model_of_the_same_shape() -> None:
    data = _words(vectors_frozen=True)
    again = model_of(Given(Task.of(data.task.plain()), data.samples("train")))
    again.load_state_dict(model_of(data, seed=3).state_dict())
    assert not again.embedding.weight.requires_grad
