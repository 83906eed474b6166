"""What a run will need at the least, told from its sizes before anything of them is made.

Each figure is a lower bound: what is refused would not have gone well. What passes may still need more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from rnn_research.config.resources import available, files, processes, size
from rnn_research.config.sizes import Sizes
from rnn_research.datasets.base import DataModule
from rnn_research.datasets.streams import SampleStream
from rnn_research.datasets.task import SPLITS

log = logging.getLogger(__name__)

FASTEST = 1.5e11
"""Products and sums a second that one core can do, in float32."""
LAYER = 0.001
"""Seconds a step that a layer costs at the least, however small: measured were 4."""
PATIENCE = 60.0
"""Seconds that one step, or making the first samples, may take at the least; so long nothing is said."""
DRAWING = 600.0
"""Seconds that drawing the samples of one validation or test may take: what is computed of them comes on top."""
WORKER_MEMORY, WORKER_SECONDS, WORKER_FILES = 8 << 20, 0.06, 4
"""Of a process that makes batches: what it has for itself, what starting and ending it takes, its pipes here."""


class TooMuch(ValueError):
    """A run that needs more than there is: the message names the key, what is needed, and what there is."""


def check_data(data: DataModule) -> None:
    """The first samples can be made: nothing of generated data is, before this.

    Raises:
        TooMuch: they need more memory than there is, or minutes.
    """
    task, there = data.task, available()
    for name in (*SPLITS, *data.evaluation_sets[1:]):
        samples = data.samples(name)
        if not isinstance(samples, SampleStream):
            continue
        longest, sets = data.longest or 0, 3
        needed = sets * samples.BLOCK * longest * 4 * (1 if task.tokens else task.input_size)
        if needed > there:
            raise TooMuch(
                f"dataset: samples of {longest} steps need at least {size(needed)} of memory, since {samples.BLOCK} of "
                f"each split are made together, and {size(there)} are free; choose a smaller {data.LENGTHS_SAID}"
            )
        seconds = sets * samples.BLOCK * _seconds_for_one(samples)
        if seconds > PATIENCE:
            raise TooMuch(
                f"dataset: making the first samples takes about {_duration(seconds)} ({samples.BLOCK} of each split "
                f"are made together); choose a smaller {data.LENGTHS_SAID}"
            )
        return  # the others are as long: `longest` covers them all


def _seconds_for_one(samples: SampleStream) -> float:
    """Of this thread's own computing: a machine that others keep busy refuses nothing that a quiet one takes."""
    start = time.thread_time()
    samples.make(np.random.default_rng(0), 1)
    return time.thread_time() - start


def check_sets(data: DataModule, limits: Mapping[str, Any]) -> None:
    """The sets that are measured are no work of hours, where they are drawn.

    Args:
        limits: of batches, as lightning's Trainer takes them.

    Raises:
        TooMuch: one is.
    """
    for name in ("val", *data.evaluation_sets):
        samples = data.samples(name)
        if not isinstance(samples, SampleStream) or len(samples) <= samples.BLOCK:
            continue
        rate = _seconds_each(samples, data)
        limit = limits.get("limit_val_batches") if name == "val" else None
        count = min(len(samples), limit * data.batch_size) if isinstance(limit, int) else len(samples)
        if count * rate > DRAWING:
            key = f"{name}_size" if name == "val" else "test_size"
            also = ", or +trainer.limit_val_batches=N for fewer" if name == "val" else ""
            raise TooMuch(
                f"dataset.{key}: given {len(samples)}, expected fewer: drawing them once takes about "
                f"{_duration(count * rate)}{also}"
            )
        if count * rate > PATIENCE:
            log.warning("%s: drawing its %d samples once takes about %s", name, count, _duration(count * rate))


def _seconds_each(samples: SampleStream, data: DataModule) -> float:
    """Of drawing a sample and laying it out in a batch: from the first of them, which the fingerprint needs too."""
    start = time.thread_time()
    samples.take(range(samples.BLOCK))
    drawn, count = time.thread_time(), min(data.batch_size, samples.BLOCK)
    data.layout.collate(samples.take(range(count)))
    return (drawn - start) / samples.BLOCK + (time.thread_time() - drawn) / count


def check_workers(data: DataModule) -> None:
    """The processes that make batches can be started: those of train and val live side by side.

    Raises:
        TooMuch: they need more memory, files or processes than there are, or most of a minute.
    """
    count = data.num_workers
    alive, sets = 2 * count, 2 + len(data.evaluation_sets)
    for needed, there, what in (
        (alive * WORKER_MEMORY, available(), "memory"),
        (alive * WORKER_FILES, files(), "open files"),
        (alive, processes(), "processes"),
    ):
        if needed > there:
            said = [size(amount) if what == "memory" else str(amount) for amount in (needed, there)]
            raise TooMuch(
                f"dataset.num_workers: given {count}, expected fewer: they need at least {said[0]} "
                f"{'of ' * (what == 'memory')}{what}, and there are {said[1]}"
            )
    if (seconds := sets * count * WORKER_SECONDS) > PATIENCE / 2:
        raise TooMuch(
            f"dataset.num_workers: given {count}, expected fewer: to start and to end them takes about "
            f"{_duration(seconds)} ({count} processes for each of {sets} sets of samples)"
        )


def check_model(found: Sizes, model: Mapping[str, Any], data: DataModule, there: int | None = None) -> None:
    """The model, its gradients, the optimiser's state and a batch's states have room, and a step takes no minutes.

    Args:
        found: what the config's numbers come to.
        model: the numbers of `Model`, one of which is to blame.
        there: bytes of the accelerator's memory; None: the CPU computes.

    Raises:
        TooMuch: they don't, or it does.
    """
    room = available() if there is None else there
    needed = found.item * found.parameters * (2 + found.states)
    if needed > room:
        states = f" and {found.states} numbers of the optimizer's" if found.states else ""
        raise TooMuch(
            f"{_blame(model, found)}: needs more memory than there is: at least {size(needed)} for "
            f"{found.parameters:.3g} parameters, their gradients{states}, and {size(room)} are free; choose smaller "
            "sizes"
        )
    needed = 2 * found.item * found.batch * found.longest * found.kept
    if needed > room:
        raise TooMuch(
            f"dataset: a batch of {found.batch} samples of {found.longest} steps in {found.layers} layers keeps at "
            f"least {size(needed)} of states and their gradients, and {size(room)} are free; choose a smaller "
            f"dataset.batch_size, {data.LENGTHS_SAID} or model"
        )
    if there is None:
        products = 6.0 * found.cells * found.batch * max(1, found.longest)
        seconds = found.layers * LAYER + products / (FASTEST * torch.get_num_threads())
        if seconds > PATIENCE:
            raise TooMuch(
                f"{_blame(model, found)}: one step takes at least {_duration(seconds)} here ({found.parameters:.3g} "
                f"parameters in {found.layers} layers); choose smaller sizes, or dataset.batch_size, or more threads"
            )


def _blame(model: Mapping[str, Any], found: Sizes) -> str:
    """The key that makes the model large."""
    if model.get("match_parameters") is not None:
        return "model.match_parameters"
    if found.layers > 1000:
        return "model.num_layers"
    return "model.embedding_size" if found.width > found.hidden else "model.cell"


def _duration(seconds: float) -> str:
    for unit, scale in (("years", 3.15e7), ("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds:.3g} s"
