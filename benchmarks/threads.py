"""One thread and two: our step with adjoints on two threads beside itself on one, and beside torch's module on two.

On the wall, as CPU time says nothing of it: another process that wants one of the two cores spoils the figure, so the
detail says how often one did. A round in which one took a core from a step counts only where all rounds are such.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks import chains, trees
from benchmarks.timing import Case, Measured, NotThere, Registry, Step, summed_up
from rnn_research.cells import GRU, LSTM, RNN, Cell, ChildSumTreeLSTM
from rnn_research.unroll.compiled.threads import cores

SHAPES = ("s3", "s4", "lm")
"""Of 64 samples or more."""


def beside_one(make: Callable[[], Any], rounds: int) -> Measured:
    """A step of `make()` on two threads, to the same on one."""
    _needs_two()
    work = make()
    return _measured({"two": _on(2, work.step), "one": _on(1, work.step)}, "the same on one thread", rounds, work)


def beside_torch(ours: type[Cell], kind: type[nn.RNNBase], shape: str, rounds: int) -> Measured:
    """A step on two threads, to torch's module on two."""
    _needs_two()
    work = _chain(ours, shape)
    net = chains.torch_net(work.cells, kind)
    steps = {"two": _on(2, work.step), "peer": _on(2, work.peer(net))}
    return _measured(steps, f"torch.nn.{kind.__name__} on two threads", rounds, work)


def _chain(ours: type[Cell], shape: str) -> chains.Work:
    return chains.Work([ours(*chains.SHAPES[shape][2:])], shape)


def _trees(count: int) -> trees.Work:
    return trees.Work(trees.sst_like(count), ChildSumTreeLSTM(trees.FEATURES, trees.HIDDEN))


def _on(threads: int, step: Step) -> Step:
    def on() -> None:
        torch.set_num_threads(threads)
        step()

    return on


def _needs_two() -> None:
    if cores() < 2:
        raise NotThere("two cores")


def _measured(steps: dict[str, Step], baseline: str, rounds: int, work: Any) -> Measured:
    """The median of the first over the second, of the rounds in which no other process took a core from a step."""
    names, found, quiet = list(steps), [], []
    for step in (*steps.values(), *steps.values()):
        step()
    for index in range(rounds):
        taken: dict[str, float] = {}
        before = _preempted()
        for name in names[:: -1 if index % 2 else 1]:
            start = time.perf_counter()
            steps[name]()
            taken[name] = time.perf_counter() - start
        found.append(taken)
        quiet += [] if _preempted() > before else [taken]
    said = f"{len(quiet)} of {rounds} rounds undisturbed, load {os.getloadavg()[0]:.1f}"
    first, second = names
    return summed_up(
        quiet or found, lambda t: t[first] / t[second], baseline, "; ".join(filter(None, [said, work.note]))
    )


def _preempted() -> int:
    """How often this process's threads, those that have ended too, had to leave a core."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


REGISTRY: Registry = {
    "two_threads_to_one": {
        **{
            f"{cell.__name__.lower()} {shape}": Case(
                partial(beside_one, partial(_chain, cell, shape)), "<= 0.625" if shape == "s4" else ""
            )
            for cell in (LSTM, RNN, GRU)
            for shape in SHAPES
        },
        "trees 128": Case(partial(beside_one, partial(_trees, 128))),
    },
    "two_threads_vs_torch": {
        f"{ours.__name__.lower()} {shape}": Case(partial(beside_torch, ours, kind, shape), "<= 1.0")
        for ours, kind in ((LSTM, nn.LSTM), (RNN, nn.RNN), (GRU, nn.GRU))
        for shape in SHAPES
    },
}
