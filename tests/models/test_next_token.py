"""Language models: streams whose state is carried, what is counted of their losses, adjoints within a window."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import STEPS, Given, model_of, run, sequences

from rnn_research.cells import GRU, LSTM, RNN
from rnn_research.clipping.h_detach import HDetach
from rnn_research.clipping.tbptt import TBPTT
from rnn_research.datasets.text.language import Text
from rnn_research.models import Model
from rnn_research.models.architectures import Label, NextToken, Position
from rnn_research.probes.adjoint import Adjoint
from rnn_research.probes.saturation import Saturation
from rnn_research.records import runs
from rnn_research.regularizers.flossing import Flossing
from rnn_research.regularizers.omega import Omega
from rnn_research.regularizers.orthogonality import Orthogonality
from rnn_research.regularizers.spectral import Spectral
from rnn_research.structures import BalancedTreeLayout
from rnn_research.training.answers import answers_of

LOG2 = math.log(2)


def text_of(folder: Path, text: str | None = None, **options: Any) -> Text:
    path = folder / "text.txt"
    path.write_text(text or "".join(np.random.default_rng(0).choice(list("abcde"), 3000)), encoding="utf-8")
    return Text(str(path), **options)


def evaluated(model: Model, data: Text, split: str = "val") -> dict[str, float]:
    """What is measured of a part, as the trainer would."""
    step = model.validation_step if split == "val" else model.test_step
    with torch.no_grad():
        for number, batch in enumerate(data.evaluation_dataloader(split)):
            step(batch, number)
    return model.measured(split)


def torch_losses(model: Model, tokens: np.ndarray, kind: type[torch.nn.RNNBase]) -> torch.Tensor:
    """The loss at each step of a whole text, by torch's own network from a state of zero."""
    cell = model.cells[0]
    net = kind(cell.input_size, cell.hidden_size, batch_first=True).to(model.dtype)
    net.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
    read = torch.from_numpy(tokens.astype(np.int64))
    with torch.no_grad():
        hidden, _ = net(model.embedding(read[None, :-1]))
        return torch.nn.functional.cross_entropy(model.readout(hidden[0]), read[1:] - 1, reduction="none")


@pytest.mark.parametrize(("cell", "kind"), [(LSTM, torch.nn.LSTM), (GRU, torch.nn.GRU), (RNN, torch.nn.RNN)])
def test_a_part_is_evaluated_as_one_text_whatever_the_batch_and_the_window(
    cell: Any, kind: Any, tmp_path: Path
) -> None:
    found = []
    for options in ({}, {"batch_size": 5, "window": 7}, {"batch_size": 1, "window": 1000}):
        data = text_of(tmp_path, val_fraction=0.3, **options)
        model = model_of(data, cell, hidden_size=8).double()
        found.append(evaluated(model, data))
    wanted = float(torch_losses(model, data.corpus.parts["val"], kind).mean())
    assert found[0]["loss"] == pytest.approx(wanted, rel=1e-12)
    assert found[0] == found[1] == found[2]


def test_what_is_said_of_the_loss(tmp_path: Path) -> None:
    data = text_of(tmp_path, "no, my good lord. " * 300, tokens="words")
    model = model_of(data, LSTM)
    found = evaluated(model, data, "test")
    assert found["bits"] == pytest.approx(found["loss"] / LOG2)
    assert found["perplexity"] == pytest.approx(math.exp(found["loss"]))
    corpus = data.corpus
    ratio = len(corpus.parts["test"]) / corpus.characters["test"]
    assert found["bits_per_character"] == pytest.approx(found["bits"] * ratio)
    part = corpus.parts["test"].astype(np.int64)
    with torch.no_grad():
        hidden = model.fold(next(iter(data.test_dataloader()))).hidden
    guesses = model.readout(hidden).argmax(-1).flatten().numpy() + 1
    assert found["position_accuracy"] == pytest.approx(float((guesses == part[1:]).mean()))
    assert set(model.tallies["test_"].names) == set(found)
    assert model.objective.of_loss(1e4, "val")["perplexity"] == math.inf
    assert math.isnan(model.objective.of_loss(math.nan, "val")["bits"])


