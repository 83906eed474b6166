"""A cell's updates, compiled, and the call of the driver on tensors."""

from __future__ import annotations

import ctypes
import functools
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch

from rnn_research.cells.base import Cell
from rnn_research.unroll.compiled import library, proof
from rnn_research.unroll.compiled.graph import Untraceable, tensors_of
from rnn_research.unroll.compiled.schedule import Schedule
from rnn_research.unroll.compiled.seen import seen
from rnn_research.unroll.compiled.source import source
from rnn_research.unroll.compiled.structs import BiasStruct, ProductStruct, ProgramStruct, RunStruct, array, check_sizes
from rnn_research.unroll.compiled.threads import (
    UpdateWork,
    adds_to_vectors,
    cores,
    gradients_split,
    threads_for,
    work_of,
)
from rnn_research.unroll.compiled.trace import trace
from rnn_research.unroll.compiled.update_plan import UpdatePlan, check_length
from rnn_research.unroll.update import of_this_package

FEW = 8
"""Previous states, that tell whether an update's code grows with them."""


@dataclass(eq=False)
class CompiledUpdates:
    """The native updates of one cell in one precision, for the arities in `plans`."""

    driver: ctypes.CDLL
    hidden: int
    plans: dict[int, UpdatePlan]
    programs: dict[int, ProgramStruct]
    held: list[Any] = field(default_factory=list)
    """What the programs point to."""

    @property
    def marked(self) -> bool:
        """Whether there are marked pre-activations to act on."""
        return any(plan.marks for plan in self.plans.values())

    @functools.cached_property
    def gradients_split(self) -> bool:
        """Whether several threads may take a backward pass that wants the weights' gradients."""
        return gradients_split(self.plans.values(), self.hidden)

    def threads(self, schedule: Schedule, features: int) -> int:
        """How many threads are to take a call on inputs of so many features."""
        return threads_for([self.work[arity] for arity in schedule.arities], schedule, features, self.hidden)

    @functools.cached_property
    def work(self) -> dict[int, UpdateWork]:
        """Of each arity."""
        return {arity: work_of(plan, self.hidden) for arity, plan in self.plans.items()}

    @functools.cached_property
    def used(self) -> frozenset[int]:
        """The cell's tensors that some update reads, by number: the others have no gradient."""
        return frozenset(tensor for plan in self.plans.values() for tensor in plan.tensors)

    def table(self, schedule: Schedule) -> Any:
        """The programs that a schedule's groups need, in the order of its arities."""
        return array(ProgramStruct, [self.programs[arity] for arity in schedule.arities])

    def tape_size(self, schedule: Schedule, keep: bool) -> int:
        """Blocks that the tape holds: of every group, or (not kept) of one at a time."""
        slots = [self.plans[arity].slots for arity in schedule.arities]
        every, largest = schedule.nodes
        if keep:
            return sum(slot * nodes for slot, nodes in zip(slots, every, strict=True))
        return max(slot * nodes for slot, nodes in zip(slots, largest, strict=True))


Compilation = CompiledUpdates | Untraceable | library.Unavailable
Plans = dict[int, tuple[UpdatePlan, str]]
"""A plan and its C, by the number of previous states."""
_COMPILED: weakref.WeakKeyDictionary[Cell, dict[Any, Compilation]] = weakref.WeakKeyDictionary()
_OF_CLASS: dict[Any, Compilation] = {}
"""Of this package's own cells, whose update is said by their class, their attributes and the shapes of their tensors:
the next run of a sweep makes another such cell."""
_PLANS: weakref.WeakKeyDictionary[Cell, dict[Any, Plans]] = weakref.WeakKeyDictionary()
_PLANS_OF_CLASS: dict[Any, Plans] = {}
"""Batches of trees differ in the numbers of children that nodes have: an update is traced once for each number."""
KEPT = 256
"""As many cells that are alike; then it begins anew."""


def compile_updates(
    cell: Cell, arities: tuple[int, ...], dtype: torch.dtype, intervenes: bool = False
) -> CompiledUpdates:
    """The cell's native updates for these numbers of previous states. `acting`: those with what acts within the
    backward pass, a library of their own.

    Raises:
        Untraceable: the update can't be compiled; says what stopped it.
        library.Unavailable: nothing can be compiled here.
    """
    if dtype not in (torch.float32, torch.float64):
        raise Untraceable(f"{dtype}, expected float32 or float64")
    key = (arities, dtype, intervenes, *_fingerprint(cell))
    known = _COMPILED.setdefault(cell, {})
    if key not in known:
        known[key] = _shared(cell, key)
    found = known[key]
    if isinstance(found, Exception):
        raise found.with_traceback(None)  # whose frames hold tensors
    return found


def _shared(cell: Cell, key: tuple[Any, ...]) -> Compilation:
    """What is compiled for a cell, or was for one that is alike."""
    arities, dtype, intervenes = key[:3]
    alike = (type(cell), library.settings(), key) if of_this_package(cell) else None
    if alike in _OF_CLASS:
        return _OF_CLASS[alike]
    try:
        found: Compilation = _compile(cell, arities, dtype == torch.float64, intervenes, _plans(cell, key[1:]))
    except (Untraceable, library.Unavailable) as error:
        found = error.with_traceback(None)  # it would fail each time, and take its time
    if alike is not None:
        if len(_OF_CLASS) >= KEPT:
            _OF_CLASS.clear()
        _OF_CLASS[alike] = found
    return found


