"""The native engine: as right as torch in float32, safe to build anywhere, and open to a user's own cell."""

from __future__ import annotations

import concurrent.futures
import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cases
import pytest
import torch
from equations import VARIANTS, samples_of, structure_of
from forked import python
from torch import nn

from rnn_research.cells import LSTM, RNN, Cell, Hidden, HiddenCell
from rnn_research.cells.initialisation import orthogonal
from rnn_research.structures import Chain
from rnn_research.unroll import unroll
from rnn_research.unroll.compiled import library
from rnn_research.unroll.compiled.trace import Untraceable, trace

SUPPORT = Path(__file__).parents[1] / "support"
TREE_CELLS = ("tree_rnn", "shared_tree_rnn", "child_sum", "nary")

# Right


# Each cell on chains and on trees, where there are both among the first 44; `slow` has 300, and longer chains.
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 20, 22, 25, 26, 43])
def test_native_is_as_near_to_float64_as_torch_is(seed: int) -> None:
    for name, ours, torchs in cases.compare(seed, longest=150):
        assert ours <= 3 * max(torchs, cases.TINY), name


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=pytest.mark.slow if (name in TREE_CELLS) == (kind == "chain") else ())
        for name in VARIANTS
        for kind in ("chain", "forest")
    ],
)
def test_training_ends_where_the_reference_ends(name: str, kind: str) -> None:
    structure = structure_of(samples_of(kind, sizes=(4, 1, 5)))
    losses = {}
    for engine in ("native", "reference"):
        cell = VARIANTS[name].build(3, 4).float()
        with torch.no_grad():
            for parameter in cell.parameters():
                parameter.mul_(0.5)
        torch.manual_seed(0)
        inputs = torch.randn(*structure.mask.shape, 3)
        optimizer = torch.optim.Adam(cell.parameters(), lr=0.01)
        for _ in range(50):
            optimizer.zero_grad()
            last = structure.terminal(unroll(cell, structure, inputs, engine=engine, record=False).hidden)
            loss = (last - torch.linspace(-0.5, 0.5, 4)).square().mean()
            loss.backward()
            optimizer.step()
        losses[engine] = float(loss.detach())
    assert losses["native"] == pytest.approx(losses["reference"], rel=1e-3, abs=1e-7)


