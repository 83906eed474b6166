"""A trace does not outlive what it read, however an update reads it; and what none can tell is not compiled."""

from __future__ import annotations

import argparse
import array
import collections
import contextvars
import datetime
import decimal
import fractions
import functools
import logging
import os
import pathlib
import sys
import threading
import time
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from rnn_research.cells import Cell, Hidden
from rnn_research.structures import Chain
from rnn_research.unroll import unroll

CHAIN = Chain(torch.tensor([4, 2]))
log = logging.getLogger(__name__)


class Scaled(Cell):
    """h = rate tanh(W x + U h' + b), with a rate that `read` finds."""

    def __init__(self, read: Callable[[Any], Any], kept: Any = None) -> None:
        super().__init__(3, 5)
        self.double()
        self.read, self.kept = read, kept

    def step(self, projected: Tensor, *previous: Any) -> Hidden:
        rate = float(self.read(self))
        return Hidden(rate * torch.tanh(projected + self.recur(self.summed(projected, previous).hidden)))


class Case(NamedTuple):
    """What an update reads, of what the cell keeps; and what changes that."""

    read: Callable[[Any], Any]
    kept: Callable[[], Any]
    change: Callable[[Any], Any]


class Nested:
    def __init__(self, depth: int) -> None:
        self.inner = Nested(depth - 1) if depth else None
        self.rate = 0.5


def deepest(found: Any) -> Any:
    while found.inner is not None:
        found = found.inner
    return found


class Words(dict):  # type: ignore[type-arg]
    pass


class Row(list):  # type: ignore[type-arg]
    pass


class Number(float):
    pass


class Kind(type):
    rate = 0.5


class OfKind(metaclass=Kind):
    pass


def with_attribute(made: Any) -> Any:
    made.rate = 0.5
    return made


def first(*, a: float = 0.7) -> float:
    return a


def second(*, b: float = 0.7) -> float:
    return b


def third(*, c: float = 0.5) -> float:
    return c


def swapped() -> float:
    return 0.5


@functools.lru_cache
def cached(factor: float) -> float:
    return factor * RATE["slow"]


RATE = {"slow": 0.5}
CONTEXT: contextvars.ContextVar[float] = contextvars.ContextVar("rate", default=0.5)
LOCAL = threading.local()
LEAKY = nn.LeakyReLU(0.5)
HELD = Nested(0)
LOOKED_UP = RATE.get


def _replaced(make: Callable[[float], Any]) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    return lambda: make(0.5), lambda cell: setattr(cell, "kept", make(0.25))


def _sets(name: str, of: Callable[[Any], Any] = lambda cell: cell.kept) -> Callable[[Any], Any]:
    return lambda cell: setattr(of(cell), name, 0.25)


def _nothing() -> None:
    """The cell keeps nothing."""


def _attribute(make: Callable[[], Any]) -> Case:
    return Case(lambda cell: cell.kept.rate, lambda: with_attribute(make()), _sets("rate"))


def _item(make: Callable[[], Any], key: Any = "rate") -> Case:
    return Case(lambda cell: cell.kept[key], make, lambda cell: cell.kept.__setitem__(key, 0.25))


def _cached_again(cell: Any) -> None:
    RATE["slow"] = 0.25
    cached.cache_clear()