def test_each_window_has_its_own_answer(tmp_path: Path) -> None:
    data = text_of(tmp_path, test_fraction=0.35)
    model = model_of(data, LSTM)
    found = evaluated(model, data, "test")
    columns = answers_of("test", data.test_dataloader(), model.answered, data.features("test"))
    assert columns["length"].tolist() == [512, 512, 25]
    assert columns["position"].tolist() == [0, 512, 1024]
    assert (columns["loss"] * columns["length"]).sum() / 1049 == pytest.approx(found["loss"], rel=1e-6)


def test_the_readout_reads_once_a_batch(tmp_path: Path) -> None:
    data = text_of(tmp_path)
    model, seen = model_of(data, LSTM), []
    model.readout.register_forward_hook(lambda module, given, out: seen.append(out.shape))
    batch = next(iter(data.train_dataloader()))
    model.training_step(batch, 0)
    model.test_step(batch, 0)
    assert len(seen) == 2


# Streams.


def test_training_goes_on_where_the_batch_before_ended(tmp_path: Path) -> None:
    data = text_of(tmp_path, batch_size=3, window=10)
    model = model_of(data, LSTM, hidden_size=8).double()
    streams = (len(data.corpus.parts["train"]) - 1) // 3
    tokens = [data.corpus.parts["train"][row * streams : (row + 1) * streams + 1] for row in range(3)]
    wanted = torch.stack([torch_losses(model, one, torch.nn.LSTM) for one in tokens])
    for _ in range(2):  # states begin at zero with each epoch
        for number, batch in enumerate(data.train_dataloader()):
            loss = model.training_step(batch, number)
            torch.testing.assert_close(loss, wanted[:, 10 * number : 10 * number + 10].mean(), rtol=1e-12, atol=0)


def test_windows_that_are_independent_begin_at_zero(tmp_path: Path) -> None:
    data = text_of(tmp_path, stateful=False, window=10)
    model = model_of(data, LSTM, hidden_size=8).double()
    part = data.corpus.parts["val"]
    windows = [torch_losses(model, part[at : at + 11], torch.nn.LSTM) for at in range(0, len(part) - 1, 10)]
    assert evaluated(model, data)["loss"] == pytest.approx(float(torch.cat(windows).mean()), rel=1e-12)


def test_validation_between_two_batches_changes_no_state_of_training(tmp_path: Path) -> None:
    data = text_of(tmp_path, batch_size=3, window=10)
    losses = []
    for validates in (False, True):
        model = model_of(data, LSTM)
        found = []
        for number, batch in zip(range(4), data.train_dataloader(), strict=False):
            found.append(model.training_step(batch, number).item())
            if validates:
                evaluated(model, data)
        losses.append(found)
    assert losses[0] == losses[1]


def test_a_state_that_is_not_finite_is_not_carried(tmp_path: Path) -> None:
    data = text_of(tmp_path, batch_size=3, window=10)
    model = model_of(data, partial(RNN, nonlinearity="relu"))
    with torch.no_grad():
        model.embedding.weight[2] = -1.0  # what is read there keeps every unit at zero
        for weights, value in ((model.cells[0].weight_ih, 1.0), (model.cells[0].weight_hh, 1e30)):
            weights.fill_(value)
    first, second, *_ = data.train_dataloader()
    first.inputs[0] = 2
    assert not model.training_step(first, 0).isfinite()
    (state,) = model.carried.before("train", second) or ()
    assert state.hidden.isfinite().all()
    assert (state.hidden[1:] == 0).all()


def test_a_batch_that_goes_on_from_nothing_is_refused(tmp_path: Path) -> None:
    data = text_of(tmp_path, batch_size=3, window=10)
    _, second, *_ = data.train_dataloader()
    with pytest.raises(RuntimeError, match="not seen"):
        model_of(data).training_step(second, 0)


# Adjoints.


