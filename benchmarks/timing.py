"""How two things are timed against each other: round by round, in one process, the order reversed each round."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Step = Callable[[], object]
Round = Mapping[str, float]
Clock = Callable[[], float]
CPU: Clock = time.process_time

LEAST = 9
"""Rounds that a median needs: no cap on the seconds makes it fewer."""
SECONDS = 8.0
"""A case that has taken this long takes no more rounds than `LEAST`."""
SHORT = 0.1
"""A step of fewer seconds is called as often as fills them, at most 10 times."""


class NotThere(Exception):
    """What the case measures does not exist (yet): says what."""


@dataclass(frozen=True)
class Measured:
    """One result. `detail` is printed beside it."""

    ratio: float
    unit: str
    baseline: str
    detail: str = ""


@dataclass(frozen=True)
class Case:
    """`measure`, given the most rounds to take, and what is aimed at: printed beside the result, not enforced."""

    measure: Callable[[int], Measured]
    target: str = ""


Registry = dict[str, dict[str, Case]]
"""name -> case -> how it is measured."""


def rounds_of(steps: Mapping[str, Step], rounds: int, clock: Clock = CPU) -> list[Round]:
    """What each step took, round by round, after two calls of each. Garbage is collected between rounds alone.

    Short steps are called several times in a round, so that whichever comes first after that counts for less.
    """
    last = SHORT
    for step in (*steps.values(), *steps.values()):
        before = clock()
        step()
        last = clock() - before
    calls = max(1, min(10, int(SHORT / last)))
    names, found, start = list(steps), [], time.monotonic()
    for index in range(rounds):
        if index >= LEAST and time.monotonic() - start > SECONDS:
            break
        gc.collect()
        gc.disable()
        taken = {}
        for name in names[:: -1 if index % 2 else 1]:
            before = clock()
            for _ in range(calls):
                steps[name]()
            taken[name] = (clock() - before) / calls
        gc.enable()
        found.append(taken)
    return found


def ratio(
    ours: Step, peer: Step, rounds: int, baseline: str, *, higher: bool = False, note: str = "", clock: Clock = CPU
) -> Measured:
    """ours / peer in each round, or (`higher` is better) peer / ours."""
    taken = rounds_of({"ours": ours, "peer": peer}, rounds, clock)
    return summed_up(taken, lambda t: t["peer"] / t["ours"] if higher else t["ours"] / t["peer"], baseline, note)


def summed_up(taken: list[Round], value: Callable[[Round], float], baseline: str, note: str = "") -> Measured:
    """The median over rounds of a ratio, with its quartiles and the medians of the times."""
    values = [value(one) for one in taken]
    times = ", ".join(f"{name} {1e3 * statistics.median(one[name] for one in taken):.1f} ms" for name in taken[0])
    return Measured(statistics.median(values), "x", baseline, "; ".join(filter(None, [spread(values), times, note])))


def spread(values: list[float]) -> str:
    """The quartiles, and of how many."""
    if len(values) < 2:
        return "1 round"
    low, _, high = statistics.quantiles(values, n=4)
    return f"{low:.3g}..{high:.3g} of {len(values)}"


def clear(parameters: Iterable[Tensor]) -> None:
    """No gradients, as after an optimiser's `zero_grad`."""
    for parameter in parameters:
        parameter.grad = None


def same(what: str, given: Tensor, expected: Tensor, tolerance: float = 1e-3) -> None:
    """Raise AssertionError where two float32 computations of one thing differ by more than rounding."""
    with torch.no_grad():
        error = float((given - expected).norm() / expected.norm())
    assert error < tolerance, f"{what}: differs from the peer's by {error:.1e} of its norm"