CASES = {
    "a namespace of argparse": _attribute(argparse.Namespace),
    "a config of OmegaConf": Case(lambda cell: cell.kept.rate, lambda: OmegaConf.create({"rate": 0.5}), _sets("rate")),
    "a deque": _item(lambda: collections.deque([0.5]), 0),
    "a UserDict": _item(lambda: collections.UserDict(rate=0.5)),
    "a ChainMap": _item(lambda: collections.ChainMap({"rate": 0.5})),
    "a defaultdict": _item(lambda: collections.defaultdict(float, rate=0.5)),
    "an array": _item(lambda: array.array("d", [0.5]), 0),
    "a bytearray": Case(lambda cell: cell.kept[0] / 100, *_replaced(lambda rate: bytearray([int(100 * rate)]))),
    "a range": Case(lambda cell: len(cell.kept) / 10, *_replaced(lambda rate: range(int(20 * rate)))),
    "a slice": Case(lambda cell: cell.kept.stop / 10, *_replaced(lambda rate: slice(int(20 * rate)))),
    "a fraction": Case(lambda cell: cell.kept, *_replaced(fractions.Fraction)),
    "a decimal": Case(lambda cell: cell.kept, *_replaced(decimal.Decimal)),
    "a date": Case(lambda cell: cell.kept.year / 2000, *_replaced(lambda rate: datetime.date(int(4000 * rate), 1, 1))),
    "a path": Case(lambda cell: cell.kept.name, *_replaced(lambda rate: pathlib.Path("/x") / str(rate))),
    "a number of one's own class": Case(lambda cell: cell.kept, *_replaced(Number)),
    "an attribute of a number": _attribute(lambda: Number(1)),
    "an attribute of a dict": _attribute(Words),
    "an attribute of a list": _attribute(Row),
    "twelve deep": Case(
        lambda cell: deepest(cell.kept).rate, lambda: Nested(12), _sets("rate", lambda cell: deepest(cell.kept))
    ),
    "a module that is not registered": Case(
        lambda cell: cell.kept[0].negative_slope,
        lambda: [nn.LeakyReLU(0.5)],
        _sets("negative_slope", lambda cell: cell.kept[0]),
    ),
    "a global module": Case(lambda cell: LEAKY.negative_slope, _nothing, _sets("negative_slope", lambda cell: LEAKY)),
    "a weak reference": Case(
        lambda cell: cell.kept().rate, lambda: weakref.ref(HELD), _sets("rate", lambda cell: HELD)
    ),
    "a context variable": Case(lambda cell: CONTEXT.get(), _nothing, lambda cell: CONTEXT.set(0.25)),
    "a thread's own": Case(
        lambda cell: LOCAL.rate, lambda: setattr(LOCAL, "rate", 0.5), _sets("rate", lambda cell: LOCAL)
    ),
    "an attribute of a metaclass": Case(lambda cell: OfKind.rate, _nothing, _sets("rate", lambda cell: Kind)),
    "what a cache keeps": Case(lambda cell: cached(1.0), lambda: RATE.update(slow=0.5), _cached_again),
    "a bound method of a dict": Case(
        lambda cell: LOOKED_UP("slow"), lambda: RATE.update(slow=0.5), lambda cell: RATE.update(slow=0.25)
    ),
    "a function's third defaults": Case(
        lambda cell: first() * second() * third(), _nothing, lambda cell: third.__kwdefaults__.update(c=0.25)
    ),
    "a function's code": Case(
        lambda cell: swapped(), _nothing, lambda cell: setattr(swapped, "__code__", (lambda: 0.25).__code__)
    ),
    "a global by its text": Case(
        lambda cell: globals()["BY" + "_TEXT"],
        lambda: globals().update(BY_TEXT=0.5),
        lambda cell: globals().update(BY_TEXT=0.25),
    ),
    "an attribute by its text": Case(
        lambda cell: getattr(THIS, "BY" + "_TEXT"),
        lambda: globals().update(BY_TEXT=0.5),
        lambda cell: globals().update(BY_TEXT=0.25),
    ),
}
THIS = sys.modules[__name__]
BY_TEXT = 0.5


def check(cell: Any, change: Callable[[Any], Any], native: bool = True) -> None:
    """A change is seen in what `auto` gives, as in what the reference gives."""
    inputs = torch.randn(2, 4, 3, dtype=torch.float64)

    def states(engine: str) -> Tensor:
        found = unroll(cell, CHAIN, inputs, engine=engine)
        assert engine != "auto" or (found.top.engine.used == "native") == native, found.top.engine.why
        return found.hidden.detach()

    before = states("auto")
    change(cell)
    after = states("auto")
    torch.testing.assert_close(after, states("reference"), rtol=1e-12, atol=1e-12)
    assert not torch.allclose(after, before)


@pytest.mark.parametrize("name", CASES)
def test_a_change_of_what_an_update_reads_is_seen(name: str) -> None:
    case = CASES[name]
    context = contextvars.copy_context()
    context.run(check, Scaled(case.read, case.kept()), case.change)