def test_adjoints_are_those_within_the_window(tmp_path: Path) -> None:
    """Of the second window, against an independent loop that keeps every state's gradient: each state has the losses of
    the steps from its own to the window's end, and none of what lies before or after."""
    data = text_of(tmp_path, batch_size=3, window=10)
    model = model_of(data, LSTM, hidden_size=6).double()
    first, second, *_ = data.train_dataloader()
    model.training_step(first, 0).backward()
    model.step.recorded = True
    loss = model.training_step(second, 1)
    layer = model.step.parts["cells"].unrolled.top
    terminal = layer.adjoints_of(model.step.terminal)
    loss.backward()
    cell = torch.nn.LSTMCell(3, 6).double()
    cell.load_state_dict(model.cells[0].state_dict())
    with torch.no_grad():
        h = c = torch.zeros(3, 6, dtype=torch.float64)
        for step in range(10):
            h, c = cell(model.embedding(first.inputs[:, step]), (h, c))
    states, losses = [], []
    for step in range(10):
        h, c = cell(model.embedding(second.inputs[:, step]), (h, c))
        h.retain_grad()
        c.retain_grad()
        states.append((h, c))
        targets = second.position_targets[:, step]  # type: ignore[index]
        losses.append(torch.nn.functional.cross_entropy(model.readout(h), targets, reduction="sum"))
    for wanted, found in ((losses[-1], terminal), (sum(losses) / 30, layer.adjoints)):
        for one in (part for pair in states for part in pair):
            one.grad = None
        wanted.backward(retain_graph=True)
        for part, values in enumerate(found):
            expected = torch.stack([pair[part].grad for pair in states], 1)  # type: ignore[misc]
            torch.testing.assert_close(values, expected, rtol=1e-12, atol=1e-15)
    assert layer.distance[0].tolist() == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert not second.inputs.is_floating_point()


def test_the_curve_s_table_has_the_window_s_distances(tmp_path: Path) -> None:
    data = text_of(tmp_path, batch_size=3, window=10)
    probes = {"adjoint": Adjoint(1), "saturation": Saturation(1)}
    run(data, model_of(data, LSTM), tmp_path / "run", probes, max_steps=3, max_epochs=-1)
    table = runs.read_table(tmp_path / "run", "adjoint")
    assert table is not None
    assert set(table["distance"]) == set(range(10))
    assert set(table["step"]) == {0, 1, 2}
    last = table[table["distance"] == 0]
    np.testing.assert_allclose(last["hidden"], last["hidden_terminal"], rtol=1e-5)


@pytest.mark.parametrize("clipping", [TBPTT(k1=3), TBPTT(k1=3, k2=5), HDetach(probability=0.5)])
@pytest.mark.parametrize("engine", ["native", "reference"])
def test_what_acts_inside_acts_on_streams(clipping: Any, engine: str, tmp_path: Path) -> None:
    data = text_of(tmp_path, batch_size=3, window=10)
    model = model_of(data, LSTM, clipping=clipping, engine=engine)
    model.attach(trees=False)
    plain = model_of(data, LSTM)
    for number, batch in zip(range(3), data.train_dataloader(), strict=False):
        loss, expected = model.training_step(batch, number), plain.training_step(batch, number)
        torch.testing.assert_close(loss, expected)  # forward they are the same
        loss.backward()
    assert model.cells[0].weight_hh.grad is not None


def test_engines_agree_on_streams(tmp_path: Path) -> None:
    data = text_of(tmp_path, batch_size=3, window=10)
    gradients = []
    for engine in ("native", "torch", "reference"):
        model = model_of(data, LSTM, engine=engine, num_layers=2).double()
        for number, batch in zip(range(3), data.train_dataloader(), strict=False):
            model.training_step(batch, number).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for other in gradients[1:]:
        for one, two in zip(gradients[0], other, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-14)


# The architecture.


