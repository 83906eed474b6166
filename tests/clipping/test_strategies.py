"""Each strategy on parameter gradients and on the step, against an independent source in float64; and their laws.

The sources: pytorch_optimizer, zclip and autoclip from PyPI, numpy, or the formula by hand. Where one of them is wrong,
or says something else, a test says so.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from autoclip.torch import QuantileClip
from omegaconf import OmegaConf
from pytorch_optimizer.optimizer import SPAM as TheirSPAM
from pytorch_optimizer.optimizer import AdaGC as TheirAdaGC
from pytorch_optimizer.optimizer.agc import agc
from pytorch_optimizer.optimizer.gradient_centralization import centralize_gradient
from small import SEQUENCES, Given, model_of, run, sequences
from zclip import ZClip as TheirZClip

from rnn_research.cells import GRU, LSTM, RNN
from rnn_research.cells.tree_lstm import NaryTreeLSTM
from rnn_research.clipping import Clipping, Composed, clip
from rnn_research.clipping.adagc import AdaGC
from rnn_research.clipping.agc import AGC
from rnn_research.clipping.autoclip import AutoClip
from rnn_research.clipping.base import side_by_side
from rnn_research.clipping.centralize import Centralize
from rnn_research.clipping.global_norm import GlobalNorm
from rnn_research.clipping.noise import Noise
from rnn_research.clipping.norm_scaling import NormScaling, predict_effects
from rnn_research.clipping.normalized import Normalized
from rnn_research.clipping.per_gate import PerGate
from rnn_research.clipping.shrink_on_nan import ShrinkOnNaN
from rnn_research.clipping.skip_nonfinite import SkipNonfinite
from rnn_research.clipping.skip_spike import SkipSpike
from rnn_research.clipping.soft import Soft
from rnn_research.clipping.spam import SPAM
from rnn_research.clipping.zclip import ZClip
from rnn_research.config.groups import CONF
from rnn_research.config.instantiate import make_named

EXACT = 2e-12
"""Relative: `scale` leaves a margin of 1e-12 below a threshold."""
OPTIONS = sorted(path.stem for path in (CONF / "clipping").glob("*.yaml"))
SPIKES = {31: 40.0, 60: 1e3, 61: 1e3, 80: 1e12}


class Small(torch.nn.Module):
    """A cell, an embedding and a readout, whose gradients are a step of a random trajectory."""

    def __init__(self, cell: Callable[..., Any] = LSTM, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.Embedding(5, 3)
        self.cell = cell(input_size=3, hidden_size=4)
        self.readout = torch.nn.Linear(4, 2)
        self.to(dtype)

    def at(self, step: int, size: float = 1.0) -> list[torch.nn.Parameter]:
        """All parameters, with their gradients at a step: ~ N(0, 1) times a size that varies, and at times a spike."""
        random = torch.Generator().manual_seed(step)
        size *= SPIKES.get(step, 1.0) * math.exp(0.3 * torch.randn((), generator=random).item())
        for parameter in self.parameters():
            drawn = torch.randn(parameter.shape, generator=random, dtype=torch.float64)
            parameter.grad = (size * drawn).to(parameter.dtype)
        return list(self.parameters())

    def attached(self, strategy: Clipping) -> Any:
        strategy.attach([self.cell], self.readout)
        return strategy

    def gradients(self) -> list[torch.Tensor]:
        return [parameter.grad.clone() for parameter in self.parameters() if parameter.grad is not None]


def made(name: str, **overrides: Any) -> Any:
    """An option of conf/clipping, as new: read once."""
    return copy.deepcopy(_made(name, **overrides))


@functools.cache
def _made(name: str, **overrides: Any) -> Any:
    node = OmegaConf.merge({"seed": 7, "clipping": OmegaConf.load(CONF / "clipping" / f"{name}.yaml")})
    OmegaConf.update(node, f"clipping.{name}", overrides, merge=True)
    return make_named(node.clipping, "clipping", Clipping)[name]


def flat(tensors: list[torch.Tensor]) -> np.ndarray:
    return torch.cat([tensor.flatten() for tensor in tensors]).double().numpy()


def close(found: list[torch.Tensor], expected: list[torch.Tensor], rtol: float = EXACT) -> None:
    torch.testing.assert_close(found, expected, rtol=rtol, atol=0)


def steps(
    small: Small, count: int = 100, size: float = 1.0, every: int = 1
) -> Iterator[tuple[int, list[torch.nn.Parameter]]]:
    for step in range(0, count, every):
        yield step, small.at(step, size)


# Against others.


def test_agc_is_pytorch_optimizer_s_of_each_row() -> None:
    """Of a bias, ours is theirs of a column: each unit has one weight. Theirs takes a whole vector as one unit."""
    small = Small()
    strategy = small.attached(AGC(clipping=0.5, eps=1e-2))
    theirs = partial(agc, agc_eps=1e-2, agc_clip_val=0.5, eps=1e-12)
    fired = 0
    for _, parameters in steps(small, 20, size=0.2):
        before = small.gradients()
        with torch.no_grad():
            expected = [
                theirs(p[:, None], g[:, None])[:, 0] if p.ndim == 1 else theirs(p, g)
                for p, g in zip(parameters, before, strict=True)
            ]
            whole = theirs(small.cell.bias_ih, before[3])
        expected[-2:] = before[-2:]  # the readout
        clip(strategy, parameters)
        close(small.gradients(), expected)
        units = (expected[1] / before[1])[:, 0]
        fired += int((units < 0.99).any() and (units == 1.0).any())
        assert not torch.allclose(whole, expected[3])
    assert fired > 10


def test_centralize_is_pytorch_optimizer_s() -> None:
    small = Small()
    for _, parameters in steps(small, 10):
        expected = small.gradients()
        for gradient in expected:
            centralize_gradient(gradient)
        clip(Centralize(), parameters)
        torch.testing.assert_close(small.gradients(), expected, rtol=1e-12, atol=1e-15 * expected[0].abs().max().item())
        for parameter in (small.embedding.weight, small.cell.weight_hh):
            assert parameter.grad is not None
            assert parameter.grad.sum(1).abs().max() < 1e-13 * parameter.grad.abs().max()


@pytest.mark.parametrize("percentile", [10.0, 99.0])
def test_autoclip_is_numpy_s_percentile_of_the_history(percentile: float) -> None:
    """As in github.com/pseeth/autoclip: the norm is appended first, and the whole history counts."""
    small, strategy, history = Small(), AutoClip(percentile), []
    for _, parameters in steps(small):
        before = small.gradients()
        history.append(np.linalg.norm(flat(before)))
        did = clip(strategy, parameters)
        coefficient = min(1.0, np.percentile(history, percentile) / history[-1])
        assert did.coefficient.item() == pytest.approx(coefficient, rel=EXACT)
        close(small.gradients(), [gradient * coefficient for gradient in before])
    np.testing.assert_allclose(strategy.norms, np.sort(history), rtol=1e-14)


def test_the_package_autoclip_looks_back_only() -> None:
    """Its threshold is of the norms before this one, unlike the paper's: at the next step it is ours of this one."""
    ours, theirs = Small(), Small()
    strategy = AutoClip(10.0)
    package = QuantileClip(theirs.parameters(), quantile=0.1, global_threshold=True)
    package.state["global_history"] = torch.zeros(0, dtype=torch.float64)
    differs = 0
    for step in range(30):
        clip(strategy, ours.at(step))
        theirs.at(step)
        package.step()
        differs += not np.allclose(flat(theirs.gradients()), flat(ours.gradients()), rtol=1e-5)
        later = copy.deepcopy(package.state["global_history"])
        theirs.at(step)
        package.step()
        package.state["global_history"] = later
        close(theirs.gradients(), ours.gradients(), rtol=1e-5)  # theirs divides by the norm + 1e-6
    assert differs > 10


