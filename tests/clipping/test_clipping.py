"""What each strategy does, against arithmetic in float64 by hand; and when it does it, in a run."""

from __future__ import annotations

import itertools
import math
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import SEQUENCES, STEPS, Given, batches, for_training, model_of, run, sequences

from rnn_research.cells import LSTM
from rnn_research.clipping import Clipping, ClippingEffect, clip
from rnn_research.clipping.base import global_norm, scale
from rnn_research.clipping.global_norm import GlobalNorm
from rnn_research.clipping.none import NoClipping
from rnn_research.clipping.per_parameter import PerParameter
from rnn_research.clipping.value import Value
from rnn_research.models import Model
from rnn_research.models.step_table import StepTable
from rnn_research.records import runs

SCALES = [1e-30, 1e-20, 1e-6, 1e-3, 1.0, 1e3, 1e6, 1e20, 1e30]
THRESHOLDS = [1e-8, 0.25, 1.0, 15.0, 1e5]


def parameters(scale: float, seed: int = 0, dtype: torch.dtype = torch.float32) -> list[torch.nn.Parameter]:
    """With gradients ~ scale * N(0, 1), of 1 to 2,000 components."""
    random = torch.Generator().manual_seed(seed)
    made = []
    for shape in [(1,), (3, 4), (50, 40), (7,)]:
        made.append(torch.nn.Parameter(torch.zeros(shape, dtype=dtype)))
        made[-1].grad = (torch.randn(shape, generator=random, dtype=torch.float64) * scale).to(dtype)
    return made


def flat(parameters: list[torch.nn.Parameter]) -> np.ndarray:
    return np.concatenate([parameter.grad.double().numpy().ravel() for parameter in parameters])


def norm(values: np.ndarray) -> float:
    """By hand, with exactly rounded sums, of numbers whose squares may overflow."""
    largest = float(np.abs(values).max(initial=0.0))
    return largest * math.sqrt(math.fsum((values / largest) ** 2)) if largest else 0.0


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_global_norm(threshold: float, dtype: torch.dtype) -> None:
    for size, seed in itertools.product(SCALES, range(2)):
        given = parameters(size, seed, dtype)
        before = flat(given)
        did = clip(GlobalNorm(threshold), given)
        after = flat(given)
        coefficient = min(1.0, threshold / norm(before))
        assert did.norm_before.item() == pytest.approx(norm(before), rel=1e-12, abs=0)
        assert did.coefficient.item() == pytest.approx(coefficient, rel=1e-12, abs=0)
        assert norm(after) <= threshold
        assert did.norm_after.item() == pytest.approx(norm(after), rel=1e-12, abs=0)
        if coefficient == 1.0:
            np.testing.assert_array_equal(after, before)
        else:
            tolerance = 4 * torch.finfo(dtype).eps + 2e-12
            assert norm(after) == pytest.approx(threshold, rel=tolerance, abs=0)
            cosine = (after / norm(after)) @ (before / norm(before))
            assert cosine == pytest.approx(1.0, abs=tolerance)


@pytest.mark.parametrize("above", [1.0 - 1e-9, 1.0, 1.0 + 1e-9, 1.0 + 1e-6])
def test_global_norm_at_the_threshold(above: float) -> None:
    """Which is where rounding could leave the norm above it."""
    for seed in range(50):
        given = parameters(1.0, seed)
        threshold = norm(flat(given)) / above
        clip(GlobalNorm(threshold), given)
        assert norm(flat(given)) <= threshold


def test_an_exploding_gradient_is_clipped_too() -> None:
    """A norm beyond float32's range, of finite components: the coefficient is no normal float32."""
    given = parameters(1.0)
    for parameter in given:
        parameter.grad = torch.full_like(parameter, 3e38)
    did = clip(GlobalNorm(0.1), given)
    assert did.norm_before.item() == pytest.approx(3e38 * math.sqrt(2020), rel=1e-6, abs=0)
    assert 0.1 * (1 - 1e-6) < norm(flat(given)) <= 0.1


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("threshold", THRESHOLDS[1:])
def test_global_norm_agrees_with_torch(size: float, threshold: float) -> None:
    ours, theirs = parameters(size), parameters(size)
    clip(GlobalNorm(threshold), ours)
    torch.nn.utils.clip_grad_norm_(theirs, threshold)
    np.testing.assert_allclose(flat(ours), flat(theirs), rtol=1e-5, atol=0)