def _plans(cell: Cell, key: tuple[Any, ...]) -> Plans:
    """Those that there are of a cell, or of the cells that are alike."""
    if not of_this_package(cell):
        return _PLANS.setdefault(cell, {}).setdefault(key, {})
    if len(_PLANS_OF_CLASS) >= KEPT:
        _PLANS_OF_CLASS.clear()
    return _PLANS_OF_CLASS.setdefault((type(cell), key), {})


def _fingerprint(cell: Cell) -> tuple[Any, ...]:
    """What a trace may have read of the cell besides its tensors' values: a change of it needs another trace."""
    number = {id(tensor): place for place, tensor in enumerate(tensors_of(cell))}
    tensors: list[Any] = []
    for module in cell.modules():
        own = (*module._parameters.values(), *module._buffers.values())
        tensors += [one if one is None else (number[id(one)], one.shape, one.requires_grad) for one in own]
    return seen(cell), tuple(tensors), torch.get_default_dtype()


def _compile(cell: Cell, arities: Sequence[int], double: bool, intervenes: bool, written: Plans) -> CompiledUpdates:
    """All at once, one compiler a core: those for several previous states are mostly one program. What can't be
    compiled is known before any is started. `written`: the plans that there are already; new ones are added."""
    missing = [arity for arity in arities if arity not in written]
    if missing:
        _check_growth(cell, max(missing), intervenes)
    traces = {arity: trace(cell, arity, marks=intervenes) for arity in missing}
    if not of_this_package(cell):
        for one in traces.values():
            proof.check(cell, one)
    plans = {arity: UpdatePlan(one) for arity, one in traces.items()}
    for plan in plans.values():
        if any(sum(mark in plan.within(roots) for roots in plan.roots) > 1 for mark in plan.marks):
            raise Untraceable("a marked pre-activation is read both before and after a product of the same update")
    written.update({arity: (plan, source(plan, intervenes)) for arity, plan in plans.items()})
    plans = {arity: written[arity][0] for arity in arities}
    sources = {arity: written[arity][1] for arity in arities}
    texts = list(dict.fromkeys(sources.values()))
    driver, loaded = library.driver_and(texts, double, cores())
    check_sizes(driver)
    made = CompiledUpdates(driver, cell.hidden_size, plans, {}, list(loaded.values()))
    for arity, plan in plans.items():
        made.programs[arity] = _program(plan, loaded[sources[arity]], cell.hidden_size, made.held)
    return made


def _check_growth(cell: Cell, arity: int, intervenes: bool) -> None:
    """Refuse many previous states for which the code would be too long, by what it is for a few: a trace takes a
    millisecond for each."""
    if arity > 2 * FEW:
        few, twice = (len(UpdatePlan(trace(cell, count, marks=intervenes)).nodes) for count in (FEW, 2 * FEW))
        check_length(twice + (twice - few) * (arity - 2 * FEW) // FEW, arity)


def _program(plan: UpdatePlan, code: ctypes.CDLL, hidden: int, held: list[Any]) -> ProgramStruct:
    rows_of: dict[Any, list[tuple[int, int]]] = {}
    for node, acc in plan.acc.items():
        for product, row in acc.products:
            rows_of.setdefault(product, []).append((row, plan.place_of(node, plan.place)))
    products = []
    first: dict[Any, int] = {}
    for number, product in enumerate(plan.products):
        runs = array(RunStruct, list(_runs(sorted(rows_of[product]))))
        view = product.weight
        part_of_it = (view, product.source, product.count, *((run.block, run.count) for run in runs[: len(runs)]))
        products.append(
            ProductStruct(
                source=product.source,
                child=product.first,
                part=product.part,
                value=plan.place_of(product.values[0], plan.slot) if product.values else 0,
                blocks=product.count,
                stage=plan.stage_of[product],
                weight=view.tensor,
                runs=len(runs),
                same=first.setdefault(part_of_it, number),
                offset=view.offset,
                row=view.row,
                column=view.column,
                run=runs,
            )
        )
        held.append(runs)
    vectors = [(plan.place_of(node, plan.place), one) for node, acc in plan.acc.items() for one in acc.vectors]
    biases = [BiasStruct(acc=place, tensor=one.tensor, offset=one.block * hidden) for place, one in vectors]
    product_array, bias_array = array(ProductStruct, products), array(BiasStruct, biases)
    held += [product_array, bias_array]
    return ProgramStruct(
        arity=plan.arity,
        stages=plan.stages,
        accs=len(plan.acc),
        slots=plan.slots,
        values=plan.dvalues,
        products=len(products),
        biases=len(biases),
        vectors=adds_to_vectors(plan),
        product=product_array,
        bias=bias_array,
        forward=_address_of(code, "forward"),
        backward=_address_of(code, "backward"),
    )


def _address_of(code: ctypes.CDLL, table: str) -> int:
    """The address of a table of functions in a library."""
    return ctypes.addressof(ctypes.c_void_p.in_dll(code, table))


def _runs(rows: list[tuple[int, int]]) -> list[RunStruct]:
    """Row blocks of a weight that go to accumulators side by side, together."""
    breaks = [0, *(k for k, (a, b) in enumerate(pairwise(rows), 1) if (b[0] - a[0], b[1] - a[1]) != (1, 1)), len(rows)]
    return [RunStruct(rows[start][0], stop - start, rows[start][1]) for start, stop in pairwise(breaks)]