@pytest.mark.parametrize(
    ("mode", "max_norm", "factor", "remember"),
    [
        ("adaptive_scaling", 1.0, 1.0, True),
        ("adaptive_scaling", math.inf, 0.7, True),
        ("adaptive_scaling", 9.0, 1.0, False),
        ("mean", math.inf, 1.0, True),
        ("percentile", math.inf, 1.0, True),
    ],
)
def test_zclip_is_the_package_zclip(mode: str, max_norm: float, factor: float, remember: bool) -> None:
    small, theirs = Small(), Small()
    strategy = ZClip(max_norm=max_norm, mode=mode, factor=factor, remember_spikes=remember)
    package = TheirZClip(
        max_grad_norm=None if max_norm == math.inf else max_norm,
        mode="percentile" if mode == "percentile" else "zscore",
        clip_option=mode,
        clip_factor=factor,
        skip_update_on_spike=not remember,
    )
    fired = 0
    for step, parameters in steps(small):
        theirs.at(step)
        norm = package.step(theirs)
        expected = theirs.gradients()
        if np.linalg.norm(flat(expected)) < norm * (1 - 1e-12):  # it divides by the norm + 1e-6
            expected = [gradient * ((norm + 1e-6) / norm) for gradient in expected]
            fired += step >= 25
        clip(strategy, parameters)
        close(small.gradients(), expected, rtol=1e-11)
    assert fired > 2
    assert package.mean is not None
    assert strategy.mean.item() == pytest.approx(package.mean, rel=1e-12)
    assert strategy.variance.item() == pytest.approx(package.var, rel=1e-11)