@pytest.mark.parametrize("size", SCALES)
def test_value(size: float) -> None:
    given = parameters(size)
    before = flat(given)
    did = clip(Value(0.5), given)
    np.testing.assert_array_equal(flat(given), np.clip(before, -0.5, 0.5))
    assert did.coefficient.item() == pytest.approx(norm(flat(given)) / norm(before), rel=1e-12, abs=0)
    assert (did.coefficient.item() == 1.0) == (np.abs(before).max() <= 0.5)


@pytest.mark.parametrize("size", SCALES)
def test_per_parameter(size: float) -> None:
    given = parameters(size)
    before, expected = flat(given), []
    for parameter in given:
        gradient = parameter.grad.double().numpy().ravel()
        expected.append(gradient * min(1.0, 2.0 / norm(gradient)))
    did = clip(PerParameter(2.0), given)
    np.testing.assert_allclose(flat(given), np.concatenate(expected), rtol=1e-6, atol=0)
    for parameter, wanted in zip(given, expected, strict=True):
        assert norm(parameter.grad.double().numpy().ravel()) <= 2.0
        if norm(wanted) < 1.99:
            np.testing.assert_array_equal(parameter.grad.double().numpy().ravel(), wanted)
    assert did.coefficient.item() == pytest.approx(norm(flat(given)) / norm(before), rel=1e-12, abs=0)


def test_no_clipping() -> None:
    given = parameters(1e6)
    before = flat(given)
    did = clip(NoClipping(), given)
    np.testing.assert_array_equal(flat(given), before)
    assert did.coefficient.item() == 1.0


def test_norms_are_accumulated_in_float64() -> None:
    parameter = torch.nn.Parameter(torch.zeros(128))
    parameter.grad = torch.full((128,), 1e-25)  # whose squares are zero in float32
    assert global_norm([parameter]).item() == pytest.approx(1e-25 * math.sqrt(128), rel=1e-7, abs=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [1e-20, 1.0, 1e20])
def test_all_gradients_norm_is_that_of_all_their_numbers(size: float, dtype: torch.dtype) -> None:
    """Also of what is laid out otherwise, and of nothing."""
    given = parameters(size, dtype=dtype)
    given[1].grad = torch.randn(4, 3).to(dtype).t()
    given.append(torch.nn.Parameter(torch.zeros(0, dtype=dtype)))
    given[-1].grad = torch.zeros(0, dtype=dtype)
    squares = [float(number) ** 2 for parameter in given for number in parameter.grad.flatten()]
    assert global_norm(given).item() == pytest.approx(math.sqrt(math.fsum(squares)), rel=1e-15, abs=0)


@pytest.mark.parametrize(
    ("strategy", "key"), [(GlobalNorm, "max_norm"), (PerParameter, "max_norm"), (Value, "max_value")]
)
@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan"), -float("inf")])
def test_a_bound_is_a_positive_number(strategy: Any, key: str, bound: Any) -> None:
    with pytest.raises(ValueError, match=f"^{key}: given {bound!r}, expected a number > 0"):
        strategy(bound)


def test_a_history_is_what_was_done_at_every_step() -> None:
    """However many steps, and whenever it is asked for; the tensors of old steps are let go."""
    history, expected = StepTable(), []
    assert history.table().tolist() == []
    for step in range(2 * StepTable.TOGETHER + 5):
        did = ClippingEffect(*torch.randn(5, dtype=torch.float64).unbind())
        expected.append((2 * step, *(value.item() for value in did)))
        history.add(2 * step, did._asdict())
        if step == 0:
            first = weakref.ref(did.norm_after)
        if step in (3, StepTable.TOGETHER, 300):
            assert history.table().tolist() == expected
    del did
    assert first() is None
    table = history.table()
    assert table.tolist() == history.table().tolist() == expected
    assert table.dtype.names == ("step", *ClippingEffect._fields)
    assert table.itemsize == 48


# In a run.

