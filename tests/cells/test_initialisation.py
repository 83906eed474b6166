"""What each initialisation promises of a cell's parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from equations import VARIANTS
from torch import Tensor, nn

from rnn_research.cells import GRU, LSTM, RNN, Cell, ChildSumTreeLSTM, NaryTreeLSTM, TreeRNN
from rnn_research.cells.initialisation import (
    basic_tanh,
    chrono,
    default,
    forget_bias,
    gaussian,
    identity,
    orthogonal,
    scaled,
    sigmoid,
    smart_tanh,
)

WITH_FORGET_GATE = [LSTM, ChildSumTreeLSTM, NaryTreeLSTM]

each_cell = pytest.mark.parametrize("name", VARIANTS)


def built(name: str, *initialise: Any, hidden_size: int = 20, **kwargs: Any) -> Cell:
    torch.manual_seed(0)
    return VARIANTS[name].make(6, hidden_size, initialise=initialise, max_children=2, **kwargs)


def recurrent(cell: Cell) -> list[Tensor]:
    return [block.detach().double() for _, block in cell.recurrent_blocks()]


def biases(cell: Cell) -> dict[str, Tensor]:
    """The sum of both biases of each gate."""
    return {gate: (ours + theirs).detach() for gate, ours, theirs in cell.bias_blocks()}


def assert_normal(values: Tensor, scale: float) -> None:
    """Mean 0 and standard deviation `scale`, within five standard errors, and no heavier than a Gaussian."""
    count = values.numel()
    assert abs(values.mean()) < 5 * scale / math.sqrt(count)
    assert abs(values.std() / scale - 1) < 5 / math.sqrt(2 * count)
    assert abs((values / scale).pow(4).mean() - 3) < 5 * math.sqrt(96 / count)


@each_cell
def test_blocks_are_square_and_make_up_the_whole_of_u(name):
    """Views: each gate's, and of a cell that treats children apart each child's."""
    cell = built(name)
    with torch.no_grad():
        for number, (_, block) in enumerate(cell.recurrent_blocks()):
            assert block.shape == (20, 20)
            block.fill_(number)
    count = {"tree_rnn": 2, "nary": 5 * 2}.get(name, len(cell.gates))
    assert cell.weight_hh.unique(return_counts=True)[1].tolist() == [400] * count
    assert {gate for gate, _ in cell.recurrent_blocks()} == set(cell.gates)


@pytest.mark.parametrize(
    ("make", "reference"),
    [
        (RNN, nn.RNNCell),
        (partial(TreeRNN, shared=True), nn.RNNCell),
        (TreeRNN, nn.RNNCell),
        (GRU, nn.GRUCell),
        (LSTM, nn.LSTMCell),
        (ChildSumTreeLSTM, nn.LSTMCell),
        (NaryTreeLSTM, nn.LSTMCell),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_the_default_is_torchs_own_draw_for_draw(make, reference, bias):
    torch.manual_seed(3)
    expected = reference(5, 7, bias=bias).state_dict()
    for initialise in ((), (default,)):
        torch.manual_seed(3)
        found = make(5, 7, bias=bias, initialise=initialise).state_dict()
        assert list(found) == list(expected)
        assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("gain", [1.0, 0.5, 1.3, 0.0])
@each_cell
def test_orthogonal_makes_each_block_a_gain_times_an_isometry(name, gain):
    blocks = recurrent(built(name, partial(orthogonal, gain=gain)))
    for block in blocks:
        torch.testing.assert_close(block.T @ block, gain**2 * torch.eye(20).double(), rtol=0, atol=1e-6)
    if gain:
        assert all((blocks[0] - block).abs().max() > 0.1 for block in blocks[1:])


@each_cell
def test_gaussian_has_standard_deviation_gain_over_root_hidden(name):
    for block in recurrent(built(name, partial(gaussian, gain=1.5), hidden_size=60)):
        assert_normal(block, 1.5 / math.sqrt(60))


@pytest.mark.parametrize("before", [(), (orthogonal,)], ids=["default", "orthogonal"])
@each_cell
def test_scaled_multiplies_what_is_there(name, before):
    plain, scaled_ = built(name, *before), built(name, *before, partial(scaled, gain=0.3))
    for (key, found), expected in zip(scaled_.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(found, 0.3 * expected if key == "weight_hh" else expected)


@each_cell
def test_identity_is_the_irnn(name):
    cell = built(name, partial(identity, scale=0.9, input_scale=0.01))
    for block in recurrent(cell):
        assert torch.equal(block.float(), 0.9 * torch.eye(20))
    assert_normal(cell.weight_ih, 0.01)
    assert not any(bias.any() for bias in biases(cell).values())


@pytest.mark.parametrize(("initialise", "scale"), [(basic_tanh, 0.1), (sigmoid, 0.01)])
@each_cell
def test_pascanus_gaussians_have_one_scale_and_no_bias(name, initialise, scale):
    cell = built(name, initialise)
    assert_normal(cell.weight_hh, scale)
    assert_normal(cell.weight_ih, scale)
    for ours in (bias for _, *pair in cell.bias_blocks() for bias in pair):
        assert not ours.any()


@pytest.mark.parametrize("hidden_size", [50, 15, 4, 1])
@each_cell
def test_smart_tanh_is_sparse_with_a_spectral_radius(name, hidden_size):
    cell = built(name, smart_tanh, hidden_size=hidden_size)
    for block in recurrent(cell):
        assert (block != 0).sum(1).tolist() == [min(15, hidden_size)] * hidden_size
        assert float(torch.linalg.eigvals(block).abs().max()) == pytest.approx(0.95, rel=1e-5)
    if hidden_size == 50:
        assert len({tuple(row.nonzero().flatten().tolist()) for row in recurrent(cell)[0]}) > 1
        assert_normal(cell.weight_ih, 0.01)
    assert not any(bias.any() for bias in biases(cell).values())


@pytest.mark.parametrize("value", [1.0, -2.5])
@pytest.mark.parametrize("make", WITH_FORGET_GATE)
def test_forget_bias_is_the_sum_of_both_and_touches_nothing_else(make, value):
    torch.manual_seed(0)
    plain = make(6, 20)
    torch.manual_seed(0)
    cell = make(6, 20, initialise=(partial(forget_bias, value=value),))
    for gate, bias in biases(cell).items():
        assert (bias == value).all() if gate == "f" else torch.equal(bias, biases(plain)[gate])
    assert torch.equal(cell.weight_hh, plain.weight_hh)
    assert torch.equal(cell.weight_ih, plain.weight_ih)


@pytest.mark.parametrize("make", WITH_FORGET_GATE)
def test_chrono_spreads_the_memory_over_the_times_asked_for(make):
    """exp(b_f) ~ U[1, T - 1] and b_i = -b_f, in sum; the other gates as they were."""
    torch.manual_seed(0)
    plain = make(2, 2000)
    torch.manual_seed(0)
    cell = make(2, 2000, initialise=(partial(chrono, longest=41),))
    found = biases(cell)
    assert torch.equal(found["i"], -found["f"])
    times = found["f"].double().exp().sort().values
    assert 1 <= times[0] < times[-1] <= 40 + 1e-4
    steps = (times - 1) / 39 - torch.linspace(0, 1, 2000)
    assert steps.abs().max() < 1.95 / math.sqrt(2000)  # Kolmogorov's distance, p = 0.001
    assert all(torch.equal(found[gate], biases(plain)[gate]) for gate in "go")
    assert not any(theirs.any() for gate, _, theirs in cell.bias_blocks() if gate in "if")


def test_initialisations_apply_in_the_order_given():
    cell = built("lstm", identity, partial(forget_bias, value=2.0), partial(scaled, gain=0.5))
    assert torch.equal(recurrent(cell)[1].float(), 0.5 * torch.eye(20))
    assert (biases(cell)["f"] == 2).all()
    assert not biases(built("lstm", forget_bias, identity))["f"].any()


@pytest.mark.parametrize("initialise", [forget_bias, chrono])
@each_cell
def test_what_needs_a_forget_gate_with_a_bias_says_so(name, initialise):
    refused = pytest.raises(ValueError, match=rf"init={initialise.__name__}: \w+ has no gate .* with a bias; use")
    if VARIANTS[name].build(1, 1).gates != LSTM.gates:
        with refused:
            built(name, initialise)
    else:
        built(name, initialise)
        with refused:
            built(name, initialise, bias=False)


@pytest.mark.parametrize(
    ("initialise", "complaint"),
    [
        (partial(gaussian, gain=-1.0), "gain: given -1.0, expected a number >= 0"),
        (partial(orthogonal, gain=-1.0), "gain: given -1.0"),
        (partial(scaled, gain=math.inf), "gain: given inf"),
        (partial(identity, scale=-1.0), "scale: given -1.0"),
        (partial(identity, input_scale=-1.0), "input_scale: given -1.0"),
        (partial(basic_tanh, scale=-1.0), "scale: given -1.0"),
        (partial(sigmoid, scale=math.nan), "scale: given nan"),
        (partial(smart_tanh, nonzeros=0), "nonzeros: given 0, expected an integer >= 1"),
        (partial(smart_tanh, radius=-0.1), "radius: given -0.1"),
        (partial(smart_tanh, scale=-0.1), "scale: given -0.1"),
        (partial(forget_bias, value=math.nan), "value: given nan"),
        (partial(chrono, longest=2), "longest: given 2, expected an integer >= 3"),
    ],
)
def test_bad_values_are_named(initialise: Callable, complaint: str):
    with pytest.raises(ValueError, match=complaint):
        built("lstm", initialise)