def _adagc_by_hand(gradients: list[torch.Tensor], gamma: list[float], step: int, absolute: float) -> list[torch.Tensor]:
    whole, after = np.linalg.norm(flat(gradients)), []
    for place, gradient in enumerate(gradients):
        norm = np.linalg.norm(gradient.numpy())
        if step < 20:
            h = min(1.0, absolute / whole)
            gamma[place] = min(gamma[place], h * norm)
        else:
            h = min(1.0, 1.05 * gamma[place] / norm)
            gamma[place] = 0.98 * gamma[place] + 0.02 * h * norm
        after.append(gradient * h)
    return after


def _first_moments(package: torch.optim.Optimizer) -> list[torch.Tensor]:
    """Without momentum, the gradients as it clipped them."""
    (group,) = package.param_groups
    return [package.state[parameter]["exp_avg"].view_as(parameter) for parameter in group["params"]]


@pytest.mark.parametrize("absolute", [1.0, 6.0, math.inf])
def test_adagc_is_pytorch_optimizer_s(absolute: float) -> None:
    """In the warm-up it takes the global norm in float32 whatever the gradient's precision, so it is right to 1e-6
    only; by hand, all of it is exact."""
    small, theirs = Small(), Small()
    strategy = small.attached(AdaGC(lambda_abs=absolute, warmup_steps=20))
    package = TheirAdaGC(
        theirs.parameters(),
        lr=1e-30,
        betas=(0.0, 0.5),
        lambda_abs=min(absolute, 1e30),
        warmup_steps=20,
        weight_decay=0.0,
        foreach=False,
    )
    gamma = [math.inf] * 7
    for step, parameters in steps(small):
        theirs.at(step)
        package.step()
        expected = _adagc_by_hand(small.gradients(), gamma, step + 1, absolute)
        clip(strategy, parameters)
        close(small.gradients(), expected)
        close(small.gradients(), _first_moments(package), rtol=EXACT if absolute == math.inf else 1e-6)


