"""Several threads give the bits of one, and take over only where there is enough for each."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from equations import VARIANTS, random_tree
from forked import python
from torch import Tensor

from rnn_research.cells import LSTM, RNN, Cell, Hidden
from rnn_research.structures import Chain, Forest
from rnn_research.unroll import Intervention, unroll
from rnn_research.unroll.compiled import threads
from rnn_research.unroll.compiled.schedule import schedule
from rnn_research.unroll.compiled.updates import CompiledUpdates

COUNTS = (2, 3, 4)
CELLS = ("rnn", "linear_rnn", "lstm", "gru", "gru_before", "tree_rnn", "child_sum", "nary")
"""Those of conf/model, and one whose values are multiplied again."""
DTYPES = [torch.float32, torch.float64]
OF_ONE_PRECISION = [
    pytest.param(name, dtype, marks=() if number % 2 == place else pytest.mark.slow)
    for number, name in enumerate(CELLS)
    for place, dtype in enumerate(DTYPES)
]
"""Each cell in one precision, and in the other one slow."""
HIDDEN = 19  # no whole number of vectors


def equal() -> Chain:
    """Each step is two groups, and blocks of rows for the gradients begin within steps."""
    return Chain(torch.full((100,), 9))


def unequal() -> Chain:
    return Chain(torch.from_numpy(np.random.default_rng(0).integers(1, 30, 60)))


def trees() -> Forest:
    """Of up to two children a node: fewer updates to compile. Two are no more than a leaf, one is half of it all."""
    random = np.random.default_rng(0)
    return Forest.of([random_tree(random, size, 2) for size in (9, 1, 30, 12, 300, 40, 1, 120, 60)])


STRUCTURES: dict[str, Callable[[], Chain | Forest]] = {"equal": equal, "unequal": unequal, "trees": trees}


@pytest.fixture(autouse=True)
def _many_small_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """However little there is to do, and however few the cores are."""
    monkeypatch.setattr(threads, "LEAST", 1)
    monkeypatch.setattr(threads, "cores", lambda: 64)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Over how many threads each call was split."""
    found: list[int] = []
    real = CompiledUpdates.threads

    def seen(self: CompiledUpdates, *given: Any) -> int:
        found.append(real(self, *given))
        return found[-1]

    monkeypatch.setattr(CompiledUpdates, "threads", seen)
    return found


def weights_of(cell: Cell) -> Cell:
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.mul_(0.5)
    return cell


def computed(count: int, cell: Cell, structure: Chain | Forest, **kwargs: Any) -> list[Tensor]:
    """All that a forward and a backward pass give, with so many threads."""
    torch.manual_seed(0)
    dtype = next(cell.parameters()).dtype
    inputs = torch.randn(*structure.mask.shape, cell.input_size, dtype=dtype).requires_grad_()
    given = [inputs, *cell.parameters()]
    if "initial" in kwargs:
        initial = [torch.randn(len(structure), cell.hidden_size, dtype=dtype) for _ in cell.state_names]
        given += [part.requires_grad_() for part in initial]
        kwargs["initial"] = [cell.state_type(*initial)]
    torch.set_num_threads(count)
    unrolled = unroll(cell, structure, inputs, engine="native", **kwargs)
    weights = torch.randn(unrolled.hidden.shape, dtype=dtype)
    gradients = torch.autograd.grad((unrolled.hidden * weights).sum(), given)
    found = [*unrolled.states, *gradients]
    if kwargs.get("record", True):
        found += [*unrolled.adjoints, *unrolled.recurrent]
        torch.set_num_threads(1)  # what was not recorded torch computes, whose bits depend on its threads
        found += [norms for which in ("adjoints", "direct", "recurrent") for norms in unrolled.top.norms(which)]
        pairs = unrolled.top.norms_by_point() or {}
        found += [one for point in sorted(pairs) for one in pairs[point]]
    torch.set_num_threads(1)
    return [one.detach().clone() for one in found]


def assert_same(one: list[Tensor], other: list[Tensor]) -> None:
    assert len(one) == len(other)
    assert all(map(torch.equal, one, other))


def cell_of(name: str, dtype: torch.dtype, hidden: int = HIDDEN, features: int = 3) -> Cell:
    return weights_of(VARIANTS[name].build(features, hidden, max_children=2)).to(dtype)