def test_a_change_in_another_file_of_ones_own_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an import within the update, as an attribute of a package, and as a module that the cell keeps."""
    package = tmp_path / "knobs"
    package.mkdir()
    (package / "__init__.py").write_text("RATE = 0.5\n")
    (package / "inner.py").write_text("RATE = 0.5\n")
    monkeypatch.syspath_prepend(tmp_path)
    import knobs  # type: ignore[import-not-found]
    import knobs.inner  # type: ignore[import-not-found]

    def within(cell: Any) -> float:
        import knobs

        return knobs.RATE

    def inside(cell: Any) -> float:
        from knobs import inner

        return inner.RATE

    for read, kept, module in (
        (within, None, knobs),
        (inside, None, knobs.inner),
        (lambda cell: knobs.inner.RATE, None, knobs.inner),
        (lambda cell: cell.kept.RATE, knobs, knobs),
    ):
        module.RATE = 0.5
        check(Scaled(read, kept), lambda cell, module=module: setattr(module, "RATE", 0.25))


UNSTEADY: dict[str, Callable[[Any], float]] = {
    "the time": lambda cell: 0.5 if time.time() < cell.kept else 0.25,
    "a clock": lambda cell: 0.5 if time.perf_counter() < cell.kept else 0.25,
    "a file": lambda cell: float(Path(cell.kept).read_text()),
    "whether gradients are on": lambda cell: 0.5 if torch.is_grad_enabled() else 0.25,
    "the number of threads": lambda cell: torch.get_num_threads() / 2,
    "a tensor's text": lambda cell: float(f"{cell.running}"),
    "a tensor's memory": lambda cell: float(cell.running.data_ptr() == cell.kept),
    "how often a tensor was changed": lambda cell: 0.5 + cell.running._version,
    "whether there is a gradient": lambda cell: 0.5 if cell.weight_hh.grad is None else 0.25,
}


@pytest.mark.parametrize("name", UNSTEADY)
def test_what_no_look_can_tell_is_not_compiled(name: str, tmp_path: Path) -> None:
    (tmp_path / "rate").write_text("0.5")
    cell = Scaled(UNSTEADY[name], str(tmp_path / "rate") if name == "a file" else 1e12)
    cell.register_buffer("running", torch.tensor(0.5, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"engine: given native, but the update"):
        unroll(cell, CHAIN, torch.randn(2, 4, 3, dtype=torch.float64), engine="native")


def _logged(cell: Any) -> float:
    if os.name == "nothing":
        log.info("now")
    return 0.5


def _timed_elsewhere(cell: Any) -> float:
    return 0.5


class Timed(Scaled):
    """Reads a clock where no update does."""

    def build(self) -> None:
        self.begun = time.time()
        super().build()


@pytest.mark.parametrize("cell", [Scaled(_logged), Timed(_timed_elsewhere)], ids=["a log", "a clock elsewhere"])
def test_what_computes_nothing_is_compiled_all_the_same(cell: Scaled) -> None:
    assert unroll(cell, CHAIN, torch.randn(2, 4, 3, dtype=torch.float64), engine="native").top.engine.used == "native"


def test_a_generator_of_the_cells_own_is_where_it_was_after_a_trace() -> None:
    """Or the engine that is used in the end would draw other numbers than the reference."""
    cell = Scaled(lambda cell: torch.rand((), generator=cell.kept), torch.Generator().manual_seed(3))
    inputs = torch.randn(2, 4, 3, dtype=torch.float64)
    found = []
    for engine in ("auto", "reference"):
        cell.kept.manual_seed(3)
        found.append(unroll(cell, CHAIN, inputs, engine=engine).hidden.detach())
    assert torch.equal(*found)


def test_a_namespace_of_modules_is_looked_into() -> None:
    holder = types.SimpleNamespace(act=nn.Hardtanh(-0.5, 0.5))
    check(Scaled(lambda cell: cell.kept.act.max_val, holder), lambda cell: setattr(cell.kept.act, "max_val", 0.25))