def test_the_norm_of_an_adjoint_of_1e_25_is_right_in_float32() -> None:
    torch.manual_seed(0)
    cell = RNN(3, 128, nonlinearity="identity")
    with torch.no_grad():
        orthogonal(cell, 0.1)
    unrolled = unroll(cell, Chain(torch.tensor([31])), torch.randn(1, 31, 3), engine="native")
    unrolled.hidden[:, -1].sum().backward()
    expected = 128**0.5 * 0.1 ** unrolled.distance[0].double()
    assert 1e-30 < expected.min() < 1e-28
    torch.testing.assert_close(unrolled.top.norms().hidden[0], expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("kind", ["chain", "forest"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_visible(name: str, kind: str, value: float) -> None:
    """A NaN in an input is a NaN in the states that read it, whatever the other samples are."""
    structure = structure_of(samples_of(kind))
    inputs = torch.randn(*structure.mask.shape, 3)
    read = int(structure.mask.flatten().nonzero()[-1])  # the last sample's last step, or a leaf
    inputs.view(-1, 3)[read, 0] = value
    found = {}
    for engine in ("native", "reference"):
        cell = VARIANTS[name].build(3, 4).float()
        unrolled = unroll(cell, structure, inputs, engine=engine)
        unrolled.hidden.sum().backward()
        found[engine] = [*unrolled.states, *unrolled.adjoints]
        assert unrolled.hidden.isnan().any() or value == float("inf")
    for ours, theirs in zip(found["native"], found["reference"], strict=True):
        assert torch.equal(ours.isnan(), theirs.isnan())
        assert torch.equal(ours.isinf(), theirs.isinf())


@pytest.mark.parametrize("name", VARIANTS)
def test_the_same_input_gives_the_same_bits_alone_or_in_a_batch(name: str) -> None:
    cell = VARIANTS[name].build(3, 33).float()
    inputs = torch.randn(9, 20, 3)

    def adjoints(rows: slice) -> list[torch.Tensor]:
        chosen = inputs[rows]
        unrolled = unroll(cell, Chain(torch.full((len(chosen),), 20)), chosen, engine="native", record="parts")
        unrolled.hidden.square().sum().backward()
        return [*unrolled.states, *unrolled.adjoints, *unrolled.top.norms(), *unrolled.top.norms("recurrent")]

    together, again = adjoints(slice(None)), adjoints(slice(None))
    alone = [torch.cat(parts) for parts in zip(*(adjoints(slice(b, b + 1)) for b in range(9)), strict=True)]
    for one, other, apart in zip(together, again, alone, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, apart)


@pytest.mark.parametrize(("name", "hidden"), [("gru", 33), ("lstm", 70)])
def test_so_it_does_in_a_batch_of_unequal_lengths(name: str, hidden: int) -> None:
    """Whose states do not lie evenly spaced: sums of several products, or of one in parts, are rounded as elsewhere."""
    cell, lengths = VARIANTS[name].build(3, hidden).float(), torch.tensor([5, 9, 3, 9, 7, 2, 8])
    inputs = torch.randn(7, 9, 3)

    def adjoints(rows: list[int]) -> list[torch.Tensor]:
        chain = Chain(lengths[rows])
        unrolled = unroll(cell, chain, inputs[rows, : chain.time], engine="native")
        unrolled.hidden.square().sum().backward()
        return [*unrolled.states, *unrolled.adjoints]

    together = adjoints(list(range(7)))
    for row, length in enumerate(lengths.tolist()):
        for one, other in zip(together, adjoints([row]), strict=True):
            assert torch.equal(one[row, :length], other[0])


def test_subnormal_numbers_stay_what_they_are() -> None:
    """Compiled with -ffast-math, loading the kernel would flush them to zero in the whole process."""
    unroll(RNN(2, 3), Chain(torch.tensor([2])), torch.zeros(1, 2, 2), engine="native")
    assert float(torch.tensor(1e-30) * torch.tensor(1e-10)) > 0


def test_it_gives_first_derivatives_alone_and_says_so() -> None:
    cell = RNN(2, 3)
    unrolled = unroll(cell, Chain(torch.tensor([3])), torch.randn(1, 3, 2), engine="native")
    with pytest.raises(RuntimeError, match="engine=reference"):
        torch.autograd.grad(unrolled.hidden.sum(), cell.weight_hh, create_graph=True)


def test_memory_does_not_grow() -> None:
    resource = pytest.importorskip("resource")
    cell, chain, inputs = LSTM(4, 32), Chain(torch.full((8,), 40)), torch.randn(8, 40, 4)

    def steps(count: int) -> int:
        for _ in range(count):
            cell.zero_grad()
            unrolled = unroll(cell, chain, inputs, record="parts", engine="native")
            unrolled.hidden[:, -1].sum().backward()
            assert unrolled.top.norms().cell is not None
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    assert steps(400) - steps(100) < 4 * 1024  # kilobytes; a tape a step would be 2 MB


# A user's own cell


class Leaky(Cell):
    """A leaky tanh unit, its rate a number."""

    rate = 0.9

    def step(self, projected: Any, *previous: Any) -> Hidden:
        h = self.summed(projected, previous).hidden
        return Hidden(self.rate * h + (1 - self.rate) * torch.tanh(projected + self.recur(h)))


class Peephole(Cell):
    """A coupled LSTM (Greff et al. 2017) whose gates see the memory through vectors (Gers and Schmidhuber 2000)."""

    state_type = HiddenCell
    gates = ("f", "g", "o")

    def build(self) -> None:
        super().build()
        self.peephole = nn.Parameter(torch.empty(2 * self.hidden_size))

    def step(self, projected: Any, *previous: Any) -> HiddenCell:
        h, c = self.summed(projected, previous)
        f, g, o = (projected + self.recur(h)).chunk(3, dim=-1)
        see_f, see_o = self.peephole.chunk(2)
        f = torch.sigmoid(f + see_f * c)
        new = f * c + (1 - f) * g.tanh()
        return HiddenCell(torch.sigmoid(o + see_o * new) * torch.tanh(new), new)


class Many(Cell):
    """Most of the elementwise operations that have a native form."""

    gates = ("a", "b", "c")

    def step(self, projected: Any, *previous: Any) -> Hidden:
        h = self.summed(projected, previous).hidden
        a, b, c = (projected + self.recur(h)).split(self.hidden_size, -1)
        x = torch.exp(-a.abs()) + nn.functional.silu(b) - nn.functional.softplus(c) / 3
        y = torch.clamp(x, -1.0, 1.5) + torch.maximum(a, b) * torch.sin(c) - torch.minimum(b, c).square()
        z = torch.log1p(y.abs()) + torch.sqrt(1 + a**2) + torch.erf(b) - torch.cos(c) + nn.functional.leaky_relu(y, 0.1)
        return Hidden(torch.lerp(h, torch.tanh(z), 0.5) + 1 / (2 + torch.relu(c)))


class Twice(Cell):
    """Two products one after the other, as in a GRU that resets before (Cho et al. 2014)."""

    gates = ("r", "n")

    def step(self, projected: Any, *previous: Any) -> Hidden:
        h = self.summed(projected, previous).hidden
        first, second = self.weight_hh.chunk(2)
        r = torch.sigmoid(projected[:, : self.hidden_size] + h @ first.T)
        return Hidden(torch.tanh(projected[:, self.hidden_size :] + nn.functional.linear(r * h, second)) + r * h)


@pytest.mark.parametrize("make", [Leaky, Peephole, Many, Twice])
@pytest.mark.parametrize("kind", ["chain", "forest"])
def test_a_users_cell_is_compiled_and_equals_itself_under_autograd(make: type[Cell], kind: str) -> None:
    torch.manual_seed(1)
    structure = structure_of(samples_of(kind))
    inputs = torch.randn(*structure.mask.shape, 3, dtype=torch.float64)
    results = []
    for engine in ("native", "reference"):
        torch.manual_seed(0)
        cell = make(3, 5, max_children=5).double()
        unrolled = unroll(cell, structure, inputs.requires_grad_(), engine=engine, record="parts")
        inputs.grad = None
        sum((k + 1) * part.square().sum() for k, part in enumerate(unrolled.states)).backward()  # type: ignore[union-attr]
        found = [*unrolled.states, *unrolled.adjoints, *unrolled.direct, *unrolled.recurrent, inputs.grad]
        results.append([*found, *unrolled.top.norms("direct"), *(parameter.grad for parameter in cell.parameters())])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_number_of_the_cell_that_changes_is_seen() -> None:
    cell, inputs = Leaky(2, 3), torch.randn(1, 4, 2)
    first = unroll(cell, Chain(torch.tensor([4])), inputs, engine="native").hidden
    cell.rate = 0.5
    second = unroll(cell, Chain(torch.tensor([4])), inputs, engine="native").hidden
    assert not torch.equal(first, second)
    torch.testing.assert_close(second, unroll(cell, Chain(torch.tensor([4])), inputs, engine="reference").hidden)


class Normalised(Cell):
    def step(self, projected: Any, *previous: Any) -> Hidden:
        h = self.summed(projected, previous).hidden
        return Hidden(nn.functional.layer_norm(projected + self.recur(h), (self.hidden_size,)))


class Branching(Cell):
    def step(self, projected: Any, *previous: Any) -> Hidden:
        h = self.summed(projected, previous).hidden
        return Hidden(h * 0.5 if bool((projected > 0).all()) else torch.tanh(projected + self.recur(h)))


class Masked(Cell):
    def step(self, projected: Any, *previous: Any) -> Hidden:
        h = self.summed(projected, previous).hidden
        return Hidden(torch.tanh(projected + nn.functional.linear(h, self.weight_hh * 0.5)))


class InPlace(Cell):
    def step(self, projected: Any, *previous: Any) -> Hidden:
        h = self.summed(projected, previous).hidden
        return Hidden(projected.clone().add_(self.recur(h)).tanh())


class InPlaceByName(Cell):
    def step(self, projected: Any, *previous: Any) -> Hidden:
        h = projected + self.recur(self.summed(projected, previous).hidden)
        nn.functional.relu(h, inplace=True)
        return Hidden(0.5 * h)


class ReadsNew(Cell):
    """h is a product of the new c: the adjoint of c is complete only after that product's derivative."""

    state_type = HiddenCell

    def step(self, projected: Any, *previous: Any) -> HiddenCell:
        state = self.summed(projected, previous)
        c = torch.tanh(projected + self.recur(state.hidden) + 0.5 * state.cell)
        return HiddenCell(torch.tanh(nn.functional.linear(c, self.weight_hh)), c)


class Noisy(Cell):
    def step(self, projected: Any, *previous: Any) -> Hidden:
        h = self.summed(projected, previous).hidden
        return Hidden(torch.tanh(projected + nn.functional.dropout(self.recur(h), 0.5, self.training)))


@pytest.mark.parametrize(
    ("make", "stopped"),
    [
        (Normalised, "layer_norm"),
        (Branching, "gt"),
        (Masked, "slice of"),
        (InPlace, "add_"),
        (InPlaceByName, "in place"),
        (ReadsNew, "feeds a product"),
        (Noisy, "dropout"),
    ],
)
def test_what_cannot_be_compiled_is_computed_otherwise_and_says_what_stopped_it(make: type[Cell], stopped: str) -> None:
    torch.manual_seed(0)
    cell = make(2, 4)
    with pytest.raises(Untraceable, match=stopped):
        trace(cell, 1)
    unrolled = unroll(cell, Chain(torch.tensor([3, 2])), torch.randn(2, 3, 2))
    unrolled.hidden.sum().backward()
    assert unrolled.adjoints.hidden.any()
    assert unrolled.top.engine.used == "reference"
    assert stopped in unrolled.top.engine.why
    with pytest.raises(ValueError, match=f"engine: given native, but .*{stopped}"):
        unroll(cell, Chain(torch.tensor([3])), torch.randn(1, 3, 2), engine="native")


def test_auto_leaves_to_others_what_native_cannot_do() -> None:
    cell, chain = LSTM(2, 3), Chain(torch.tensor([3]))
    assert unroll(cell, chain, torch.randn(1, 3, 2)).top.engine.used == "native"
    with torch.autocast("cpu"):
        assert "autocast" in unroll(cell, chain, torch.randn(1, 3, 2)).top.engine.why
    half = copy.deepcopy(cell).bfloat16()
    assert unroll(half, chain, torch.randn(1, 3, 2).bfloat16()).top.engine.used != "native"
    with pytest.raises(ValueError, match=r"engine: given 'nativ', expected .* \(did you mean native\?\)"):
        unroll(cell, chain, torch.randn(1, 3, 2), engine="nativ")


# Built anywhere

SCRIPT = """
import torch
from rnn_research.cells import LSTM
from rnn_research.structures import Chain
from rnn_research.unroll import unroll
torch.manual_seed(0)
cell = LSTM(2, 5)
unrolled = unroll(cell, Chain(torch.tensor([4, 2])), torch.randn(2, 4, 2))
unrolled.hidden.sum().backward()
print(float(unrolled.adjoints.cell.sum()), float(cell.weight_hh.grad.sum()), unrolled.top.engine, sep=chr(10))
"""


def run_script(cache: Path, **environment: str) -> tuple[float, float, str]:
    """Adjoint, gradient and engine. Compiled without optimisation, which takes a third of the time."""
    quick = {
        "RNN_RESEARCH_CFLAGS": f"{os.environ.get('RNN_RESEARCH_CFLAGS', '')} -O0",
        "RNN_RESEARCH_CACHE": str(cache),
    }
    said = python(SCRIPT, SUPPORT, {**os.environ, **quick, **environment}).splitlines()
    adjoint, gradient, engine = [line for line in said if "native code" not in line and "waiting for" not in line]
    return float(adjoint), float(gradient), engine


def here(engine: str) -> tuple[float, float, str]:
    """The same in this process."""
    torch.manual_seed(0)
    cell = LSTM(2, 5)
    unrolled = unroll(cell, Chain(torch.tensor([4, 2])), torch.randn(2, 4, 2), engine=engine)
    unrolled.hidden.sum().backward()
    adjoint, gradient = unrolled.adjoints.cell.sum(), cell.weight_hh.grad.sum()  # type: ignore[union-attr]
    return float(adjoint), float(gradient), str(unrolled.top.engine)


@pytest.fixture(scope="module")
def right() -> tuple[float, float]:
    return here("reference")[:2]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"CC": "/bin/false"}, "not native: /bin/false --version failed"),
        ({"CC": "/no/such/cc"}, "not native: no C compiler: CC=/no/such/cc"),
        ({"PATH": "/nowhere"}, "not native: no C compiler (cc, gcc, clang) on the path"),
        ({"RNN_RESEARCH_CFLAGS": "--no-such-flag"}, "could not compile"),
    ],
)
def test_without_a_compiler_the_run_goes_on(
    tmp_path: Path, right: Any, environment: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ({"RNN_RESEARCH_CACHE": str(tmp_path)} | environment).items():
        monkeypatch.setenv(name, value)
    library._compiler.cache_clear()  # which was found on another path
    try:
        *found, engine = here("auto")
    finally:
        library._compiler.cache_clear()
    assert found == pytest.approx(right, rel=1e-5)
    assert said in engine
    assert not engine.startswith("engine=native")


def test_a_damaged_library_is_made_anew(tmp_path: Path, right: Any) -> None:
    run_script(tmp_path)
    made = sorted(tmp_path.glob("*.so"))
    assert len(made) >= 3
    for number, path in enumerate(made):
        content = path.read_bytes()
        damages = {"truncated": content[: len(content) // 2], "overwritten": b"\0" * len(content), "emptied": b""}
        path.write_bytes(list(damages.values())[number % 3])
    *found, engine = run_script(tmp_path)
    assert found == pytest.approx(right, rel=1e-5)
    assert engine.startswith("engine=native")
    assert sorted(tmp_path.glob("*.so")) == made
    assert all(len(path.read_bytes()) > 1000 for path in made)


def test_a_folder_that_is_not_one_or_cannot_be_written_to_is_done_without(tmp_path: Path, right: Any) -> None:
    (tmp_path / "file").write_text("in the way")
    *found, engine = run_script(tmp_path / "file")
    assert found == pytest.approx(right, rel=1e-5)
    assert engine.startswith("engine=native")
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    (tmp_path / "locked").mkdir(mode=0o500)
    *found, engine = run_script(tmp_path / "locked")
    assert found == pytest.approx(right, rel=1e-5)
    assert engine.startswith("engine=native")


def test_many_processes_may_start_at_once(tmp_path: Path, right: Any) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for *found, engine in pool.map(lambda _: run_script(tmp_path), range(4)):
            assert found == pytest.approx(right, rel=1e-5)
            assert engine.startswith("engine=native")
    assert not list(tmp_path.glob(".making-*"))
    made = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.so")}
    run_script(tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.so")} == made


def test_another_source_flag_compiler_or_cpu_is_another_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNN_RESEARCH_CACHE", str(tmp_path))

    def names() -> set[str]:
        library._LOADED.clear()
        library.load("int one(void) { return 1; }", double=False)
        return {path.name for path in tmp_path.glob("*.so")}

    seen = names()
    assert len(seen) == 1
    for change in (
        lambda: monkeypatch.setenv("RNN_RESEARCH_CFLAGS", "-DX"),
        lambda: monkeypatch.setattr(library, "_version", lambda _: "another"),
        lambda: monkeypatch.setattr(library, "_cpu", lambda: "another"),
    ):
        change()
        assert len(names()) == len(seen) + 1
        seen = names()
    library._LOADED.clear()


@pytest.mark.slow
def test_three_hundred_cases_under_sanitizers() -> None:
    """AddressSanitizer and UndefinedBehaviorSanitizer find nothing in the kernel and the compiled updates."""
    runtime = subprocess.run(
        ["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(runtime).is_absolute():
        pytest.skip("the compiler has no AddressSanitizer")
    done = subprocess.run(
        [sys.executable, str(SUPPORT / "cases.py"), "300"],
        env={
            **os.environ,
            "LD_PRELOAD": runtime,
            "ASAN_OPTIONS": "detect_leaks=0",
            "RNN_RESEARCH_CFLAGS": "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all",
        },
        capture_output=True,
        text=True,
    )
    assert "Sanitizer" not in done.stderr, done.stderr
    assert "runtime error" not in done.stderr, done.stderr
    assert done.stdout.count("native") > 0, done.stderr


@pytest.mark.slow
def test_three_hundred_cases_are_as_near_as_torch() -> None:
    done = subprocess.run([sys.executable, str(SUPPORT / "cases.py"), "300"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