def test_adagc_goes_on_after_a_zero_gradient() -> None:
    """In the warm-up, pytorch_optimizer's gamma is zero from then on, and the parameter as good as frozen."""
    small, theirs = Small(), Small()
    strategy = AdaGC(warmup_steps=5)
    package = TheirAdaGC(theirs.parameters(), betas=(0.0, 0.5), warmup_steps=5, weight_decay=0.0, foreach=False)
    for step, parameters in steps(small, 20):
        theirs.at(step)
        for each in (small, theirs):
            if step == 2:
                torch.nn.init.zeros_(each.readout.bias.grad)  # type: ignore[arg-type]
        clip(strategy, parameters)
        package.step()
    assert package.state[theirs.readout.bias]["exp_avg"].norm() < 1e-7
    assert small.gradients()[-1].norm() > 1e-3


def test_spam_s_clipping_is_pytorch_optimizer_s() -> None:
    small, theirs = Small(), Small()
    strategy = small.attached(SPAM())
    package = TheirSPAM(theirs.parameters(), lr=1e-30, betas=(0.0, 0.999), update_proj_gap=10**6, foreach=False)
    changed = []
    for step, parameters in steps(small):
        before = flat(small.gradients())
        theirs.at(step)
        package.step()
        clip(strategy, parameters)
        close(small.gradients(), _first_moments(package), rtol=1e-12)
        changed.append((flat(small.gradients()) != before).mean())
    assert {step for step, share in enumerate(changed) if share > 0} >= {60, 80}
    assert 0 < changed[60] < 1


def test_spam_lets_a_component_begin_late() -> None:
    """One that had no gradient in the warm-up: pytorch_optimizer clips it to zero then, and ever after."""
    small, theirs = Small(), Small()
    strategy = SPAM(warmup_steps=5)
    package = TheirSPAM(
        theirs.parameters(), betas=(0.0, 0.999), grad_accu_steps=5, update_proj_gap=10**6, foreach=False
    )
    for step in range(20):
        for each in (small, theirs):
            each.at(step)
            if step < 10:
                each.embedding.weight.grad[2] = 0.0  # type: ignore[index]
        clip(strategy, list(small.parameters()))
        package.step()
    assert _first_moments(package)[0][2].abs().max() == 0.0
    assert small.gradients()[0][2].abs().min() > 0.0


# By hand.


@pytest.mark.parametrize(
    "cell", [RNN, LSTM, GRU, partial(NaryTreeLSTM, max_children=2)], ids=["rnn", "lstm", "gru", "nary"]
)
@pytest.mark.parametrize("bias", [True, False])
def test_per_gate_is_every_block_by_itself(cell: Any, bias: bool) -> None:
    small = Small(partial(cell, bias=bias))
    strategy = small.attached(PerGate(1.5))
    own = set(small.cell.parameters())
    for _, parameters in steps(small, 5):
        expected = []
        for parameter in parameters:
            blocks = parameter.grad.split(4) if parameter in own else [parameter.grad]
            expected.append(torch.cat([block * min(1.0, 1.5 / block.norm().item()) for block in blocks]))
        clip(strategy, parameters)
        close(small.gradients(), expected)
    assert len(small.cell.weight_hh) // 4 == {RNN: 1, LSTM: 4, GRU: 3}.get(cell, 5)


@pytest.mark.parametrize("size", [1e-20, 1.0, 1e20])
def test_normalized_and_soft(size: float) -> None:
    for strategy, coefficient in (
        (Normalized(0.3), lambda norm: 0.3 / norm),
        (Soft(0.3), lambda norm: 0.3 / (0.3 + norm)),
    ):
        small = Small()
        for _, parameters in steps(small, 5, size):
            before = small.gradients()
            clip(strategy, parameters)
            close(small.gradients(), [gradient * coefficient(np.linalg.norm(flat(before))) for gradient in before])