# The same bits


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", STRUCTURES)
@pytest.mark.parametrize("name", CELLS)
def test_the_bits_are_those_of_one_thread(name: str, kind: str, dtype: torch.dtype, used: list[int]) -> None:
    cell, structure = cell_of(name, dtype), STRUCTURES[kind]()
    alone = computed(1, cell, structure, record="parts")
    for count in COUNTS:
        used.clear()
        assert_same(alone, computed(count, cell, structure, record="parts"))
        assert set(used) == {count}
    unrecorded = computed(COUNTS[-1], cell, structure, record=False)
    assert_same(alone[: len(unrecorded)], unrecorded)


def inside_of(cell: Cell, structure: Chain | Forest) -> Intervention:
    """Everything that can act at once."""
    random = torch.Generator().manual_seed(3)
    keep = [torch.rand(structure.mask.shape, generator=random) for _ in cell.state_names]
    return Intervention(keep=keep, exponent=0.3, max_norm=1.0, max_value=0.05)


@pytest.mark.parametrize("kind", ["unequal", "trees"])
@pytest.mark.parametrize(("name", "dtype"), OF_ONE_PRECISION)
def test_so_they_are_with_what_acts_within_the_backward_pass(name: str, kind: str, dtype: torch.dtype) -> None:
    cell, structure = cell_of(name, dtype), STRUCTURES[kind]()
    inside = [inside_of(cell, structure)]
    alone = computed(1, cell, structure, record="parts", interventions=inside)
    for count in COUNTS:
        assert_same(alone, computed(count, cell, structure, record="parts", interventions=inside))


@pytest.mark.parametrize(("name", "dtype"), OF_ONE_PRECISION)
def test_so_they_are_with_initial_states_and_truncated(name: str, dtype: torch.dtype) -> None:
    cell, structure = cell_of(name, dtype), unequal()
    for how in ({"initial": True}, {"truncate": (3, 5)}):
        assert_same(*(computed(count, cell, structure, record="parts", **how) for count in (1, 3)))


