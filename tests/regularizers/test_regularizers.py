"""What each regularizer is, against Jacobians, algebra and loops in float64; and what it does to a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from composed import composed
from equations import F64, VARIANTS, sigma
from omegaconf import DictConfig, OmegaConf
from small import SEQUENCES, TREES, Given, batches, for_training, model_of, run, sentences, sequences
from torch import Tensor

from rnn_research.cells import GRU, LSTM, RNN, Cell, Hidden
from rnn_research.cli import train
from rnn_research.config.build import build
from rnn_research.config.groups import CONF
from rnn_research.datasets.task import Task
from rnn_research.errors import UsageError
from rnn_research.jacobians import vjp
from rnn_research.models import Model
from rnn_research.records import runs
from rnn_research.regularizers import Regularizer, Step
from rnn_research.regularizers.flossing import Flossing
from rnn_research.regularizers.omega import Omega
from rnn_research.regularizers.orthogonality import Orthogonality
from rnn_research.regularizers.spectral import Spectral, decomposed
from rnn_research.structures import BalancedTreeLayout, Batch, Chain
from rnn_research.training.fit import RunSpec, fit
from rnn_research.unroll import unroll

OPTIONS = sorted(path.stem for path in (CONF / "regularizer").glob("*.yaml") if path.stem != "none")
OURS: dict[str, Callable[..., Regularizer]] = {
    "omega": Omega,
    "orthogonality": Orthogonality,
    "spectral": Spectral,
    "flossing": partial(Flossing, exponents=2, warm_up=0),
}
ON_CHAINS = ("omega", "flossing")  # have no meaning on trees


# Omega.

LENGTHS = [4, 1, 3, 4]
GRADIENTS = ["rnn", "relu_rnn", "sigmoid_rnn", "linear_rnn", "lstm", "gru", "gru_before"]


class Losses:
    """A loss at every step of each sample, sum_t w_t . h_t, and the mean over samples of their sum."""

    def __init__(
        self,
        kind: str,
        lengths: Sequence[int],
        engine: str = "auto",
        inside: float = 1.0,
        regularizer: Regularizer | None = None,
    ) -> None:
        self.cell = VARIANTS[kind].build(2, 3, seed=1, max_children=1)
        random = torch.Generator().manual_seed(2)
        self.chain = Chain(torch.tensor(lengths))
        shape = len(lengths), self.chain.time
        self.inputs = torch.randn(*shape, 2, dtype=F64, generator=random)
        self.readouts = torch.randn(*shape, 3, dtype=F64, generator=random)
        self.readouts[self.chain.distance > 0] *= inside
        self.unrolled = unroll(self.cell, self.chain, self.inputs, engine=engine)
        self.step = Step([self.cell], self.chain, self.inputs, self.unrolled)
        if regularizer is not None:
            assert regularizer.penalty(self.step) is None
        (self.unrolled.hidden * self.readouts).sum().div(len(lengths)).backward()

    def updates(self) -> list[tuple[int, Tensor, Tensor, Tensor]]:
        """(sample, input, s_k, dE/ds_{k+1}) of each update, s as one vector: the gradient of what is still to come, as
        a function of that state alone."""
        found = []
        for sample, length in enumerate(self.chain.lengths.tolist()):
            state = torch.zeros(len(self.cell.state_names) * 3, dtype=F64)
            for time in range(length):
                after = self.advance(self.inputs[sample, time], state).detach()
                found.append((sample, self.inputs[sample, time], state, self.cotangent(sample, time, after)))
                state = after
        return found

    def advance(self, x: Tensor, state: Tensor) -> Tensor:
        made = self.cell(x[None], self.cell.state_type(*(part[None] for part in state.split(3))))
        return torch.cat([part[0] for part in made])

    def cotangent(self, sample: int, time: int, state: Tensor) -> Tensor:
        first = state = state.requires_grad_()
        loss = state[:3] @ self.readouts[sample, time]
        for later in range(time + 1, int(self.chain.lengths[sample])):
            state = self.advance(self.inputs[sample, later], state)
            loss = loss + state[:3] @ self.readouts[sample, later]
        return torch.autograd.grad(loss / len(self.chain), first)[0]


def omega_by_hand(form: str, samples: int, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Of (d J, d) for each update."""
    kept = [(pulled, d) for pulled, d in pairs if d @ d >= 1e-20]
    if form == "paper":
        return sum((pulled.norm() / d.norm() - 1) ** 2 for pulled, d in kept) / samples
    return sum((pulled @ pulled / (d @ d) - 1) ** 2 for pulled, d in kept) / len(kept)