def test_noise_is_normal_and_its_variance_falls() -> None:
    zeros, strategy = torch.nn.Parameter(torch.zeros(200, 500, dtype=torch.float64)), Noise(eta=0.5, gamma=0.55, seed=3)
    drawn = []
    state = torch.get_rng_state()
    for step in range(4):
        zeros.grad = torch.zeros_like(zeros)
        clip(strategy, [zeros])
        drawn.append(zeros.grad.numpy().ravel() / math.sqrt(0.5 / (1 + step) ** 0.55))
        assert abs(drawn[-1].mean()) < 5 / math.sqrt(1e5)
        assert (drawn[-1] ** 2).mean() == pytest.approx(1.0, abs=5 * math.sqrt(2 / 1e5))
        assert (drawn[-1] ** 4).mean() == pytest.approx(3.0, abs=5 * math.sqrt(96 / 1e5))
    assert torch.equal(torch.get_rng_state(), state)
    assert np.abs(np.corrcoef(drawn) - np.eye(4)).max() < 5 / math.sqrt(1e5)
    for seed in (4, 2**32 - 1):
        zeros.grad = torch.zeros_like(zeros)
        clip(Noise(eta=0.5, seed=seed), [zeros])
        assert np.abs(np.corrcoef([zeros.grad.numpy().ravel(), *drawn])[0, 1:]).max() < 5 / math.sqrt(1e5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_skip_nonfinite(bad: float) -> None:
    small, strategy = Small(), SkipNonfinite()
    optimizer = torch.optim.Adam(small.parameters(), weight_decay=0.1)
    for step, parameters in steps(small, 6):
        before, weights = small.gradients(), copy.deepcopy(small.state_dict())
        if step == 4:
            parameters[2].grad[0, 0] = bad  # type: ignore[index]
        did = clip(strategy, parameters)
        assert did.skipped.item() == (step == 4)
        assert [torch.equal(*pair) for pair in zip(small.gradients(), before, strict=False)] == [True] * 7 * (step != 4)
        moments = copy.deepcopy(optimizer.state_dict()["state"])
        optimizer.step()
        same = all(torch.equal(value, weights[name]) for name, value in small.state_dict().items())
        assert same == (step == 4)
        if step == 4:
            torch.testing.assert_close(optimizer.state_dict()["state"], moments, rtol=0, atol=0)


@pytest.mark.parametrize("window", [2, 7, 16, 128])
def test_skip_spike_is_olmo_core_s_rule(window: int) -> None:
    """`SkipStepOptimizer.get_step_factor` (AllenAI's OLMo-core, Apache 2.0), for the norm: with this step's norm, at
    least N / 2 of them; compared with those before it. Norms of skipped steps stay in the window."""
    small, strategy, norms, skipped = Small(), SkipSpike(3.0, window), [], []
    for step, parameters in steps(small):
        norms = [*norms, np.linalg.norm(flat(small.gradients()))][-window - 1 :]
        before, usual = np.array(norms[:-1]), True
        if len(before) >= 2 and len(norms) >= max(2, window // 2):
            usual = norms[-1] - before.mean() <= 3.0 * before.std(ddof=1)
        did = clip(strategy, parameters)
        assert did.skipped.item() == (not usual)
        skipped += [step] if did.skipped else []
    assert set(skipped) >= ({80} if window == 128 else {31, 60, 80})
    assert 61 not in skipped or window > 16
    assert len(strategy.norms) == min(window, 100)


@pytest.mark.parametrize("window", [2, 8, 9, 20])
def test_skip_spike_begins_with_half_a_window(window: int) -> None:
    begin = max(2, window // 2 - 1)
    for at in (begin - 1, begin):
        small, strategy = Small(), SkipSpike(6.0, window)
        for step, parameters in steps(small, at + 1, size=1e-3):
            if step == at:
                parameters[0].grad.fill_(1e6)  # type: ignore[union-attr]
            assert clip(strategy, parameters).skipped.item() == (step == at == begin)


def test_skip_spike_is_not_misled_by_what_is_not_finite() -> None:
    small, strategy = Small(), SkipSpike(6.0, 8)
    for step, parameters in steps(small, 20):
        if step in (2, 10, 11):
            parameters[0].grad[0, 0] = math.nan if step < 11 else math.inf  # type: ignore[index]
        assert clip(strategy, parameters).skipped.item() == (step in (10, 11))  # at 2 there is no history
    assert strategy.norms.isfinite().all()


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e11, 1e9])
def test_shrink_on_nan_shrinks_the_recurrent_weights(value: float) -> None:
    small = Small()
    strategy = small.attached(ShrinkOnNaN())
    parameters = small.at(0)
    parameters[0].grad[0, 0] = value  # type: ignore[index]
    before = small.gradients()
    did = clip(strategy, parameters)
    for parameter, gradient in zip(parameters, before, strict=True):
        if value == 1e9:
            assert torch.equal(parameter.grad, gradient)  # type: ignore[arg-type]
        else:
            factor = 0.02 if parameter is small.cell.weight_hh else 0.0
            torch.testing.assert_close(parameter.grad, factor * parameter.detach(), rtol=1e-15, atol=0)
    assert (did.coefficient.item() == 1.0) == (value == 1e9)


# Laws of every option.


def _acting(name: str, small: Small) -> Iterator[tuple[Any, Any, list[torch.Tensor]]]:
    """What an option said, what is recorded, and the gradient before, at each step of a trajectory."""
    said: list[Any] = []
    strategy = small.attached(made(name, **({"warmup_steps": 5} if name == "adagc" else {})))
    strategy.register_forward_hook(lambda *called: said.append(called[-1]))
    for _, parameters in steps(small, every=4):  # with the spikes at 60 and 80
        before = small.gradients()
        did = clip(strategy, parameters)
        yield said[-1], did, before


@pytest.mark.parametrize("name", OPTIONS)
def test_what_says_a_coefficient_scales_and_what_says_none_turns(name: str) -> None:
    """One coefficient for all keeps the direction; others change it, at some step at least."""
    small, turned, last = Small(), 0.0, None
    for said, did, before in _acting(name, small):
        if said is None:
            turned = max(turned, 1.0 - did.cosine.nan_to_num(1.0).item())
        elif not did.skipped:
            assert did.cosine.item() == pytest.approx(1.0, abs=1e-12)
            assert did.norm_after.item() == pytest.approx((did.norm_before * said).item(), rel=EXACT)
            close(small.gradients(), [gradient * said for gradient in before])
        last = said
    assert (turned > 1e-4) == (last is None)


INFINITE = {
    "global_norm": {"max_norm": math.inf},
    "per_parameter": {"max_norm": math.inf},
    "value": {"max_value": math.inf},
    "per_gate": {"max_norm": math.inf},
    "agc": {"clipping": math.inf},
    "soft": {"max_norm": math.inf},
    "autoclip": {"percentile": 100.0},
    "zclip": {"z_threshold": math.inf, "max_norm": math.inf},
    "adagc": {"lambda_rel": math.inf, "lambda_abs": math.inf},
    "spam": {"theta": math.inf},
    "noise": {"eta": 0.0},
    "skip_nonfinite": {},
    "skip_spike": {"deviations": math.inf},
    "shrink_on_nan": {"max_norm": math.inf},
}


@pytest.mark.parametrize("name", INFINITE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_without_a_bound_no_bit_changes(name: str, dtype: torch.dtype) -> None:
    small = Small(dtype=dtype)
    strategy = small.attached(made(name, **INFINITE[name]))
    for step, parameters in steps(small, 12):
        parameters[1].grad[step % 16] = -0.0  # type: ignore[index]
        before = small.gradients()
        did = clip(strategy, parameters)
        for one, other in zip(small.gradients(), before, strict=True):
            assert (
                one.numpy(force=True).tobytes() == other.numpy(force=True).tobytes()
                if dtype != torch.bfloat16
                else (one.view(torch.int16).equal(other.view(torch.int16)))
            )
        assert (did.coefficient.item(), did.skipped.item()) == (1.0, 0.0)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_in_lower_precision_it_is_the_same_up_to_rounding(name: str, dtype: torch.dtype) -> None:
    low = Small(dtype=dtype)
    exact = copy.deepcopy(low).double()
    ours, theirs = low.attached(made(name)), exact.attached(made(name))
    for _, parameters in steps(low, 64, every=6):
        for parameter, other in zip(parameters, exact.parameters(), strict=True):
            other.grad = parameter.grad.double()
        did, expected = clip(ours, parameters), clip(theirs, list(exact.parameters()))
        assert did.norm_after.item() == pytest.approx(expected.norm_after.item(), rel=4 * torch.finfo(dtype).eps)
        largest = np.abs(flat(exact.gradients())).max()
        np.testing.assert_allclose(
            flat(low.gradients()), flat(exact.gradients()), rtol=0, atol=2 * torch.finfo(dtype).eps * largest
        )


SCALING = [name for name in OPTIONS if isinstance(made(name), NormScaling)]


def test_what_scales_is_foreseen_all_of_it() -> None:
    expected = ["adagc", "agc", "autoclip", "global_norm", "normalized", "per_gate", "per_parameter", "soft", "zclip"]
    assert expected == SCALING


@pytest.mark.parametrize("name", SCALING)
@pytest.mark.parametrize(("dtype", "exact"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_what_is_foreseen_is_what_is_done(name: str, dtype: torch.dtype, exact: float) -> None:
    """At each step of a trajectory with spikes, a zero gradient and one that is not finite; and memories stay equal."""
    small = Small(dtype=dtype)
    acts, foresees = (small.attached(made(name, **SOON.get(name, {}))) for _ in range(2))
    for step, parameters in steps(small, every=5):  # with the spikes at 60 and 80
        if step in (20, 90):
            for parameter in parameters:
                parameter.grad.mul_(0.0 if step == 20 else math.inf)  # type: ignore[union-attr]
        gradient = side_by_side(parameters).double()
        (foreseen,) = zip(
            *predict_effects([foresees], gradient, torch.linalg.vector_norm(gradient), parameters), strict=True
        )
        np.testing.assert_allclose(foreseen, clip(acts, parameters), rtol=exact)
    for key, value in acts.state_dict().items():
        torch.testing.assert_close(foresees.state_dict()[key], value, rtol=exact, atol=0)


SECOND = {"zclip": {"warmup_steps": 3}, "skip_spike": {"window": 4}}
SOON = {**SECOND, "adagc": {"warmup_steps": 5}}
"""They act within a few steps."""
PAIRS = [(first, second) for first in OPTIONS for second in SECOND if first not in ("none", second)]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_in_a_list_each_acts_on_what_the_one_before_left(first: str, second: str) -> None:
    together, apart = Small(), Small()
    one, other = ((made(first), made(second, **SECOND[second])) for _ in range(2))
    both = together.attached(Composed({first: one[0], second: one[1]}))
    each = [apart.attached(strategy) for strategy in other]
    for step in range(57, 62):  # a few, and two spikes
        clip(both, together.at(step))
        parameters = apart.at(step)
        for strategy in each:
            clip(strategy, parameters)
        torch.testing.assert_close(together.gradients(), apart.gradients(), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["autoclip", "zclip", "adagc", "spam", "skip_spike"])
def test_a_memory_keeps_its_precision_in_a_model_of_less(name: str) -> None:
    small, strategy = Small(), made(name)
    for _, parameters in steps(small, 30):
        clip(strategy, parameters)
    before = copy.deepcopy(dict(strategy.state_dict()))
    torch.nn.ModuleList([strategy]).to(torch.bfloat16)
    torch.testing.assert_close(dict(strategy.state_dict()), before, rtol=0, atol=0)
    assert {value.dtype for value in before.values()} <= {torch.float64, torch.int64}


# In a model.


def test_groups_of_parameters_have_one_global_norm() -> None:
    """Two groups of one optimiser, as lightning hands them over."""
    data = Given(SEQUENCES, sequences(8))
    model = model_of(data, LSTM, clipping=GlobalNorm(0.01))
    groups = [{"params": model.cells.parameters()}, {"params": model.readout.parameters(), "lr": 0.01}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    before = flat([parameter.grad for parameter in model.parameters()])  # type: ignore[misc]
    model._trainer = type("At", (), {"global_step": 0})()  # type: ignore[assignment]
    model.configure_gradient_clipping(optimizer)
    after = flat([parameter.grad for parameter in model.parameters()])  # type: ignore[misc]
    np.testing.assert_allclose(after, before * 0.01 / np.linalg.norm(before), rtol=1e-6)
    (row,) = model.clipped.table()
    assert row["norm_before"] == pytest.approx(np.linalg.norm(before), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["global_norm", "agc", "autoclip"])
def test_four_accumulated_batches_are_one_large_one(name: str, tmp_path: Path) -> None:
    """With bounds at which most steps are clipped."""
    bound = {"max_norm": 0.05} if name == "global_norm" else {}
    weights, samples = [], sequences(32)
    for size, accumulated in ((16, 1), (4, 4)):
        data = Given(SEQUENCES, samples, batch_size=size)
        model = model_of(data, LSTM, clipping=made(name, **bound)).double()
        folder = tmp_path / str(size)
        run(data, model, folder, max_epochs=2, accumulate_grad_batches=accumulated, precision="64-true")
        weights.append(model.state_dict())
        assert (model.clipped.table()["coefficient"] != 1.0).mean() >= 0.5
        assert len(model.clipped.table()) == 4
    for key, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][key], rtol=1e-10, atol=1e-12, msg=key)


# Mistakes.


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PerGate(0.0), "max_norm: given 0.0, expected a number > 0"),
        (lambda: AGC(clipping=-1), "clipping: given -1, expected a number > 0"),
        (lambda: AGC(eps=0.0), "eps: given 0.0, expected a number > 0"),
        (lambda: Normalized(math.inf), "norm: given inf, expected a finite number > 0"),
        (lambda: Soft(math.nan), "max_norm: given nan, expected a number > 0"),
        (lambda: AutoClip(101), "percentile: given 101, expected a number >= 0 and <= 100"),
        (lambda: ZClip(alpha=1.5), "alpha: given 1.5, expected a number >= 0 and <= 1"),
        (lambda: ZClip(z_threshold=0), "z_threshold: given 0, expected a number > 0"),
        (lambda: ZClip(warmup_steps=0), "warmup_steps: given 0, expected an integer >= 1"),
        (lambda: ZClip(mode="means"), r"mode: given 'means', expected one of .* \(did you mean mean\?\)"),
        (lambda: AdaGC(lambda_rel=0.0), "lambda_rel: given 0.0, expected a number > 0"),
        (lambda: AdaGC(beta=-0.1), "beta: given -0.1, expected a number >= 0 and <= 1"),
        (lambda: SPAM(theta=0.0), "theta: given 0.0, expected a number > 0"),
        (lambda: SPAM(warmup_steps=-1), "warmup_steps: given -1, expected an integer >= 0"),
        (lambda: Noise(eta=-1.0), "eta: given -1.0, expected a number >= 0"),
        (lambda: Noise(seed=2**32), "seed: given 4294967296, expected an integer from 0 to 4294967295"),
        (lambda: SkipSpike(deviations=0.0), "deviations: given 0.0, expected a number > 0"),
        (lambda: SkipSpike(window=1), "window: given 1, expected an integer >= 2"),
        (lambda: ShrinkOnNaN(max_norm=0), "max_norm: given 0, expected a number > 0"),
        (lambda: ShrinkOnNaN(factor=math.inf), "factor: given inf, expected a finite number > 0"),
    ],
)
def test_a_wrong_value_is_told(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


def test_shrink_on_nan_needs_recurrent_weights() -> None:
    class Other(RNN):
        def build(self) -> None:
            self.weights = torch.nn.Parameter(torch.zeros(1))

    with pytest.raises(
        ValueError, match=r"given Other, which has no weight_hh, expected .*; use clipping=skip_nonfinite"
    ):
        ShrinkOnNaN().attach([Other(1, 1)], torch.nn.Linear(1, 1))