def test_tied_weights_are_one(tmp_path: Path) -> None:
    data = text_of(tmp_path)
    model = model_of(data, LSTM, hidden_size=6, embedding_size=6, tie_weights=True)
    assert model.readout.weight is model.embedding.weight
    untied = model_of(data, LSTM, hidden_size=6, embedding_size=6)
    weights = sum(parameter.numel() for parameter in model.parameters())
    assert weights == sum(parameter.numel() for parameter in untied.parameters()) - 6 * data.task.output_size
    hidden = torch.randn(5, 6)
    torch.testing.assert_close(model.readout(hidden), hidden @ model.embedding.weight[1:].T + model.readout.bias)
    loss = model.training_step(next(iter(data.train_dataloader())), 0)
    loss.backward()
    assert (model.embedding.weight.grad[0] == 0).all()
    assert (model.embedding.weight.grad[2:] != 0).any(1).all()
    again = model_of(data, LSTM, hidden_size=6, embedding_size=6, tie_weights=True, seed=1)
    again.load_state_dict(model.state_dict())
    assert again.readout.weight is again.embedding.weight
    record = run(
        data, model_of(data, LSTM, hidden_size=6, embedding_size=6, tie_weights=True), tmp_path / "r", max_steps=2
    )
    assert record.status == "done"


def test_dropout_acts_before_the_readout(tmp_path: Path) -> None:
    data = text_of(tmp_path)
    batch = next(iter(data.train_dataloader()))
    losses = [model_of(data, LSTM, output_dropout=p).training_step(batch, 0).item() for p in (0.0, 0.5)]
    assert losses[0] != losses[1]


def test_what_has_no_meaning_is_refused(tmp_path: Path) -> None:
    data = text_of(tmp_path)
    made = partial(model_of, data, LSTM, hidden_size=6)
    with pytest.raises(ValueError, match="embedding_size=3 and hidden_size=6"):
        made(tie_weights=True)
    with pytest.raises(ValueError, match="beside match_parameters"):
        made(tie_weights=True, match_parameters=1000)
    for architecture in (Label, Position):
        with pytest.raises(ValueError, match="for the next token"):
            made(architecture=architecture)
    with pytest.raises(ValueError, match="for the next token"):
        made(loss="terminal")
    assert isinstance(made(loss="every").architecture, NextToken)
    steps = Given(STEPS, sequences(4, steps=True))
    with pytest.raises(ValueError, match="ask for a label"):
        model_of(steps, architecture=NextToken)
    with pytest.raises(ValueError, match="tie_weights"):
        model_of(steps, tie_weights=True)
    data.layout = BalancedTreeLayout()
    with pytest.raises(ValueError, match="structure=chain"):
        made()


# A dependence 100 tokens back.


def remembering(data: Text, back: int, certainty: float) -> Model:
    """A linear RNN that is a register: unit k holds what was read k tokens ago, as +1 or -1 (0: nothing yet). What
    comes next is what was read `back - 1` tokens before, with this certainty."""
    model = model_of(data, partial(RNN, nonlinearity="identity"), hidden_size=back, embedding_size=1)
    known = data.encoder.vocabulary
    assert known is not None
    slope = math.log(certainty / (1 - certainty)) / 2
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        cell = model.cells[0]
        cell.weight_ih[0, 0] = 1.0
        cell.weight_hh[range(1, back), range(back - 1)] = 1.0
        model.readout.bias.fill_(-1e4)
        for word, sign in (("yes", 1.0), ("no", -1.0)):
            number = known.numbers[word]
            model.embedding.weight[number] = sign
            model.readout.weight[number - 1, back - 1] = sign * slope
            model.readout.bias[number - 1] = 0.0
    return model