COUNT, BATCH, ACCUMULATED, EPOCHS = 26, 4, 3, 2  # 7 batches an epoch: steps of 3, 3 and 1, the last with 2 samples


def _by_hand(data: Given, model: Model, threshold: float) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Accumulation, clipping and SGD in plain torch: the norms before clipping, and the final weights."""
    norms = []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in batches(data, EPOCHS):
        for start in range(0, len(epoch), ACCUMULATED):
            optimizer.zero_grad()
            window = epoch[start : start + ACCUMULATED]
            for batch in window:
                loss = torch.nn.functional.cross_entropy(model(batch), batch.target, reduction="sum")
                (loss / sum(map(len, window))).backward()
            gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
            norms.append(gradient.norm().item())
            torch.nn.utils.clip_grad_norm_(model.parameters(), threshold)
            optimizer.step()
    return norms, model.state_dict()


@pytest.mark.parametrize(("threshold", "fires"), [(0.05, "always"), (0.2, "now and then"), (10.0, "never")])
def test_clipping_comes_once_a_step_after_accumulation(threshold: float, fires: str, tmp_path: Path) -> None:
    samples = sequences(COUNT)
    norms, weights = _by_hand(Given(SEQUENCES, samples, batch_size=BATCH), _model(samples, NoClipping()), threshold)
    data, model = Given(SEQUENCES, for_training(samples), batch_size=BATCH), _model(samples, GlobalNorm(threshold))
    run(data, model, tmp_path, max_epochs=EPOCHS, accumulate_grad_batches=ACCUMULATED)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=1e-6, msg=name)
    table = runs.read_table(tmp_path, "clipping")
    assert table is not None
    assert table["step"].tolist() == list(range(6))
    np.testing.assert_allclose(table["norm_before"], norms, rtol=1e-5)
    np.testing.assert_allclose(table["norm_after"], np.minimum(norms, threshold), rtol=1e-5)
    np.testing.assert_allclose(table["coefficient"], np.minimum(1, threshold / np.array(norms)), rtol=1e-5)
    assert table["fired"].tolist() == [norm > threshold for norm in norms]
    assert (table["fired"].all(), table["fired"].any()) == (fires == "always", fires != "never")


def _model(samples: list[Any], clipping: Clipping) -> Model:
    return model_of(Given(SEQUENCES, samples), LSTM, clipping=clipping)


class Average(Clipping):
    """Clips to the mean of the norms so far: a strategy with a memory."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros((), dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, parameters: list[torch.nn.Parameter]) -> torch.Tensor:
        norm = global_norm(parameters)
        self.total += norm
        self.count += 1
        coefficient = (self.total / self.count / norm).clamp(max=1.0)
        for parameter in parameters:
            scale(parameter, coefficient)
        return coefficient


def test_a_memory_is_kept_in_the_checkpoint(tmp_path: Path) -> None:
    data = Given(STEPS, sequences(8, steps=True))
    model = model_of(data, clipping=Average())
    run(data, model, tmp_path, max_steps=5)
    table = runs.read_table(tmp_path, "clipping")
    assert table is not None
    saved = torch.load(tmp_path / "checkpoint.ckpt", weights_only=True)["state_dict"]
    assert saved["clipping.count"] == 5
    assert saved["clipping.total"].item() == pytest.approx(table["norm_before"].sum(), rel=1e-12, abs=0)
    fresh = model_of(data, clipping=Average(), seed=1)
    fresh.load_state_dict(saved)
    assert fresh.clipping.total == model.clipping.total
    means = np.cumsum(table["norm_before"]) / np.arange(1, 6)
    np.testing.assert_allclose(table["norm_after"], np.minimum(table["norm_before"], means), rtol=1e-6)


def test_a_strategy_sees_every_gradient_and_no_other() -> None:
    """Parameters without gradient are not handed over, and those of frozen weights neither."""
    seen: list[int] = []

    class Counting(NoClipping):
        def forward(self, parameters: list[torch.nn.Parameter]) -> torch.Tensor:
            seen.append(len(parameters))
            assert all(parameter.grad is not None for parameter in parameters)
            return super().forward(parameters)

    given = parameters(1.0)
    given[1].grad = None
    clip(Counting(), given)
    clip(Counting(), iter(given))
    assert seen == [3, 3]
