"""Scheduled sampling: which tokens are replaced, by what, how often, and that nothing else changes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import Given, model_of, run
from torch import Tensor

from rnn_research.cells import GRU
from rnn_research.clipping.tbptt import TBPTT
from rnn_research.datasets.task import Task
from rnn_research.models import Model
from rnn_research.models.architectures import EncoderDecoder
from rnn_research.models.architectures.scheduled_sampling import ScheduledSampling
from rnn_research.structures import ChainLayout, Sample

TASK = Task("sequence", input_size=7, output_size=5, tokens=True)


def samples(count: int = 6) -> list[Sample]:
    random = np.random.default_rng(0)
    return [
        Sample(random.integers(1, 7, 1 + number % 4), 0, target_sequence=random.integers(1, 5, 1 + number % 3))
        for number in range(count)
    ]


def made(rate: float, rise: int = 0, **more: Any) -> Model:
    how = partial(EncoderDecoder, scheduled_sampling=rate, scheduled_sampling_rise=rise)
    return model_of(Given(TASK, samples()), GRU, architecture=how, **more)


def always(answer: Tensor) -> Any:
    """Outputs that leave no choice: at (sample, step) the class `answer` has there."""
    return lambda at: torch.nn.functional.one_hot(answer[at], 50).float() * 1e4


def test_the_tokens_that_are_replaced_are_what_was_written_before_them() -> None:
    read = torch.tensor([[1, 5, 6, 0], [1, 7, 8, 9], [1, 0, 0, 0]])
    answer = torch.arange(20, 32).reshape(3, 4)
    mixed = ScheduledSampling(1.0).mixed(read, 0, always(answer))
    assert mixed.tolist() == [[1, 21, 22, 0], [1, 25, 26, 27], [1, 0, 0, 0]]


def test_as_many_are_replaced_as_is_said() -> None:
    torch.manual_seed(0)
    read = torch.full((100, 101), 3)
    sampling = ScheduledSampling(0.4, 100)
    for step, share in ((0, 0.0), (50, 0.2), (100, 0.4), (1000, 0.4)):
        mixed = sampling.mixed(read, step, always(torch.full((100, 101), 40)))
        assert sampling.rate_at(step) == pytest.approx(share)
        assert abs(float((mixed == 41).float().mean()) * 1.01 - share) < 0.02
        assert bool(((mixed == 41) | (mixed == 3)).all())


def test_draws_have_the_probabilities_of_the_outputs() -> None:
    torch.manual_seed(0)
    read, wanted = torch.full((200, 101), 3), torch.tensor([0.1, 0.6, 0.3])
    mixed = ScheduledSampling(1.0).mixed(read, 0, lambda at: wanted.log().expand(int(at.sum()), 3))
    shares = mixed[:, 1:].flatten().bincount(minlength=4)[1:] / 20000
    assert torch.allclose(shares, wanted, atol=0.02)


@pytest.mark.parametrize("more", [{}, {"clipping": TBPTT(2, 2)}, {"bidirectional": True}, {"num_layers": 2}])
def test_the_loss_is_that_of_the_target_after_what_was_read(more: dict[str, Any]) -> None:
    model, plain = made(1.0, **more), made(0.0, **more)
    plain.load_state_dict(model.state_dict())
    batch = ChainLayout().collate(samples())
    torch.manual_seed(5)
    loss = model.training_step(batch, 0)
    read = model.step.parts["decoder"].read
    assert read is not None
    assert bool((read != batch.target_inputs).any())
    assert torch.equal(read[:, 0], batch.target_inputs[:, 0])
    assert torch.equal(read == 0, batch.target_inputs == 0)
    batch.__dict__["target_inputs"] = read
    assert torch.equal(loss, plain.training_step(batch, 0))


def test_only_training_is_changed_and_a_rate_of_0_draws_nothing() -> None:
    model, plain = made(1.0).eval(), made(0.0)
    plain.load_state_dict(model.state_dict())
    batch = ChainLayout().collate(samples())
    before = torch.get_rng_state()
    assert torch.equal(model(batch), plain(batch))
    plain.training_step(batch, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_trains_with_it(tmp_path: Path) -> None:
    assert run(Given(TASK, samples()), made(0.5, 2), tmp_path, {}, max_steps=4).status == "done"


@pytest.mark.parametrize(
    ("rate", "rise", "told"),
    [
        (1.5, 0, "^scheduled_sampling: given 1.5, expected"),
        (-0.1, 0, "^scheduled_sampling: given -0.1, expected"),
        (0.5, -1, "^scheduled_sampling_rise: given -1, expected an integer >= 0"),
        (0.0, 10, "^scheduled_sampling_rise: given 10 beside scheduled_sampling=0"),
    ],
)
def test_what_has_no_meaning_is_refused(rate: float, rise: int, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        made(rate, rise)
