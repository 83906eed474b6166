"""Over how many threads the driver splits a call: as many as torch has here, where there is enough for each.

The bits are those of one thread (kernel.c), so this decides how fast a run is and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass

import torch

from rnn_research.unroll.compiled.graph import INPUT, Product, TensorLeaf, View, leaf_of
from rnn_research.unroll.compiled.schedule import Schedule
from rnn_research.unroll.compiled.update_plan import UpdatePlan

LEAST = 10e6
"""Operations that are worth a thread: some tenths of a millisecond, of which making it costs less than one."""
ELEMENTWISE = 30
"""Operations that the elementwise code of one element of an accumulator counts for."""


@dataclass(frozen=True)
class UpdateWork:
    """The operations of a node's update, forwards, a hidden unit: `fixed`, and `each` for every input feature."""

    fixed: int
    each: int


def work_of(plan: UpdatePlan, hidden: int) -> UpdateWork:
    """What one update of a plan takes, of `hidden` units."""
    products = [product for acc in plan.acc.values() for product, _ in acc.products]
    blocks = sum(product.count for product in products if product.source != INPUT)
    inputs = sum(product.source == INPUT for product in products)
    return UpdateWork(2 * blocks * hidden + ELEMENTWISE * len(plan.acc), 2 * inputs)


def threads_for(work: Collection[UpdateWork], schedule: Schedule, features: int, hidden: int) -> int:
    """How many threads take a call: torch's, as far as each has work, a sample, and a core of those that this process
    may use.

    Args:
        work: of each of the schedule's arities.
        features: of an input.
    """
    most = torch.get_num_threads()
    if most == 1:
        return 1
    nodes = schedule.nodes[0]
    total = sum(hidden * (one.fixed + one.each * features) * count for one, count in zip(work, nodes, strict=True))
    return max(1, min(most, cores(), schedule.samples, int(total / LEAST)))


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def adds_to_vectors(plan: UpdatePlan) -> bool:
    """Whether a vector is read elementwise, as a peephole is. Its gradient is a sum over nodes in one order, so one
    thread takes all nodes of such an update in the backward pass."""
    return any(isinstance(leaf_of(node), TensorLeaf) for node in plan.nodes)


def gradients_split(plans: Collection[UpdatePlan], hidden: int) -> bool:
    """Whether each thread can have columns of the weights' gradients of its own. Not where one weight is read in two
    ways, as with its transpose: a thread's columns in the one are not those in the other."""
    views: dict[int, set[tuple[int, ...]]] = {}
    for product in (product for plan in plans for product in plan.products):
        views.setdefault(product.weight.tensor, set()).add(_columns(product, hidden))
    return all(len(ways) == 1 for ways in views.values())


def _columns(product: Product, hidden: int) -> tuple[int, ...]:
    """What says which elements of the tensor are a thread's: blocks of `hidden` rows are all split alike."""
    view: View = product.weight
    if view.column == 1 and view.row > 1:
        return view.row, view.column, view.offset // view.row % hidden
    return view.row, view.column, view.offset
