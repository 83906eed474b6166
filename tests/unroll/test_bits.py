"""A sample's numbers do not depend on what else is there (its batch, what is recorded) or on the compiler's tuning, at
each width of vectors that this CPU has."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from command import SMALL
from composed import composed
from equations import VARIANTS, samples_of, structure_of
from widths import LEVELS, flags, missing

from rnn_research.config.build import build
from rnn_research.structures import Chain
from rnn_research.training.fit import RunSpec, fit
from rnn_research.unroll import Intervention, unroll


def at_each_width() -> pytest.MarkDecorator:
    """Parametrises `tuned` with each level of x86-64 that this CPU has."""
    lacks = {level: missing(level) for level in LEVELS}
    skip = {level: pytest.mark.skipif(bool(what), reason=f"this CPU has no {what}") for level, what in lacks.items()}
    return pytest.mark.parametrize("tuned", [pytest.param(level, marks=skip[level]) for level in LEVELS], indirect=True)


@pytest.fixture
def tuned(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Native code is for that level, and for another CPU's tuning."""
    monkeypatch.setenv("RNN_RESEARCH_CFLAGS", flags(request.param))
    return request.param


def trained(name: str, kind: str, engine: str, record: Any, inside: Intervention | None = None) -> list[torch.Tensor]:
    """A cell's weights after some steps of training."""
    cell, structure = VARIANTS[name].build(3, 17).float(), structure_of(samples_of(kind))
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.mul_(0.3)
    torch.manual_seed(0)
    inputs = torch.randn(*structure.mask.shape, 3)
    for _ in range(4):
        cell.zero_grad()
        layers = None if inside is None else [inside]
        unrolled = unroll(cell, structure, inputs, engine=engine, record=record, interventions=layers)
        structure.terminal(unrolled.hidden).square().sum().backward()
        if record:
            unrolled.top.norms()
        with torch.no_grad():
            for parameter in cell.parameters():
                parameter -= 0.01 * parameter.grad
    return [parameter.detach() for parameter in cell.parameters()]


def assert_same(one: list[torch.Tensor], other: list[torch.Tensor]) -> None:
    assert all(part.isfinite().all() for part in one)
    assert all(map(torch.equal, one, other))


PLACES = [
    ("native", "chain"),
    ("native", "forest"),
    ("torch", "chain"),
    ("reference", "chain"),
    ("reference", "forest"),
]


ALIKE = ("relu_rnn", "sigmoid_rnn", "linear_rnn", "shared_tree_rnn")
"""Another nonlinearity, or none: what is recorded of them is recorded of "rnn"."""


@pytest.mark.parametrize(("engine", "kind"), PLACES)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in ALIKE else ()) for name in VARIANTS]
)
def test_what_is_recorded_changes_no_bit_of_what_is_computed(name: str, kind: str, engine: str) -> None:
    nothing = trained(name, kind, engine, False)
    assert_same(nothing, trained(name, kind, engine, True))
    assert_same(nothing, trained(name, kind, engine, "parts"))


@at_each_width()
@pytest.mark.parametrize("name", ["gru", "child_sum"])
def test_nor_does_it_at_any_width(name: str, tuned: str) -> None:
    kind = "chain" if name == "gru" else "forest"
    assert_same(trained(name, kind, "native", False), trained(name, kind, "native", "parts"))


@pytest.mark.parametrize("record", [True, "parts"])
@pytest.mark.parametrize("name", ["rnn", "gru", "lstm", "child_sum"])
def test_a_threshold_that_nothing_reaches_changes_no_bit(name: str, record: Any) -> None:
    kind = "forest" if name == "child_sum" else "chain"
    high = Intervention(max_norm=1e30, max_value=1e30)
    acting = trained(name, kind, "native", False, high)
    assert_same(acting, trained(name, kind, "native", record, high))
    assert_same(acting, trained(name, kind, "native", False))


@at_each_width()
@pytest.mark.parametrize(("dtype", "hidden"), [(torch.float32, 33), (torch.float32, 20), (torch.float64, 10)])
def test_a_sample_has_the_same_bits_alone_or_in_a_batch_at_any_width(tuned: str, dtype: Any, hidden: int) -> None:
    """Sizes whose last columns fill half a panel or less, where the tiles of one row and of more are other code."""
    cell = VARIANTS["rnn"].build(3, hidden).to(dtype)
    inputs = torch.randn(9, 6, 3, dtype=dtype)

    def found(rows: slice) -> list[torch.Tensor]:
        chosen = inputs[rows]
        unrolled = unroll(cell, Chain(torch.full((len(chosen),), 6)), chosen, engine="native", record="parts")
        unrolled.hidden.square().sum().backward()
        return [*unrolled.states, *unrolled.adjoints, *unrolled.top.norms(), *unrolled.top.norms("recurrent")]

    together = found(slice(None))
    alone = [torch.cat(parts) for parts in zip(*(found(slice(b, b + 1)) for b in range(9)), strict=True)]
    assert_same(together, alone)


@pytest.mark.parametrize("own", ["-Ofast", "-ffast-math", "-O3 -ffp-contract=fast"])
def test_flags_of_ones_own_do_not_undo_it(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = trained("gru", "chain", "native", False)
    monkeypatch.setenv("RNN_RESEARCH_CFLAGS", f"{os.environ.get('RNN_RESEARCH_CFLAGS', '')} {own}")  # --width's first
    assert_same(plain, trained("gru", "chain", "native", False))
    assert_same(plain, trained("gru", "chain", "native", "parts"))
    assert float(torch.tensor(1e-30) * torch.tensor(1e-10)) > 0, "subnormal numbers are flushed to zero"


@pytest.mark.parametrize("engine", ["native", "torch", "reference"])
def test_a_run_learns_the_same_weights_whatever_looks_on(tmp_path: Path, engine: str) -> None:
    weights = []
    for probe in ("none", "adjoint", "[adjoint,saturation]"):
        parts = build(composed(*SMALL, "model=gru", f"engine={engine}", f"probe={probe}"))
        fit(parts.data, parts.model, parts.trainer, parts.probes, RunSpec(tmp_path / probe))
        weights.append(parts.model.state_dict())
    for other in weights[1:]:
        assert all(torch.equal(weights[0][name], other[name]) for name in weights[0])
