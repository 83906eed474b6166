"""The torch engine against the reference: numbers, what it refuses, and what it says of itself."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import pytest
import torch
from equations import F64, VARIANTS, samples_of, structure_of
from torch import Tensor

from rnn_research.cells import GRU, LSTM, RNN, Cell
from rnn_research.structures import Chain
from rnn_research.unroll import Unrolled, unroll
from rnn_research.unroll.backward import recording_disabled, unrecorded_gradients

GRADIENTS = ("adjoints", "direct", "recurrent")
LENGTHS = {"unequal": [2, 5, 1, 4], "equal": [4, 4], "of one": [1, 1]}

each_cell = pytest.mark.parametrize("name", VARIANTS)
each_loss = pytest.mark.parametrize("losses", [("last", "memory"), pytest.param(("every",), marks=pytest.mark.slow)])
"""What one on every h alone asks, those two ask as well."""
SIZES = [(1, False), (2, True), *(pytest.param(*size, marks=pytest.mark.slow) for size in ((1, True), (2, False)))]
"""How many layers, and whether initial states are given."""


def loss_of(unrolled: Unrolled, which: str) -> Tensor:
    structure = unrolled.top.structure
    weights = torch.arange(unrolled.hidden.numel(), dtype=F64, device=unrolled.hidden.device).cos()
    weights = weights.view_as(unrolled.hidden)
    if which == "last":
        return structure.terminal(unrolled.hidden * weights).sum()
    loss = (unrolled.hidden * weights + unrolled.hidden.square())[structure.mask].sum()
    if which == "memory":
        memory = unrolled.states[-1]
        loss = loss + (memory * weights.sin() + memory**3)[structure.mask].sum()
    return loss


def numbers(
    engine: str, name: str, structure: Any, layers: int, given: bool, which: str, passes: int = 1, device: str = "cpu"
) -> dict[str, Tensor]:
    """Everything an unroll gives, by name."""
    cells = [VARIANTS[name].build(4 if layer else 3, 4, seed=layer).to(device) for layer in range(layers)]
    draw = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=F64).to(device).requires_grad_()

    inputs, initial = drawn(*structure.mask.shape, 3), None
    if given:
        initial = [cell.state_type(*(drawn(len(structure), 4) for _ in cell.state_names)) for cell in cells]
    unrolled = unroll(cells, structure, inputs, initial=initial, engine=engine)
    assert unrolled.top.engine.used == engine
    found: dict[str, Tensor] = {}

    def keep(key: str, tensors: Any) -> None:
        found.update({f"{key} {k}": tensor for k, tensor in enumerate(tensors)})

    last = loss_of(unrolled, "last")
    for index, layer in enumerate(unrolled.layers):
        keep(f"adjoints_of, layer {index}", layer.adjoints_of(last))
    for _ in range(passes):
        loss_of(unrolled, which).backward(retain_graph=True)
    for index, layer in enumerate(unrolled.layers):
        for gradients in GRADIENTS:
            keep(f"{gradients}, layer {index}", getattr(layer, gradients))
            keep(f"norms of {gradients}, layer {index}", layer.norms(gradients))
        keep(f"states, layer {index}", layer.states)
        for rows, projected, previous in layer.updates():
            for k, row in enumerate(rows.tolist()):
                parts = [part[k] for state in previous for part in state]
                keep(f"update {row} of {len(previous)}, layer {index}", [projected[k], *parts])
    keep("inputs", [inputs.grad])
    keep("parameters", [_grad(parameter) for cell in cells for parameter in cell.parameters()])
    keep("initial", [part.grad for state in initial or () for part in state])
    return found


def _grad(parameter: Tensor) -> Tensor:
    """Zero where there is none: weights that no node uses."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    pairs = {key: (found[key].cpu(), value.cpu()) for key, value in expected.items()}
    assert all((one.shape, one.dtype) == (other.shape, other.dtype) for one, other in pairs.values())
    every = (torch.cat([one.flatten() for one in side]) for side in zip(*pairs.values(), strict=True))
    if not torch.allclose(*every, rtol=1e-12, atol=1e-12):  # a hundred at once; the message says which it was
        for key, (one, other) in pairs.items():
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12, msg=lambda m, k=key: f"{k}: {m}")
        raise AssertionError("not the same")


