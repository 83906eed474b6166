"""Layers of two chains: torch's own outputs and gradients, an independent loop's adjoints, distances, what acts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import SMALL, rnn_train
from small import SEQUENCES, STEPS, TREES, Given, model_of, run, sentences, sequences
from torch import Tensor, nn

from rnn_research import curves
from rnn_research.cells import GRU, LSTM, RNN, ChildSumTreeLSTM
from rnn_research.clipping.adjoint_norm import AdjointNorm
from rnn_research.clipping.adjoint_normalize import AdjointNormalize
from rnn_research.clipping.graves import Graves
from rnn_research.clipping.h_detach import HDetach
from rnn_research.clipping.tbptt import TBPTT
from rnn_research.compare import single
from rnn_research.curves import columns
from rnn_research.datasets.task import Task
from rnn_research.models import Model
from rnn_research.models.architectures import Label
from rnn_research.models.model import count_parameters
from rnn_research.probes.adjoint import Adjoint
from rnn_research.probes.callback import observation_of, terminal_adjoints
from rnn_research.probes.gradient_norm import GradientNorm
from rnn_research.probes.saturation import Saturation
from rnn_research.records import runs
from rnn_research.regularizers.flossing import Flossing
from rnn_research.regularizers.omega import Omega
from rnn_research.regularizers.orthogonality import Orthogonality
from rnn_research.structures import Batch, Chain, ParseTreeLayout, Sample

TORCH = {"rnn": (RNN, nn.RNN), "lstm": (LSTM, nn.LSTM), "gru": (GRU, nn.GRU)}
LENGTHS = [5, 1, 7, 3]
HIDDEN = 4


def made(cell: Any = LSTM, layers: int = 2, engine: str = "auto", task: Task = SEQUENCES, **more: Any) -> Model:
    data = Given(task, sequences(8, (1, 7), steps=task.step_targets))
    how = {"num_layers": layers, "engine": engine, "bidirectional": True, **more}
    return model_of(data, cell, HIDDEN, **how).double()


def batch_of(seed: int = 0, padding: float = 0.0, lengths: list[int] = LENGTHS, steps: bool = False) -> Batch:
    random = torch.Generator().manual_seed(seed)
    chain = Chain(torch.tensor(lengths))
    inputs = torch.randn(*chain.shape, 2, generator=random, dtype=torch.float64)
    inputs[~chain.mask] = padding
    labels = torch.randint(0, 3, chain.shape, generator=random).masked_fill(~chain.mask, -1) if steps else None
    return Batch(inputs, chain, torch.arange(len(lengths)) % 3, labels)


def torch_s(kind: Any, model: Model) -> Any:
    """Torch's own with the same weights."""
    theirs = kind(2, HIDDEN, len(model.cells) // 2, batch_first=True, bidirectional=True).double()
    for number, cell in enumerate(model.cells):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            suffix = "_reverse" if number % 2 else ""
            getattr(theirs, f"{name}_l{number // 2}{suffix}").data.copy_(getattr(cell, name).data)
    return theirs


@pytest.mark.parametrize("engine", ["native", "torch", "reference"])
@pytest.mark.parametrize("kind", TORCH)
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_outputs_and_gradients_are_torch_s(kind: str, engine: str, layers: int) -> None:
    """Of unequal lengths, packed there; whatever stands in the padding here is not read."""
    model = made(TORCH[kind][0], layers, engine)
    theirs, batch = torch_s(TORCH[kind][1], model), batch_of(padding=float("nan"))
    batch.inputs.requires_grad_()
    unrolled = model.fold(batch)
    clean = batch.inputs.detach().nan_to_num().requires_grad_()
    packed = nn.utils.rnn.pack_padded_sequence(clean, batch.structure.lengths, batch_first=True, enforce_sorted=False)
    outputs, last = theirs(packed)
    outputs, _ = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True)
    last = last[0] if isinstance(last, tuple) else last
    torch.testing.assert_close(unrolled.hidden, outputs, rtol=0, atol=1e-12)
    read = model.readout(torch.cat([last[-2], last[-1]], -1))
    answers = model.architecture.answers(model, batch, unrolled)
    torch.testing.assert_close(answers, read, rtol=0, atol=1e-12)
    weights = torch.randn(outputs.shape, dtype=torch.float64)
    (unrolled.hidden * weights).sum().add(answers.square().sum()).backward()
    (outputs * weights).sum().add(read.square().sum()).backward()
    torch.testing.assert_close(batch.inputs.grad.nan_to_num(), clean.grad, rtol=0, atol=1e-12)
    for number, cell in enumerate(model.cells):
        for name, parameter in cell.named_parameters():
            other = getattr(theirs, f"{name}_l{number // 2}{'_reverse' if number % 2 else ''}")
            torch.testing.assert_close(parameter.grad, other.grad, rtol=0, atol=1e-12)