@pytest.mark.parametrize(("batch_size", "window"), [pytest.param(8, 20, marks=pytest.mark.slow), (3, 7), (1, 64)])
def test_a_dependence_over_100_tokens_is_worth_what_it_is(batch_size: int, window: int, tmp_path: Path) -> None:
    """Words that repeat, in nine of ten cases, what was said 100 words before. Stateful evaluation knows them, from the
    101st on; windows of 20 words never see one. Both losses are those of an exact computation."""
    random, back, certainty = np.random.default_rng(1), 100, 0.9
    said = random.integers(0, 2, 8_000)
    for place in range(back, len(said)):
        said[place] = said[place - back] if random.random() < certainty else 1 - said[place - back]
    text = " ".join("yes" if one else "no" for one in said)
    losses = {}
    for stateful in (True, False):
        data = text_of(
            tmp_path, text, tokens="words", val_fraction=0.25, test_fraction=0.25, stateful=stateful,
            window=window, batch_size=batch_size,
        )  # fmt: skip
        model = remembering(data, back, certainty)
        model.optimizer = partial(torch.optim.SGD, lr=0.0)
        record = run(data, model, tmp_path / f"run{stateful}", max_steps=1, max_epochs=-1)
        losses[stateful] = record.final
    for split in ("val", "test"):
        part = data.corpus.parts[split]
        repeats = part[back:] == part[:-back]
        first = back - 1  # predictions before there is anything to remember; the first word is not predicted
        wanted = -np.where(repeats, math.log(certainty), math.log(1 - certainty)).sum() + first * LOG2
        wanted /= len(part) - 1
        assert losses[True][f"{split}_loss"] == pytest.approx(wanted, rel=1e-6)
        assert losses[False][f"{split}_loss"] == pytest.approx(LOG2, rel=1e-6)
        gain = losses[False][f"{split}_bits"] - losses[True][f"{split}_bits"]
        assert gain == pytest.approx(1 - wanted / LOG2, rel=1e-5)
        assert gain > 0.45


@pytest.mark.parametrize("engine", ["native", "torch", "reference"])
@pytest.mark.parametrize("cell", [LSTM, GRU, RNN])
def test_where_streams_end(cell: Any, engine: str, tmp_path: Path) -> None:
    data = text_of(tmp_path, batch_size=3, window=10)
    model = model_of(data, cell, engine=engine, num_layers=2)
    for batch in (next(iter(data.train_dataloader())), [*data.val_dataloader()][-1]):
        for layer in model.fold(batch).layers:
            ends = layer.ends()
            for part, whole in zip(ends, layer.states, strict=True):
                torch.testing.assert_close(part, batch.structure.terminal(whole))
                assert not part.requires_grad


@pytest.mark.parametrize("regularizer", [Omega(), Flossing(exponents=2, warm_up=3), Orthogonality(), Spectral()])
def test_regularizers_act_on_streams(regularizer: Any, tmp_path: Path) -> None:
    data = text_of(tmp_path, batch_size=3, window=10)
    name = type(regularizer).__name__.lower()
    model = model_of(data, RNN, regularizers={name: regularizer})
    assert run(data, model, tmp_path / "run", max_steps=3, max_epochs=-1).status == "done"
    assert np.isfinite(model.regularized.table()[name]).all()


def test_what_comes_next_is_not_read_from_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bidirectional"):
        model_of(text_of(tmp_path), LSTM, bidirectional=True)


def test_workers_serve_the_same_batches(tmp_path: Path) -> None:
    served = []
    for workers in (0, 2):
        data = text_of(tmp_path, batch_size=3, window=100, num_workers=workers)
        served.append([(batch.inputs.tolist(), batch.continues) for batch in data.train_dataloader()])
    assert served[0] == served[1]


@pytest.mark.parametrize(
    ("cell", "precision"),
    [  # each cell and each precision; the other pairs are slow
        pytest.param(cell, precision, marks=[pytest.mark.slow] if (place + number) % 2 else [])
        for place, cell in enumerate((LSTM, GRU, RNN))
        for number, precision in enumerate(("bf16-mixed", "bf16-true", "64-true"))
    ],
)
def test_states_are_carried_in_every_precision(cell: Any, precision: str, tmp_path: Path) -> None:
    data = text_of(tmp_path, batch_size=3, window=10)
    record = run(data, model_of(data, cell), tmp_path / "run", max_steps=3, max_epochs=-1, precision=precision)
    assert record.status == "done"
    assert record.final["test_bits"] < 3.5
