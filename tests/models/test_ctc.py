"""Transcripts: an independent loop's loss, gradients and adjoints; what is counted; what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import Given, model_of, run
from torch import Tensor

from rnn_research.cells import GRU, LSTM, RNN
from rnn_research.datasets.task import Task
from rnn_research.models import Model
from rnn_research.models.architectures import CTC, Label
from rnn_research.probes.adjoint import Adjoint
from rnn_research.probes.callback import terminal_adjoints
from rnn_research.structures import BalancedTreeLayout, ChainLayout, Sample

TASK = Task("transcript", input_size=2, output_size=4)
STEPS, WRITTEN = (5, 1, 7, 3), ((1, 1, 2), (3,), (2, 3, 2, 1), (1, 2))


def samples(copies: int = 1) -> list[Sample]:
    random = np.random.default_rng(0)
    return [
        Sample(random.normal(size=(steps, 2)).astype(np.float32), 0, target_sequence=np.array(written))
        for _ in range(copies)
        for steps, written in zip(STEPS, WRITTEN, strict=True)
    ]


def made(cell: Any = LSTM, layers: int = 2, engine: str = "auto", both: bool = False, **more: Any) -> Model:
    how: dict[str, Any] = {"num_layers": layers, "engine": engine, "bidirectional": both, **more}
    return model_of(Given(TASK, samples()), cell, **how).double()


def forward_sum(outputs: Tensor, symbols: tuple[int, ...]) -> Tensor:
    """-ln p by the recursion over prefixes of Graves et al. 2006, section 4.1, one step and one place at a time."""
    likely = outputs.softmax(-1)
    places = [0, *(part for symbol in symbols for part in (symbol, 0))]
    alpha = [likely[0, place] if number < 2 else likely.new_zeros(()) for number, place in enumerate(places)]
    for now in likely[1:]:
        before, alpha = alpha, []
        for number, place in enumerate(places):
            total = before[number] + (before[number - 1] if number else 0)
            if number > 1 and place and place != places[number - 2]:
                total = total + before[number - 2]
            alpha.append(total * now[place])
    return -(alpha[-1] + alpha[-2]).log()


class Loop:
    """One sample, layer and step at a time; `states` has each chain's by the sample's own steps: [sample][chain][step].

    `last` is the same loss, of which only the outputs where chains end are part of the graph.
    """

    def __init__(self, model: Model, given: list[Sample]) -> None:
        self.states: list[list[list[Any]]] = []
        losses, lasts = [], []
        both = model.architecture.blueprint.bidirectional
        for sample in given:
            inputs, chains, cells = list(torch.from_numpy(sample.inputs).double()[:, None]), [], iter(model.cells)
            for _ in range(model.architecture.blueprint.num_layers):
                for turn in (1, -1) if both else (1,):
                    cell, states = next(cells), []
                    for read in inputs[::turn]:
                        states.append(cell(read, *states[-1:]))
                        for part in states[-1]:
                            part.retain_grad()
                    chains.append(states[::turn])
                inputs = [state.hidden for state in chains[-1]]
                if both:
                    pairs = zip(*chains[-2:], strict=True)
                    inputs = [torch.cat([one.hidden, other.hidden], -1) for one, other in pairs]
            symbols = tuple(sample.target_sequence.tolist())
            losses.append(forward_sum(model.readout(torch.cat(inputs)), symbols))
            ends = [one.detach() for one in inputs]
            ends[-1] = torch.cat([chains[-2][-1].hidden, ends[-1][:, 4:]], -1) if both else inputs[-1]
            if both:
                ends[0] = torch.cat([ends[0][:, :4], chains[-1][0].hidden], -1)
            lasts.append(forward_sum(model.readout(torch.cat(ends)), symbols))
            self.states.append(chains)
        self.loss, self.last = torch.stack(losses).sum() / sum(map(len, WRITTEN)), torch.stack(lasts).sum()


@pytest.mark.parametrize(
    ("cell", "both", "engine"),
    [(LSTM, True, "native"), (LSTM, True, "reference"), (GRU, False, "native"), (RNN, True, "torch")],
)
def test_adjoints_are_an_independent_loop_s(cell: Any, both: bool, engine: str) -> None:
    """Of every state of two layers, of unequal lengths; and so are the gradients, and what enters where chains end."""
    model, given = made(cell, engine=engine, both=both), samples()
    model.step.recorded = True
    loss = model.training_step(ChainLayout().collate(given), 0)
    ends = [state for states in terminal_adjoints(model).values() for state in states]
    loss.backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    layers = [layer for part in model.step.parts.values() for layer in part.unrolled.layers]
    for which in ("loss", "last"):
        model.zero_grad()
        loop = Loop(model, given)
        getattr(loop, which).backward()
        if which == "loss":
            assert loss.item() == pytest.approx(loop.loss.item(), rel=1e-12)
            wanted = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
            for found, one in zip(gradients, wanted, strict=True):
                torch.testing.assert_close(found, one, rtol=0, atol=1e-12)
        for number, layer in enumerate(layers):
            for sample, steps in enumerate(STEPS):
                for step, state in enumerate(loop.states[sample][number]):
                    at = steps - 1 - step if both and number % 2 else step
                    adjoints = layer.adjoints if which == "loss" else ends[number]
                    for found, part in zip(adjoints, state, strict=True):
                        one = torch.zeros_like(part[0]) if part.grad is None else part.grad[0]
                        torch.testing.assert_close(found[sample, at], one, rtol=0, atol=1e-12)


def test_what_is_counted() -> None:
    """The loss is a mean over symbols; of training no edits are counted."""
    model, given = made(), samples()
    batch = ChainLayout().collate(given)
    wanted = Loop(model, given)
    with torch.no_grad():
        for split, names in (("train", ["loss", "accuracy"]), ("val", ["loss", "accuracy", "character_error_rate"])):
            model._loss(batch, model.fold(batch), split)
            found = model.measured(split)
            assert list(found) == names
            assert found["loss"] == pytest.approx(wanted.loss.item(), rel=1e-6)
    model.test_step(batch, 0)
    (answers,) = model.answered
    assert set(answers) == {"correct", "errors", "loss"}
    assert torch.equal(answers["correct"], answers["errors"] == 0)
    lengths = torch.tensor([len(one) for one in WRITTEN])
    assert (answers["loss"] * lengths).sum().item() / lengths.sum() == pytest.approx(wanted.loss.item(), rel=1e-9)
    measured = model.measured("test")
    assert measured["character_error_rate"] == pytest.approx(float(answers["errors"].sum() / lengths.sum()))


def test_it_learns_and_is_recorded(tmp_path: Path) -> None:
    data = Given(TASK, samples())
    model = model_of(data, GRU, 16, optimizer=lambda p: torch.optim.Adam(p, lr=0.03), bidirectional=True)
    limits = {"max_epochs": 120, "check_val_every_n_epoch": 60}
    record = run(data, model, tmp_path, {"adjoint": Adjoint(every_n_steps=50)}, **limits)
    assert record.final["test_character_error_rate"] == 0.0
    assert record.final["test_accuracy"] == 1.0
    assert record.baselines["test_character_error_rate"] == 1.0
    assert "train_character_error_rate" not in record.final
    table = np.load(tmp_path / "probes" / "adjoint.npy")
    assert {"hidden", "hidden_terminal", "direction"} <= set(table.dtype.names)


def test_what_has_no_meaning_is_refused() -> None:
    data = Given(TASK, samples())
    for more, said in (
        ({"pooling": "mean"}, "each step is read from its own state"),
        ({"architecture": Label}, "these data ask for a transcript; use architecture=ctc, or auto"),
        ({"tie_weights": True}, "whose classes are no tokens"),
    ):
        with pytest.raises(ValueError, match=said):
            model_of(data, LSTM, **more)
    labels = Given(Task("classification", 2, 3), [Sample(one.inputs, 0) for one in samples()])
    with pytest.raises(ValueError, match="these data ask for a label"):
        model_of(labels, LSTM, architecture=CTC)
    trees = Given(TASK, samples(), BalancedTreeLayout())
    with pytest.raises(ValueError, match="use structure=chain"):
        model_of(trees, LSTM).attach(trees=True)


@pytest.mark.parametrize(
    ("steps", "written", "said"),
    [
        (2, [1, 1], "given 2 symbols, which need 3 steps, but it has 2"),
        (3, [], "given no symbol"),
        (3, [1, 4], "given 4 at \\[1\\], expected a class from 1 to 3"),
        (3, [1, 0], "given 0 at \\[1\\]"),
    ],
)
def test_a_transcript_that_can_t_be_learnt_is_named(steps: int, written: list[int], said: str) -> None:
    wrong = Sample(np.zeros((steps, 2), np.float32), 0, target_sequence=np.array(written, dtype=np.int64))
    with pytest.raises(ValueError, match=f"sample 4 of train: target_sequence: {said}"):
        Given(TASK, [*samples(), wrong]).check()