# Adjoints.


def loop(model: Model, batch: Batch) -> tuple[Tensor, list[list[dict[int, Any]]]]:
    """The mean loss, and each chain's state after each of the sample's own steps, one sample and step at a time:
    [sample][chain][step]."""
    losses, kept = [], []
    for sample, length in enumerate(batch.structure.lengths.tolist()):
        inputs, chains = list(batch.inputs[sample, :length, None]), []
        for layer in range(len(model.cells) // 2):
            for direction in range(2):
                state, states = None, {}
                for step in range(length)[:: -1 if direction else 1]:
                    state = model.cells[2 * layer + direction](inputs[step], *([] if state is None else [state]))
                    for part in state:
                        part.retain_grad()
                    states[step] = state
                chains.append(states)
            inputs = [torch.cat([chains[-2][t].hidden, chains[-1][t].hidden], -1) for t in range(length)]
        if batch.position_targets is None:
            read = torch.cat([chains[-2][length - 1].hidden, chains[-1][0].hidden], -1)
            losses.append(nn.functional.cross_entropy(model.readout(read), batch.target[sample : sample + 1]))
        else:
            outputs = model.readout(torch.cat(inputs))
            labels = batch.position_targets[sample, :length]
            losses += list(nn.functional.cross_entropy(outputs, labels, reduction="none"))
        kept.append(chains)
    return torch.stack(losses).mean(), kept


@pytest.mark.parametrize(
    ("cell", "engine", "steps"),
    [  # each cell by each engine, with a loss at the end or at each step in turn; the other one is slow
        pytest.param(cell, engine, steps, marks=[pytest.mark.slow] if (place + number + steps) % 2 else [])
        for place, cell in enumerate((RNN, LSTM, GRU, ChildSumTreeLSTM))
        for number, engine in enumerate(("native", "torch", "reference"))
        for steps in (False, True)
    ],
)
def test_adjoints_of_each_direction_are_an_independent_loop_s(cell: Any, engine: str, steps: bool) -> None:
    """At the place in the chain's own order, with the distance to its own end; and so are the parameters' gradients."""
    model = made(cell, engine=engine, task=STEPS if steps else SEQUENCES)
    batch = batch_of(steps=steps)
    model.step.recorded = True
    loss = model.training_step(batch, 0)
    ends = terminal_adjoints(model)
    assert bool(ends) == steps
    loss.backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    parts = model.step.parts
    assert list(parts) == ["forward0", "backward0", "forward1", "backward1"]
    assert [part.place for part in parts.values()] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    model.zero_grad()
    expected, kept = loop(model, batch)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    for chain, part in enumerate(parts.values()):
        (layer,) = part.unrolled.layers
        for sample, length in enumerate(LENGTHS):
            for step in range(length):
                at = length - 1 - step if chain % 2 else step
                assert layer.distance[sample, at] == length - 1 - at + (1 - chain // 2)
                state = kept[sample][chain][step]
                for found, wanted in zip(layer.adjoints, state, strict=True):
                    torch.testing.assert_close(found[sample, at], wanted.grad[0], rtol=0, atol=1e-12)
                for one, two, wanted in zip(layer.direct, layer.recurrent, state, strict=True):
                    torch.testing.assert_close((one + two)[sample, at], wanted.grad[0], rtol=0, atol=1e-12)
    found = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    for one, other in zip(gradients, found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("steps", [False, True])
def test_the_probe_has_a_row_a_direction(steps: bool) -> None:
    model, batch = made(task=STEPS if steps else SEQUENCES), batch_of(steps=steps)
    model.step.recorded = True
    loss = model.training_step(batch, 0)
    terminal = terminal_adjoints(model)
    loss.backward()
    probe = Adjoint(samples=None)
    probe.observe(observation_of(model, terminal=terminal))
    table = probe.table()
    assert table.dtype.names[:5] == ("step", "layer", "direction", "sample", "distance")
    model.zero_grad()
    expected, kept = loop(model, batch)
    (expected * (sum(LENGTHS) if steps else len(LENGTHS))).backward()
    assert len(table) == 4 * sum(LENGTHS)
    for row in table:
        length = LENGTHS[row["sample"]]
        order = row["distance"] - (1 - row["layer"])
        step = order if row["direction"] else length - 1 - order
        state = kept[row["sample"]][2 * row["layer"] + row["direction"]][step]
        assert row["hidden"] == pytest.approx(state.hidden.grad.norm().item(), rel=1e-10, abs=1e-15)
        assert row["cell"] == pytest.approx(state.cell.grad.norm().item(), rel=1e-10, abs=1e-15)
    if steps:
        return
    names = [name for name in table.dtype.names if name != "direction"]
    for direction in (0, 1):  # the curve of one is that of its rows alone
        rows = table[table["direction"] == direction]
        for layer in (0, 1):
            alone = curves.curve(curves.of_direction(table, direction), 0, layer=layer)
            plain = curves.curve(np.ascontiguousarray(rows[names]), 0, layer=layer)
            np.testing.assert_array_equal(alone.log_norm, plain.log_norm)
    both = columns.norms(table, 0)
    top = table[table["layer"] == 1]  # below it there are ways of several lengths to the loss
    assert len(both.norm) == len(top) == 2 * sum(LENGTHS)
    np.testing.assert_array_equal(both.norm, np.hypot(top["hidden"], top["cell"]))
    assert set(both.sample) == set(range(2 * len(LENGTHS)))


def test_tokens_are_those_that_the_chain_reads() -> None:
    task = Task("classification", input_size=9, output_size=3, tokens=True)
    words = [np.array([1, 2, 3]), np.array([4, 5]), np.array([6, 7, 8, 1])]
    data = Given(task, [Sample(tokens, number) for number, tokens in enumerate(words)])
    model = model_of(data, RNN, bidirectional=True)
    model.step.recorded = True
    model.training_step(data.layout.collate(data.samples("train")), 0).backward()
    probe = Adjoint()
    probe.observe(observation_of(model))
    for row in probe.table():
        tokens = words[row["sample"]]
        assert row["token"] == tokens[row["distance"] if row["direction"] else len(tokens) - 1 - row["distance"]]


# Sizes.


@pytest.mark.parametrize("cell", [RNN, LSTM, GRU])
def test_parameters_of_both_are_counted(cell: Any) -> None:
    data = Given(SEQUENCES, sequences(4))
    model = model_of(data, cell, num_layers=2, bidirectional=True, match_parameters=5000)
    size, gates = model.cells[0].hidden_size, len(cell.gates)
    assert [one.input_size for one in model.cells] == [2, 2, 2 * size, 2 * size]
    layer = lambda h, read: 2 * gates * h * (read + h + 2)  # noqa: E731
    whole = lambda h: layer(h, 2) + layer(h, 2 * h) + 3 * (2 * h + 1)  # noqa: E731
    assert count_parameters(model) == whole(size)
    assert abs(whole(size) - 5000) == min(abs(whole(h) - 5000) for h in range(1, 60))


# What acts.

ACTING: dict[str, Any] = {
    "graves": {"clipping": Graves(0.01)},
    "adjoint_norm": {"clipping": AdjointNorm(0.01)},
    "adjoint_normalize": {"clipping": AdjointNormalize(0.1)},
    "h_detach": {"clipping": HDetach(0.5)},
    "omega": {"regularizers": {"omega": Omega()}},
    "orthogonality": {"regularizers": {"orthogonality": Orthogonality()}},
    "flossing": {"regularizers": {"flossing": Flossing(warm_up=0, exponents=3, samples=9)}},
}


def of_palindromes(folder: Path, **more: Any) -> dict[str, Tensor]:
    """The weights of both directions, the same at first, after training on what reads the same from both ends."""
    palindromes = [
        Sample(np.concatenate([one.inputs, one.inputs[::-1]]), one.target) for one in sequences(6, (2, 4), seed=1)
    ]
    data = Given(SEQUENCES, palindromes)
    model = model_of(data, LSTM, HIDDEN, bidirectional=True, **more)
    model.cells[1].load_state_dict(model.cells[0].state_dict())
    with torch.no_grad():
        model.readout.weight[:, HIDDEN:] = model.readout.weight[:, :HIDDEN]
    record = run(data, model, folder, {"adjoint": Adjoint(1)}, max_steps=3, max_epochs=-1)
    assert record.status == "done"
    return {name: value.clone() for name, value in model.state_dict().items() if name.startswith("cells")}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """The weights that training gives without anything that acts."""
    return of_palindromes(tmp_path_factory.mktemp("plain") / "run")


@pytest.mark.parametrize("acting", ACTING)
def test_what_acts_acts_on_each_chain(acting: str, plain: dict[str, Tensor], tmp_path: Path) -> None:
    """Both directions of a layer with the same weights are treated alike; and the training is another than without."""
    found = of_palindromes(tmp_path / "run", **ACTING[acting])
    assert any(not torch.equal(plain[name], found[name]) for name in plain)
    if acting != "h_detach":  # which draws for each chain
        for name in [name for name in found if name.startswith("cells.0.")]:
            torch.testing.assert_close(found[name], found[name.replace("cells.0.", "cells.1.")], rtol=1e-4, atol=1e-6)


class OwnFold(Label):
    def fold(self, net: Any, batch: Batch, unroll: Any) -> Any:
        return unroll(list(net.cells), batch.structure, self.inputs(net, batch))


class ReadsNoLater(Label):
    causal = True


@pytest.mark.parametrize(("kind", "why"), [(OwnFold, "folds the cells in a way"), (ReadsNoLater, "no later")])
def test_an_architecture_that_can_not_is_refused(kind: Any, why: str) -> None:
    with pytest.raises(
        ValueError, match=rf"^bidirectional: given true, but the architecture is {kind.__name__}, .*{why}"
    ):
        made(architecture=kind)


def test_trees_and_windows_are_refused() -> None:
    trees = Given(TREES, sentences(4), ParseTreeLayout())
    model = model_of(trees, ChildSumTreeLSTM, bidirectional=True)
    with pytest.raises(ValueError, match=r"^model.bidirectional: given true, but the data are laid out as trees"):
        model.attach(True)
    with pytest.raises(ValueError, match=r"^model.bidirectional: given true, but the data are laid out as trees"):
        model.fold(trees.layout.collate(trees.samples("train")))
    with pytest.raises(ValueError, match=r"^clipping=tbptt: cuts a sequence into windows"):
        made(clipping=TBPTT(3)).attach(False)
    with pytest.raises(ValueError, match=r"^top: given a model with two directions"):
        _ = made().fold(batch_of()).top


REFUSED = {
    "model=tree_rnn dataset=boolean_trees": "model.bidirectional: given true, but the data are laid out as trees",
    "structure=balanced": "model.bidirectional: given true, but the data are laid out as trees",
    "clipping=tbptt": "clipping=tbptt: cuts a sequence into windows",
    "model.bidirectional=2": "model.bidirectional: given 2, expected true or false",
}


@pytest.mark.parametrize("typed", REFUSED)
def test_mistakes_are_one_line(typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = [text for text in SMALL if "dataset" not in typed or not text.startswith("dataset")]
    ended = rnn_train(*small, "model.bidirectional=true", *typed.split(), "hydra.run.dir=run")
    assert (ended.code, ended.out) == (2, "")
    assert len(ended.err.strip().splitlines()) == 1
    assert REFUSED[typed] in ended.err


# A run.


def test_a_run_is_compared_direction_by_direction(tmp_path: Path) -> None:
    data = Given(SEQUENCES, sequences(12, (12, 16)))
    model = model_of(data, LSTM, HIDDEN, num_layers=2, dropout=0.3, bidirectional=True)
    probes = {"adjoint": Adjoint(2), "saturation": Saturation(2), "gradient_norm": GradientNorm(2)}
    record = run(data, model, tmp_path, probes, max_steps=4, max_epochs=-1)
    assert record.actual["hidden_sizes"] == [HIDDEN] * 4
    table = runs.read_table(tmp_path, "saturation")
    assert table is not None
    assert [tuple(row) for row in table[["step", "layer", "direction"]][:4]] == [(0, k // 2, k % 2) for k in range(4)]
    found = single.single(tmp_path)
    assert found.missing == ()
    parts = ("hidden", "cell", "forward", "backward", "layer 0", "layer 0 backward")
    assert tuple(found.beside) == parts
    assert found.chosen.curve.samples == 2 * found.beside["forward"].curve.samples
    assert found.beside["backward"].curve.distance.max() <= 16
