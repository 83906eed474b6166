"""What is read of images: by the equation, padding never counted, the same bits in any batch, counted in the size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import Given, model_of
from torch.nn import functional

from rnn_research.cells import GRU, LSTM
from rnn_research.datasets.task import Task
from rnn_research.models.model import count_parameters
from rnn_research.probes.callback import observation_of
from rnn_research.structures import BalancedTreeLayout, ChainLayout, Sample

SHAPE = (3, 6, 9)
TASK = Task("classification", input_size=162, output_size=3, frame=SHAPE)


def samples() -> list[Sample]:
    random = np.random.default_rng(0)
    return [
        Sample(random.integers(0, 256, size=(steps, 162), dtype=np.uint8), int(random.integers(3)))
        for steps in (4, 1, 6, 2)
    ]


def test_adjoints_and_gradients_are_an_independent_loop_s() -> None:
    """One frame at a time, by torch's functions: no frame of padding is read."""
    model = model_of(Given(TASK, samples()), LSTM, frame_features=5).double()
    model.step.recorded = True
    loss = model.training_step(ChainLayout().collate(samples()), 0)
    loss.backward()
    found = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
    assert {"frames.first.weight", "frames.read.bias"} <= set(found)
    (layer,) = observation_of(model).layers
    model.zero_grad()
    losses, kept, net = [], [], model.frames
    for sample in samples():
        state, states = None, []
        for frame in torch.from_numpy(sample.inputs).double():
            image = frame.view(1, *SHAPE) / 255
            for layer_of in (net.first, net.second):
                image = functional.conv2d(image, layer_of.weight, layer_of.bias, stride=2, padding=1).relu()
            read = functional.linear(image.reshape(1, -1), net.read.weight, net.read.bias)
            state = model.cells[0](read, *([] if state is None else [state]))
            for part in state:
                part.retain_grad()
            states.append(state)
        kept.append(states)
        losses.append(functional.cross_entropy(model.readout(states[-1].hidden), torch.tensor([sample.target])))
    wanted = torch.stack(losses).mean()
    wanted.backward()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-12)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=0, atol=1e-12)
    for number, states in enumerate(kept):
        for step, state in enumerate(states):
            for one, part in zip(layer.adjoints, state, strict=True):
                torch.testing.assert_close(one[number, step], part.grad[0], rtol=0, atol=1e-12)


def test_an_answer_is_the_same_bits_in_any_batch() -> None:
    model = model_of(Given(TASK, samples()), GRU, frame_features=5).eval()
    with torch.no_grad():
        together = model(ChainLayout().collate(samples()))
        for number, sample in enumerate(samples()):
            assert torch.equal(model(ChainLayout().collate([sample]))[0], together[number])


def test_what_reads_frames_counts_in_the_size() -> None:
    model = model_of(Given(TASK, samples()), LSTM, frame_features=5, match_parameters=20_000)
    assert abs(count_parameters(model) - 20_000) < 800
    read = count_parameters(model.frames)
    assert read == 3 * 9 * 16 + 16 + 16 * 9 * 32 + 32 + 32 * 2 * 3 * 5 + 5
    other = model_of(Given(TASK, samples()), LSTM, frame_features=50, match_parameters=20_000)
    assert other.cells[0].hidden_size < model.cells[0].hidden_size


def test_what_has_no_meaning_is_refused() -> None:
    with pytest.raises(ValueError, match="frame_features: given 0"):
        model_of(Given(TASK, samples()), LSTM, frame_features=0)
    trees = model_of(Given(TASK, samples(), BalancedTreeLayout()), LSTM)
    with pytest.raises(ValueError, match="the data are images in time; use structure=chain"):
        trees.attach(trees=True)