@pytest.mark.parametrize("kind", STRUCTURES)
@pytest.mark.parametrize("name", ["lstm", "child_sum", "gru_before"])
def test_so_they_are_where_threads_wait_for_each_other_often(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With memory for two blocks of rows, however large these are."""
    monkeypatch.setenv("RNN_RESEARCH_CFLAGS", f"{os.environ.get('RNN_RESEARCH_CFLAGS', '')} -DRING=1")
    cell, structure = cell_of(name, torch.float32), STRUCTURES[kind]()
    alone = computed(1, cell, structure)
    for count in COUNTS:
        assert_same(alone, computed(count, cell, structure))


@pytest.mark.parametrize(("hidden", "features"), [(1, 1), (8, 40), (70, 70)])
def test_so_they_are_at_other_sizes(hidden: int, features: int) -> None:
    """Of no more than one vector, where some threads have no column; and with inputs wide enough for other tiles."""
    cell, structure = cell_of("lstm", torch.float32, hidden, features), unequal()
    alone = computed(1, cell, structure)
    for count in COUNTS:
        assert_same(alone, computed(count, cell, structure))


class Peephole(Cell):
    """Reads a vector elementwise, and a weight both ways round."""

    state_type = Hidden
    gates = ("h",)

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.peephole = torch.nn.Parameter(torch.linspace(-1, 1, hidden_size))

    def step(self, projected: Tensor, *previous: Any) -> Hidden:
        hidden = self.summed(projected, previous).hidden
        return Hidden(torch.tanh(projected + self.recur(hidden) + self.peephole * hidden))


class BothWays(RNN):
    def step(self, projected: Tensor, *previous: Any) -> Hidden:
        hidden = self.summed(projected, previous).hidden
        return Hidden(torch.tanh(projected + self.recur(hidden) + hidden @ self.weight_hh))


@pytest.mark.parametrize("make", [Peephole, BothWays])
def test_so_are_gradients_that_threads_could_not_share(make: type[Cell], used: list[int]) -> None:
    cell, structure = weights_of(make(3, HIDDEN)), unequal()
    alone = computed(1, cell, structure)
    used.clear()
    assert_same(alone, computed(3, cell, structure))
    assert used[0] == 3


# Who splits, and when


def test_no_more_threads_than_samples_cores_and_work(monkeypatch: pytest.MonkeyPatch, used: list[int]) -> None:
    cell = cell_of("lstm", torch.float32)
    for batch, cores, expected in ((2, 64, 2), (9, 64, 8), (9, 3, 3), (1, 64, 1)):
        monkeypatch.setattr(threads, "cores", lambda cores=cores: cores)
        computed(8, cell, Chain(torch.full((batch,), 5)), record="parts")
        assert set(used) == {expected}
        used.clear()


def test_small_work_is_not_split(monkeypatch: pytest.MonkeyPatch, used: list[int]) -> None:
    monkeypatch.undo()
    cell = LSTM(2, 16)
    torch.set_num_threads(2)
    unroll(cell, Chain(torch.full((8,), 20)), torch.randn(8, 20, 2), engine="native")
    torch.set_num_threads(1)
    large, chain = LSTM(64, 256), Chain(torch.full((128,), 10))
    updates = unroll(large, chain, torch.randn(128, 10, 64), engine="native").top
    assert updates.engine.used == "native"
    monkeypatch.setattr(threads, "cores", lambda: 2)
    work = [threads.UpdateWork(fixed=2 * 4 * 256 + 120, each=8)]
    torch.set_num_threads(2)
    assert threads.threads_for(work, schedule(chain, True), 64, 256) == 2
    assert threads.threads_for(work, schedule(Chain(torch.full((8,), 20)), True), 2, 16) == 1


def test_a_samples_nodes_depend_on_no_others() -> None:
    """What the driver takes for granted of a schedule: groups lie by sample, and children are of the same one."""
    for structure in (equal(), unequal(), trees()):
        plan = schedule(structure, False)
        of_row = np.full(plan.rows, -1)
        of_row[plan.row] = plan.sample
        starts = np.cumsum(plan.count) - plan.count
        leaf = np.array(plan.arities)[plan.kind] == 0
        assert not (leaf[1:] & ~leaf[:-1]).any()  # leaves come first
        for start, count, kind in zip(starts, plan.count, plan.kind, strict=True):
            nodes, arity = slice(start, start + count), plan.arities[kind]
            if arity:
                assert (np.diff(plan.sample[nodes]) >= 0).all()
            for child in range(arity):
                assert (of_row[plan.child[nodes] + child] == plan.sample[nodes]).all()
        assert 0 <= plan.sample.min() <= plan.sample.max() < plan.samples
        assert plan.count.max() <= 96


# Processes

SPLITTING = """
import os, torch
from rnn_research.cells import LSTM
from rnn_research.structures import Chain
from rnn_research.unroll import unroll
from rnn_research.unroll.compiled import threads
threads.LEAST, threads.cores = 1, lambda: 64
cell, chain, inputs = LSTM(3, 20), Chain(torch.full((40,), 30)), torch.randn(40, 30, 3)
def step(count):
    torch.set_num_threads(count)
    cell.zero_grad()
    unroll(cell, chain, inputs, engine="native").hidden.sum().backward()
    return cell.weight_hh.grad.clone()
"""


def test_a_forked_process_splits_too(tmp_path: Path) -> None:
    script = SPLITTING + (
        "expected = step(1)\n"
        "assert torch.equal(step(4), expected)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    os._exit(0 if torch.equal(step(4), expected) else 1)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "print('split')\n"
    )
    assert "split" in python(script, tmp_path)


def test_where_the_system_grants_no_thread_one_computes_it_all(tmp_path: Path) -> None:
    script = SPLITTING + (
        "import resource\n"
        "expected = step(1)\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * os.sysconf('SC_PAGE_SIZE')\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (6 << 20), resource.RLIM_INFINITY))\n"
        "assert torch.equal(step(4), expected)\n"
        "print('alone')\n"
    )
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("no /proc, to see how much memory there is")
    assert "alone" in python(script, tmp_path)


def test_ctrl_c_reaches_python_while_threads_compute() -> None:
    cell, chain, inputs = cell_of("lstm", torch.float32), equal(), torch.randn(100, 9, 3)
    torch.set_num_threads(4)
    timer = threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()

    def compute() -> None:
        while True:
            unroll(cell, chain, inputs, engine="native", record=False).hidden.sum().backward()

    with pytest.raises(KeyboardInterrupt):
        compute()
    timer.join()


def test_several_python_threads_split_at_once() -> None:
    """Each call has threads of its own."""
    cell, structure = cell_of("gru", torch.float32), unequal()
    inputs = torch.randn(*structure.mask.shape, 3)
    torch.set_num_threads(1)
    expected = unroll(cell, structure, inputs, engine="native", record=False).hidden
    found: list[Tensor] = []

    def run() -> None:
        torch.set_num_threads(3)
        found.extend(unroll(cell, structure, inputs, engine="native", record=False).hidden for _ in range(20))

    running = [threading.Thread(target=run) for _ in range(4)]
    for one in running:
        one.start()
    for one in running:
        one.join()
    assert len(found) == 80
    assert all(torch.equal(one, expected) for one in found)