@each_loss
@pytest.mark.parametrize(("layers", "given"), SIZES)
@pytest.mark.parametrize("lengths", LENGTHS)
@each_cell
def test_along_a_chain_it_gives_the_references_numbers(name, lengths, layers, given, losses):
    for which in losses:
        arguments = name, structure_of(LENGTHS[lengths]), layers, given, which
        assert_same(numbers("torch", *arguments), numbers("reference", *arguments))


@each_loss
@pytest.mark.parametrize("layers", [1, 2])
@each_cell
def test_on_a_forest_it_gives_the_references_numbers(name, layers, losses):
    for which in losses:
        arguments = name, structure_of(samples_of("forest")), layers, False, which
        assert_same(numbers("torch", *arguments), numbers("reference", *arguments))


@pytest.mark.parametrize("kind", ["chain", "forest"])
@each_cell
def test_gradients_add_up_over_backward_passes(name, kind):
    arguments = name, structure_of(samples_of(kind)), 2, False, "memory", 2
    assert_same(numbers("torch", *arguments), numbers("reference", *arguments))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("kind", ["chain", "forest"])
@each_cell
def test_on_a_gpu_it_gives_the_references_numbers(name, kind):
    structure = structure_of(samples_of(kind))
    for which in ("last", "memory"):
        found = numbers("torch", name, structure.to("cuda"), 2, kind == "chain", which, device="cuda")
        assert_same(found, numbers("reference", name, structure, 2, kind == "chain", which))


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_a_blocks_end_is_not_seen(name, monkeypatch):
    """Where sequences end within a block of steps, and beyond the first one."""
    arguments = name, structure_of([3, 7, 1, 5]), 1, True, "memory"
    expected = numbers("torch", *arguments)
    for size in (1, 40):
        monkeypatch.setattr("rnn_research.unroll.torch_kernels.fused_kernel.BLOCK", size)
        assert_same(numbers("torch", *arguments), expected)