def pulled_by_formula(kind: str, cell: Cell, weight: Tensor, x: Tensor, state: Tensor, d: Tensor) -> Tensor:
    """d J written out, `weight` where it multiplies; activations from the cell's own weights, without gradients."""
    with torch.no_grad():
        W, U, b, e = (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
        assert b is not None
        assert e is not None
        h = state[:3]
        mine, theirs = W @ x + b, U @ h + e
        z = mine + theirs
    if kind in ("rnn", "relu_rnn", "sigmoid_rnn", "linear_rnn"):
        slope = {
            "rnn": 1 - torch.tanh(z) ** 2,
            "relu_rnn": (z > 0).to(F64),
            "sigmoid_rnn": sigma(z) * (1 - sigma(z)),
            "linear_rnn": torch.ones_like(z),
        }[kind]
        return (d * slope) @ weight
    if kind == "lstm":
        i, f, g, o = sigma(z[:3]), sigma(z[3:6]), torch.tanh(z[6:9]), sigma(z[9:])
        c = f * state[3:] + i * g
        to_c = d[3:] + d[:3] * o * (1 - torch.tanh(c) ** 2)
        gates = [to_c * g * i * (1 - i), to_c * state[3:] * f * (1 - f), to_c * i * (1 - g**2)]
        return torch.cat([torch.cat([*gates, d[:3] * torch.tanh(c) * o * (1 - o)]) @ weight, to_c * f])
    r, u = sigma(z[:3]), sigma(z[3:6])
    if kind == "gru":
        n = torch.tanh(mine[6:] + r * theirs[6:])
        to_n = d * (1 - u) * (1 - n**2)
        gates = [to_n * theirs[6:] * r * (1 - r), d * (h - n) * u * (1 - u), to_n * r]
        return d * u + torch.cat(gates) @ weight
    n = torch.tanh(mine[6:] + U.detach()[6:] @ (r * h) + e.detach()[6:])
    to_rh = (d * (1 - u) * (1 - n**2)) @ weight[6:]
    gates = torch.cat([to_rh * h * r * (1 - r), d * (h - n) * u * (1 - u)])
    return d * u + to_rh * r + gates @ weight[:6]


@pytest.mark.parametrize("form", ["code", "paper"])
@pytest.mark.parametrize("kind", [*GRADIENTS, "tree_rnn", "child_sum", "nary"])
def test_omega_is_what_the_jacobians_say(kind: str, form: str) -> None:
    given = Losses(kind, LENGTHS)
    pairs = []
    for _, x, state, d in given.updates():
        jacobian = torch.func.jacrev(partial(given.advance, x))(state)
        pairs.append((d @ jacobian, d))
    expected = omega_by_hand(form, len(LENGTHS), pairs)
    found = Omega(0.0, form).after_backward(given.step, torch.ones((), dtype=F64))
    assert found.item() == pytest.approx(expected.item(), rel=1e-12, abs=0)
    assert found > 1e-3


@pytest.mark.parametrize(
    ("form", "engine", "inside"),
    [("code", "native", 1.0), ("paper", "native", 0.0), ("paper", "reference", 1.0), ("code", "torch", 0.0)],
)
@pytest.mark.parametrize("kind", GRADIENTS)
def test_omegas_gradient_is_the_immediate_one(
    kind: str, engine: str, form: str, inside: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Autograd of the Jacobians written out, with everything but the weight that multiplies constant; where the loss
    reads every step, or (`inside` 0) the last alone."""
    monkeypatch.setattr(vjp, "ROWS_AT_ONCE", 3)
    one = Omega(0.3, form)
    given = Losses(kind, LENGTHS, engine, inside, one)
    weight = given.cell.weight_hh.detach().clone().requires_grad_()
    pairs = [
        (pulled_by_formula(kind, given.cell, weight, x, state.detach(), d), d) for _, x, state, d in given.updates()
    ]
    omega = omega_by_hand(form, len(LENGTHS), pairs)
    expected = torch.autograd.grad(omega, weight)[0]
    before = {name: parameter.grad.clone() for name, parameter in given.cell.named_parameters()}
    value = one.after_backward(given.step, torch.ones((), dtype=F64))
    assert value.item() == pytest.approx(omega.item(), rel=1e-12, abs=0)
    after = {name: parameter.grad for name, parameter in given.cell.named_parameters()}
    added = (after["weight_hh"] - before["weight_hh"]) / 0.3
    torch.testing.assert_close(added, expected, rtol=1e-12, atol=1e-12 * expected.abs().max().item())
    assert expected.abs().max() > 1e-3
    assert all(torch.equal(after[name], before[name]) for name in before if name != "weight_hh")


def test_omega_is_the_authors_program() -> None:
    """github.com/pascanur/trainingRNNs, RNN.py, with its own names and axes (time, sample, unit), from dC/dh on."""
    given = Losses("rnn", [6, 6, 6], inside=0.0)
    W_hh = given.cell.weight_hh.detach().T.clone().requires_grad_()
    d_ht, ht = given.unrolled.adjoints.hidden.transpose(0, 1), given.unrolled.hidden.detach().transpose(0, 1)
    d_ht[0, 1] *= 1e-9  # below the bound
    given.unrolled.top.__dict__["adjoints"] = Hidden(d_ht.transpose(0, 1))
    tmp_x = (((d_ht * (1 - ht**2)) @ W_hh.T) ** 2).sum(2)
    tmp_y = (d_ht**2).sum(2)
    tmp_reg = (torch.where(tmp_y >= 1e-20, tmp_x / tmp_y, 1.0) - 1.0) ** 2
    n_elems = (tmp_y >= 1e-20).to(F64).mean(1)
    assert n_elems.sum().item() == pytest.approx(6 - 1 / 3)
    omega = tmp_reg.mean(1).sum() / n_elems.sum()
    before = given.cell.weight_hh.grad.clone()
    found = Omega().after_backward(given.step, torch.ones((), dtype=F64))
    assert found.item() == pytest.approx(omega.item(), rel=1e-12, abs=0)
    expected = 4 * torch.autograd.grad(omega, W_hh)[0].T
    torch.testing.assert_close(given.cell.weight_hh.grad - before, expected, rtol=1e-12, atol=1e-14)


def test_omega_of_an_orthogonal_linear_cell_is_zero() -> None:
    cell = RNN(2, 5, nonlinearity="identity").double()
    torch.nn.init.orthogonal_(cell.weight_hh)
    chain, inputs = Chain(torch.tensor([7, 4])), torch.randn(2, 7, 2, dtype=F64)
    unrolled = unroll(cell, chain, inputs)
    chain.terminal(unrolled.hidden).sum().backward()
    before = cell.weight_hh.grad.clone()
    assert Omega().after_backward(Step([cell], chain, inputs, unrolled), torch.ones(())) < 1e-28
    torch.testing.assert_close(cell.weight_hh.grad, before, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("form", ["code", "paper"])
def test_omega_reads_gradients_of_any_size_alike(form: str) -> None:
    """Down to the bound, of which the square would vanish in float32, and relative to the loss's scale."""
    values = []
    for scale in (1.0, 1e-25, 1e25):
        torch.manual_seed(0)
        cell, chain, inputs = LSTM(2, 4), Chain(torch.tensor([5, 3])), torch.randn(2, 5, 2)
        unrolled = unroll(cell, chain, inputs)
        (unrolled.hidden.sum() * scale).backward()
        values.append(Omega(0.0, form).after_backward(Step([cell], chain, inputs, unrolled), torch.tensor(scale)))
    np.testing.assert_allclose(values, float(values[0]), rtol=1e-4)


class Odd(RNN):
    """Uses U otherwise than as the matrix of a product."""

    def step(self, projected: Tensor, *previous: Any) -> Hidden:
        return Hidden(torch.tanh(projected + self.summed(projected, previous).hidden * self.weight_hh.diagonal()))


class Unused(RNN):
    def step(self, projected: Tensor, *previous: Any) -> Hidden:
        return Hidden(projected)


@pytest.mark.parametrize(("cell", "use"), [(Odd, "mul"), (Unused, "nothing")])
def test_omega_refuses_a_cell_that_it_would_misread(cell: Callable[..., Cell], use: str) -> None:
    with pytest.raises(ValueError, match=rf"uses weight_hh in \w*{use}"):
        Omega().attach([cell(2, 3)])


# Orthogonality.


def step_of(cells: list[Cell]) -> Step:
    """Of one sequence of one step."""
    chain, inputs = Chain(torch.tensor([1])), torch.zeros(1, 1, 2, dtype=F64)
    return Step(cells, chain, inputs, unroll(cells, chain, inputs))


def test_orthogonality_is_the_distance_of_the_gram_matrices() -> None:
    cells = [LSTM(2, 3).double(), LSTM(3, 3).double()]
    step = step_of(cells)
    for gates, chosen in ((None, [0, 1, 2, 3]), (["f", "o"], [1, 3])):
        one = Orthogonality(0.5, gates)
        one.attach(cells)
        value = one.penalty(step)
        expected, gradient = 0.0, np.zeros((12, 3))
        for cell in cells:
            for gate in chosen:
                W = cell.weight_hh.detach().numpy()[3 * gate : 3 * gate + 3]
                expected += np.linalg.norm(W.T @ W - np.eye(3)) ** 2
                if cell is cells[0]:
                    gradient[3 * gate : 3 * gate + 3] = 4 * W @ (W.T @ W - np.eye(3))
        assert value.item() == pytest.approx(expected, rel=1e-12)
        found = torch.autograd.grad(value, cells[0].weight_hh)[0]
        np.testing.assert_allclose(found.numpy(), gradient, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", VARIANTS)
def test_orthogonality_and_spectral_agree_on_every_cell(kind: str) -> None:
    """Projected with both bounds at 1, every matrix is orthogonal; and again, nothing changes."""
    cell = VARIANTS[kind].build(2, 4)
    soft, hard = Orthogonality(), Spectral(1.0, 1.0)
    hard.attach([cell])
    step = step_of([cell])
    assert soft.penalty(step) > 0.1
    hard.after_step(0)
    assert soft.penalty(step) < 1e-26
    before = cell.weight_hh.detach().clone()
    assert hard.after_step(1).item() == pytest.approx(1.0, rel=1e-14)
    assert torch.equal(cell.weight_hh, before)


# Spectral.


@pytest.mark.parametrize(("least", "most"), [(0.0, 1.0), (0.5, 0.8), (1.0, 1.0), (2.0, math.inf)])
@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
def test_spectral_projects_to_the_nearest_matrix_within_bounds(least: float, most: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    cell = LSTM(2, 5).to(dtype)
    with torch.no_grad():
        cell.weight_hh.mul_(4.0)
    before = cell.weight_hh.detach().double().view(4, 5, 5).numpy().copy()
    one = Spectral(least, most)
    one.attach([cell])
    value = one.after_step(0)
    assert value is not None
    assert value.item() == pytest.approx(np.linalg.norm(before, 2, axis=(1, 2)).max(), rel=1e-5)
    after = cell.weight_hh.detach().double().view(4, 5, 5).numpy()
    tolerance = 30 * torch.finfo(dtype).eps
    for old, new in zip(before, after, strict=True):
        S = np.linalg.svd(new, compute_uv=False)
        assert S.max() <= most * (1 + tolerance)
        assert S.min() >= least * (1 - tolerance)
        left, middle, right = np.linalg.svd(old)
        np.testing.assert_allclose(new, left @ np.diag(middle.clip(least, most)) @ right, atol=10 * tolerance)
    if least == most:
        for old, new in zip(before, after, strict=True):  # the polar factor: old = new P with P symmetric, positive
            P = new.T @ old
            np.testing.assert_allclose(P, P.T, atol=10 * tolerance)
            assert np.linalg.eigvalsh((P + P.T) / 2).min() > 0


def test_spectral_leaves_what_is_within_bounds_and_other_gates_and_steps() -> None:
    cell = LSTM(2, 4)
    with torch.no_grad():
        cell.weight_hh[:4] *= 10
        cell.weight_hh[4:] *= 0.1
    before = cell.weight_hh.detach().clone()
    for one in (Spectral(gates=["f", "o"]), Spectral(most=math.inf)):
        one.attach([cell])
        one.after_step(0)
        assert torch.equal(cell.weight_hh, before)
    seldom = Spectral(every_n_steps=3)
    seldom.attach([cell])
    assert [seldom.after_step(number) is not None for number in range(6)] == [False, False, True, False, False, True]
    assert torch.equal(cell.weight_hh[4:], before[4:])
    assert torch.linalg.matrix_norm(cell.weight_hh[:4], 2).item() == pytest.approx(1.0, rel=1e-5)


def test_a_decomposition_that_fails_is_that_of_the_transpose(monkeypatch: pytest.MonkeyPatch) -> None:
    """As LAPACK's does for some matrices near orthogonal ones."""
    matrices, svd, asked = torch.randn(2, 5, 5, dtype=torch.float64), torch.linalg.svd, []

    def failing(given: Tensor) -> Any:
        asked.append(given)
        if len(asked) == 1:
            raise torch.linalg.LinAlgError("did not converge")
        return svd(given)

    monkeypatch.setattr(torch.linalg, "svd", failing)
    left, values, right = decomposed(matrices)
    assert torch.equal(asked[1], matrices.mT)
    torch.testing.assert_close(left * values[:, None] @ right, matrices, rtol=0, atol=1e-14)
    torch.testing.assert_close(left.mT @ left, torch.eye(5, dtype=torch.float64).expand(2, 5, 5), rtol=0, atol=1e-14)


def test_spectral_leaves_a_weight_that_is_not_finite() -> None:
    cell = RNN(2, 3)
    with torch.no_grad():
        cell.weight_hh[0, 0] = math.nan
    one = Spectral()
    one.attach([cell])
    assert one.after_step(0).isnan()


# Flossing.


@pytest.mark.parametrize("kind", ["rnn", "lstm"])
def test_flossings_gradient_is_that_of_differences(kind: str) -> None:
    cells = [VARIANTS[kind].build(2, 3, max_children=1), VARIANTS[kind].build(3, 3, seed=5, max_children=1)]
    chain, inputs = Chain(torch.tensor([5, 4, 2])), torch.randn(3, 5, 2, dtype=F64)
    one = Flossing(exponents=2, interval=2, warm_up=1, samples=2)
    below = unroll(cells, chain, inputs)  # what the upper layer reads is constant

    def penalty() -> Tensor:
        found = one.penalty(Step(cells, chain, inputs, below))
        assert found is not None
        return found

    assert torch.equal(penalty(), penalty())
    parameters = [parameter for cell in cells for parameter in cell.parameters()]
    gradients = torch.autograd.grad(penalty(), parameters)
    random = torch.Generator().manual_seed(0)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        direction = torch.randn(parameter.shape, dtype=F64, generator=random)
        values = []
        for size in (1e-5, -1e-5):
            with torch.no_grad():
                parameter.add_(direction, alpha=size)
                values.append(penalty().item())
                parameter.sub_(direction, alpha=size)
        difference = (values[0] - values[1]) / 2e-5
        assert difference == pytest.approx((gradient * direction).sum().item(), rel=1e-6, abs=1e-9)


def test_flossing_acts_when_it_says() -> None:
    assert [Flossing(first_steps=2).acts(number) for number in range(4)] == [True, True, False, False]
    assert [Flossing(first_steps=1, every_n_steps=2).acts(number) for number in range(4)] == [True, False, True, False]
    cell, chain, inputs = RNN(2, 8), Chain(torch.tensor([4, 3])), torch.randn(2, 4, 2)
    short = Step([cell], chain, inputs, unroll(cell, chain, inputs))
    assert Flossing(warm_up=4, samples=2).penalty(short) is None
    assert Flossing(warm_up=3, samples=2).penalty(short) is not None
    assert Flossing(warm_up=3, samples=1).penalty(short) is None


@pytest.mark.parametrize(("samples", "chosen"), [(1, [3]), (2, [1, 4]), (9, [0, 1, 2, 3, 4, 5])])
def test_flossing_reads_samples_as_long_as_a_sorted_batchs(samples: int, chosen: list[int]) -> None:
    cell = VARIANTS["rnn"].build(2, 3, max_children=1)
    lengths, inputs = torch.arange(2, 8), torch.randn(6, 7, 2, dtype=F64)

    def penalty(which: list[int], samples: int) -> Tensor:
        chain, read = Chain(lengths[which]), inputs[which, : lengths[which].max()]
        unrolled = unroll(cell, chain, read)
        found = Flossing(exponents=2, warm_up=1, samples=samples).penalty(Step([cell], chain, read, unrolled))
        assert found is not None
        return found

    assert penalty(list(range(6)), samples).item() == pytest.approx(penalty(chosen, 6).item(), rel=1e-12)


# Values out of range.


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(Omega, -1.0), "alpha: given -1.0, expected a number >= 0"),
        (partial(Omega, form="cod"), "form: given 'cod'.*did you mean code"),
        (partial(Orthogonality, -1), "weight: given -1, expected"),
        (partial(Orthogonality, gates="f"), "gates: given 'f', expected a list"),
        (partial(Orthogonality, gates=[]), "gates: given .*, expected a list"),
        (partial(Spectral, -0.1), "least: given -0.1"),
        (partial(Spectral, 0.0, 0.0), "most: given 0.0"),
        (partial(Spectral, 2.0, 1.0), "least: given 2, expected at most most=1"),
        (partial(Spectral, every_n_steps=0), "every_n_steps: given 0"),
        (partial(Flossing, weight=math.inf), "weight: given inf"),
        (partial(Flossing, exponents=0), "exponents: given 0"),
        (partial(Flossing, interval=0), "interval: given 0"),
        (partial(Flossing, warm_up=-1), "warm_up: given -1"),
        (partial(Flossing, samples=0), "samples: given 0"),
        (partial(Flossing, first_steps=-1), "first_steps: given -1"),
        (partial(Flossing, every_n_steps=0), "every_n_steps: given 0"),
    ],
)
def test_a_value_out_of_range_is_refused(make: Callable[[], Regularizer], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_what_does_not_fit_the_cell_is_refused() -> None:
    for one in (Orthogonality(gates=["f"]), Spectral(gates=["f"])):
        with pytest.raises(ValueError, match="gates: given f, expected some of n, r, z"):
            one.attach([GRU(2, 3)])
    with pytest.raises(ValueError, match="exponents: given 8, but a state has 6 components"):
        Flossing().attach([LSTM(2, 3)])


# In a run.


def trained(folder: Path, regularizer: Regularizer | None, cell: Any = LSTM, **limits: Any) -> tuple[Any, Any]:
    """The weights after some steps on chains of unequal lengths, and the table."""
    data = Given(SEQUENCES, for_training(sequences(8)))
    given = {} if regularizer is None else {"regularizers": {"mine": regularizer}}
    model = model_of(data, cell, num_layers=2, dropout=0.3, **given)
    run(data, model, folder, **{"max_steps": 4, **limits})
    return model.state_dict(), runs.read_table(folder, "regularizer")


WITHOUT_EFFECT = {
    "omega": lambda: Omega(alpha=0.0),
    "orthogonality": lambda: Orthogonality(weight=0.0),
    "spectral": lambda: Spectral(most=math.inf),
    "flossing": lambda: Flossing(weight=0.0, exponents=2, warm_up=0, first_steps=3),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The weights without a regularizer, whose run has no table of one."""
    weights, table = trained(tmp_path_factory.mktemp("plain"), None)
    assert table is None
    return weights


@pytest.mark.parametrize("name", OPTIONS)
def test_without_effect_it_changes_no_bit_and_still_measures(name: str, plain: Any, tmp_path: Path) -> None:
    weights, table = trained(tmp_path / "with", WITHOUT_EFFECT[name]())
    assert all(torch.equal(value, plain[key]) for key, value in weights.items())
    assert table.dtype.names == ("step", "mine")
    assert table["step"].tolist() == [0, 1, 2, 3]
    assert np.isnan(table["mine"]).tolist() == [False, False, False, name == "flossing"]
    changed, _ = trained(tmp_path / "changed", OURS[name]() if name != "spectral" else Spectral(1.0, 1.0))
    assert not all(torch.equal(value, plain[key]) for key, value in changed.items())


@pytest.mark.parametrize("name", OPTIONS)
def test_an_accumulated_step_is_that_of_one_batch(name: str, tmp_path: Path) -> None:
    """Of the same samples again."""
    ends = []
    for count, parts in ((4, 1), (8, 2)):
        data = Given(SEQUENCES, sequences(1, (5, 5)) * count)
        model = model_of(data, LSTM, regularizers={"mine": OURS[name]()}).double()
        limits = {"max_steps": 1, "accumulate_grad_batches": parts, "precision": "64-true"}
        run(data, model, tmp_path / str(parts), **limits)
        ends.append((model.state_dict(), runs.read_table(tmp_path / str(parts), "regularizer")))
    (once, first), (twice, second) = ends
    for key, value in once.items():
        torch.testing.assert_close(twice[key], value, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(second["mine"], first["mine"], rtol=1e-12)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("scale", [1e-12, 1024.0])
def test_a_scaled_loss_scales_what_is_added(name: str, scale: float) -> None:
    """As mixed precision scales it: divided by the scale again, the gradient is the same, and so is the value."""
    data = Given(SEQUENCES, sequences(4))
    (batch,) = batches(data)[0]
    found = []
    for factor in (1.0, scale):
        model = model_of(data, LSTM, num_layers=2, regularizers={"mine": OURS[name]()}).double()
        model.attach(False)
        (model.training_step(batch, 0) * factor).backward()
        model.on_after_backward()
        values = [value.tolist() for value, _ in model.step.values.get("mine", {}).get("cells", [])]
        found.append(([parameter.grad / factor for parameter in model.parameters()], values))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-12)
    assert bool(found[0][1]) == (name != "spectral")


@pytest.mark.parametrize("name", ["orthogonality", "flossing"])
def test_the_loss_told_is_the_tasks_own(name: str) -> None:
    data = Given(SEQUENCES, sequences(4))
    (batch,) = batches(data)[0]
    plain, given = model_of(data), model_of(data, regularizers={"mine": OURS[name]()})
    told, total = plain.training_step(batch, 0), given.training_step(batch, 0)
    ((value, _),) = given.step.values["mine"]["cells"]
    assert total.item() == pytest.approx((told + given.regularizers["mine"].weight * value).item())
    assert given.measured("train") == plain.measured("train")


def test_each_layer_has_its_own_omega() -> None:
    """The lower one's adjoints come from the upper one, at every step."""
    data = Given(SEQUENCES, sequences(4))
    model = model_of(data, LSTM, num_layers=2, regularizers={"mine": Omega(0.0)}).double()
    model.attach(False)
    model.training_step(batches(data)[0][0], 0).backward()
    step, unit = model.step.parts["cells"], model.step.unit
    values = []
    for layer, inputs in zip(step.unrolled.layers, (step.inputs, step.unrolled.layers[0].hidden), strict=True):
        alone: Any = type(step.unrolled)((layer,))
        values.append(Omega(0.0).after_backward(Step([layer.cell], step.structure, inputs, alone), unit))
    assert Omega(0.0).after_backward(step, unit).sum().item() == pytest.approx(float(sum(values)), rel=1e-14)
    assert min(values) > 0


def of_parts(kind: str, regularizer: Regularizer) -> tuple[Model, Batch]:
    """A model of which several are unrolled: the chains of two directions, or an encoder and a decoder."""
    random, both = np.random.default_rng(0), kind == "directions"
    written = [replace(one, target_sequence=random.integers(1, 3, 2 + n % 3)) for n, one in enumerate(sequences(4))]
    data = Given(SEQUENCES, sequences(4)) if both else Given(Task("sequence", 2, 3), written)
    model = model_of(data, LSTM, num_layers=2, bidirectional=both, regularizers={"mine": regularizer}).double()
    model.attach(False)
    return model, batches(data)[0][0]


@pytest.mark.parametrize("kind", ["directions", "encoder and decoder"])
def test_each_part_has_its_own_omega(kind: str) -> None:
    """Whatever came by another part's states: a lower layer's gradient comes in at every step, an upper one's at the
    last alone."""
    model, batch = of_parts(kind, Omega(0.0))
    model.training_step(batch, 0).backward()
    model.on_after_backward()
    alone = {
        of: Omega(0.0).after_backward(part, model.step.unit).tolist()  # type: ignore[arg-type]
        for of, part in model.step.parts.items()
    }
    found = {of: [value.tolist() for value, _ in values] for of, values in model.step.values["mine"].items()}
    assert found == {of: [pytest.approx(values, rel=1e-12)] for of, values in alone.items()}
    assert len(found) == (4 if kind == "directions" else 2)


@pytest.mark.parametrize("kind", ["directions", "encoder and decoder"])
def test_what_is_recorded_is_the_sum_over_the_parts(kind: str) -> None:
    """As it enters the loss, and as it is of several layers."""
    model, batch = of_parts(kind, Orthogonality(0.5))
    total = model.training_step(batch, 0)
    recorded = model.step.finish(0, torch.tensor(torch.nan))["mine"]
    loss = total - model.step.loss
    assert recorded.item() == pytest.approx(2 * loss.item(), rel=1e-12)
    of_all = Orthogonality().penalty(replace(next(iter(model.step.parts.values())), cells=list(model.cells)))
    assert recorded.item() == pytest.approx(of_all.item(), rel=1e-12)


@pytest.mark.parametrize("name", OPTIONS)
def test_trees_are_refused_where_it_has_no_meaning(name: str) -> None:
    """As soon as that is known; where it was not, at the first batch."""
    data = Given(TREES, sentences(4), BalancedTreeLayout())
    (batch,) = batches(data)[0]
    model = model_of(data, LSTM, regularizers={"mine": OURS[name]()})
    if name in ON_CHAINS:
        with pytest.raises(ValueError, match="structure: given trees, expected chains: "):
            model.attach(True)
    else:
        model.attach(True)

    def step() -> None:
        model.training_step(batch, 0).backward()
        model.on_after_backward()

    model.attach(None)
    if name in ON_CHAINS:
        with pytest.raises(ValueError, match="structure: given trees, expected chains: "):
            step()
    else:
        step()


# From a config.


def small(*overrides: str) -> DictConfig:
    sizes = ["model.cell.hidden_size=5", "trainer.max_steps=2", "trainer.accelerator=cpu", "probe=none"]
    sizes += ["dataset.train_size=8", "dataset.val_size=4", "dataset.test_size=4", "dataset.batch_size=4"]
    return composed(*sizes, *overrides)


@pytest.mark.parametrize(
    ("name", "model"),
    [  # each with one model, and the other is slow
        pytest.param(name, model, marks=[pytest.mark.slow] if (place + number) % 2 else [])
        for place, name in enumerate(OPTIONS)
        for number, model in enumerate(("rnn", "lstm"))
    ],
)
def test_an_option_trains(name: str, model: str, tmp_path: Path) -> None:
    size = ["regularizer.flossing.exponents=3"] if name == "flossing" else []
    parts = build(small("dataset=adding", "dataset.length=14", f"model={model}", f"regularizer={name}", *size))
    record = fit(parts.data, parts.model, parts.trainer, parts.probes, RunSpec(tmp_path))
    assert (record.status, record.steps) == ("done", 2)
    table = runs.read_table(tmp_path, "regularizer")
    assert table is not None
    assert table.dtype.names == ("step", name)
    assert table["step"].tolist() == [0, 1]
    assert np.isfinite(table[name]).all()


def test_several_options_train_together(tmp_path: Path) -> None:
    parts = build(small("dataset=adding", "dataset.length=14", "regularizer=[omega,spectral,orthogonality]"))
    fit(parts.data, parts.model, parts.trainer, parts.probes, RunSpec(tmp_path))
    table = runs.read_table(tmp_path, "regularizer")
    assert table is not None
    assert table.dtype.names == ("step", "omega", "spectral", "orthogonality")


@pytest.mark.parametrize("name", OPTIONS)
def test_a_config_with_trees_is_refused_where_it_has_no_meaning(name: str) -> None:
    cfg = small("dataset=boolean_trees", "model=child_sum_tree_lstm", f"regularizer={name}")
    if name in ON_CHAINS:
        with pytest.raises(
            UsageError, match=r"^regularizer=.*: structure: given trees, expected chains: .*; use structure=chain"
        ):
            build(cfg)
    else:
        build(cfg)


def test_one_file_and_one_yaml_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own: the mean square of h, which is differentiated with the loss."""
    (tmp_path / "regularizer").mkdir()
    (tmp_path / "activity.py").write_text(
        "from rnn_research.regularizers import Regularizer\n\n\n"
        "class Activity(Regularizer):\n"
        "    def __init__(self, weight=1.0):\n        super().__init__()\n        self.weight = weight\n\n"
        "    def penalty(self, step):\n        return step.unrolled.hidden.square().mean()\n",
        encoding="utf-8",
    )
    (tmp_path / "regularizer/mine.yaml").write_text("# h^2\nmine:\n  _target_: activity.Activity\n  weight: 0.1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    sizes = ["train_size=8", "val_size=4", "test_size=4", "batch_size=4", "length=6"]
    arguments = [f"dataset.{size}" for size in sizes]
    arguments += ["dataset=adding", "regularizer=[mine,spectral]", "trainer.max_steps=2", "probe=none"]
    arguments += ["--config-dir", str(tmp_path), f"hydra.run.dir={tmp_path / 'out'}"]
    with pytest.raises(SystemExit) as ended:
        train.main(arguments)
    assert ended.value.code == 0
    table = runs.read_table(tmp_path / "out", "regularizer")
    assert table is not None
    assert table.dtype.names == ("step", "mine", "spectral")
    assert (table["mine"] > 0).all()
    assert OmegaConf.create(runs.read(tmp_path / "out").config).regularizer.mine.weight == 0.1