@pytest.mark.parametrize("make", [RNN, LSTM, GRU])
def test_adjoints_can_be_read_after_an_optimisers_step(make):
    cell = make(3, 4).double()
    inputs = torch.randn(2, 5, 3, dtype=F64)
    first, second = (unroll(cell, Chain(torch.tensor([5, 5])), inputs, engine="torch") for _ in range(2))
    for unrolled in (first, second):
        unrolled.hidden.sum().backward()
    expected = first.adjoints
    torch.optim.SGD(cell.parameters(), lr=0.1).step()
    for one, other in zip(second.adjoints, expected, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("make", [RNN, LSTM, GRU])
def test_a_derivative_of_a_gradient_is_refused_by_name(make):
    cell = make(3, 4)
    unrolled = unroll(cell, Chain(torch.tensor([5, 2])), torch.randn(2, 5, 3), engine="torch")
    with pytest.raises(RuntimeError, match=r"engine=torch: .* use engine=reference"):
        torch.autograd.grad(unrolled.hidden.sum(), list(cell.parameters()), create_graph=True)


@pytest.mark.parametrize("make", [RNN, LSTM, GRU])
def test_nothing_is_left_once_the_unroll_is_let_go(make):
    """No cycle through autograd's graph keeps the states of a step alive."""
    cell = make(3, 4)
    gc.disable()
    try:
        unrolled = unroll(cell, Chain(torch.tensor([5, 2])), torch.randn(2, 5, 3), engine="torch")
        unrolled.hidden.sum().backward()
        _ = unrolled.adjoints, unrolled.recurrent
        alive = weakref.ref(unrolled.top._unfolding)
        del unrolled
        assert alive() is None
    finally:
        gc.enable()


class Leaky(RNN):
    def step(self, projected: Tensor, *previous: Any) -> Any:
        return super().step(projected / 2, *previous)


def with_a_step_of_its_own() -> Cell:
    cell = RNN(3, 4)
    cell.step = cell.step  # pyright: ignore[reportAttributeAccessIssue]
    return cell


def with_another_f() -> Cell:
    cell = RNN(3, 4)
    cell.f = torch.sin
    return cell


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Leaky(3, 4), "no backward pass is written out for Leaky"),
        (with_a_step_of_its_own, "this RNN has a step of its own"),
        (with_another_f, "no derivative is written out for this RNN's f"),
        (lambda: RNN(3, 4).bfloat16(), "it has float32 and float64, the inputs are torch.bfloat16"),
    ],
)
def test_what_it_has_no_form_of_is_the_references_and_the_reason_is_told(make, reason, monkeypatch):
    cell, chain = make(), Chain(torch.tensor([5, 2]))
    inputs = torch.randn(2, 5, 3).to(cell.weight_ih.dtype)
    with pytest.raises(ValueError, match=reason):
        unroll(cell, chain, inputs, engine="torch")
    monkeypatch.setattr("rnn_research.unroll.select.NativeUnfolding", refuse)
    chosen = unroll(cell, chain, inputs).top.engine
    assert chosen.used == "reference"
    assert f"not torch: {reason}" in str(chosen)


def test_parameters_of_another_precision_and_autocast_are_refused():
    chain, inputs = Chain(torch.tensor([5, 2])), torch.randn(2, 5, 3)
    with pytest.raises(ValueError, match=r"weight_ih is torch.float64 .*, the inputs are torch.float32"):
        unroll(RNN(3, 4).double(), chain, inputs, engine="torch")
    with torch.autocast("cpu"), pytest.raises(ValueError, match="autocast is on"):
        unroll(RNN(3, 4), chain, inputs, engine="torch")


@pytest.mark.parametrize(("make", "how"), [(RNN, "written out"), (LSTM, "fused LSTM"), (GRU, "fused GRU")])
def test_it_says_what_computes(make, how):
    assert how in str(unroll(make(3, 4), Chain(torch.tensor([5])), torch.randn(1, 5, 3), engine="torch").top.engine)


def refuse(*_: Any) -> None:
    from rnn_research.unroll.compiled.library import Unavailable

    raise Unavailable("not here")


def test_a_side_pass_is_its_own_threads_alone():
    """Else a backward pass of another thread at that moment would leave weights without their gradient."""
    seen = []

    def look(_: Any) -> None:
        seen.append(recording_disabled())
        thread = threading.Thread(target=lambda: seen.append(recording_disabled()))
        thread.start()
        thread.join()

    x = torch.ones(1, requires_grad=True)
    y = x * 2
    y.register_hook(look)
    unrecorded_gradients(y.sum(), [x])
    assert (seen, recording_disabled()) == ([True, False], False)


@pytest.mark.parametrize("engine", ["torch", "reference"])
def test_norms_of_parts_that_were_read_run_no_update_again(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def again(*arguments: Any) -> None:
        raise AssertionError("an update is run again")

    unrolled = unroll(LSTM(2, 3), Chain(torch.tensor([4, 2])), torch.randn(2, 4, 2), engine=engine)
    unrolled.hidden.sum().backward()
    direct = unrolled.direct
    monkeypatch.setattr("rnn_research.unroll.unfolding.UpdateCaller", again)
    for norms, part in zip(unrolled.top.norms("direct"), direct, strict=True):
        torch.testing.assert_close(norms, part.double().norm(dim=-1))
    with pytest.raises(AssertionError, match="again"):
        unrolled.top.norms("recurrent")
