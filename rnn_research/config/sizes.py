"""How large a model and its batches will be, counted before any of it is made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from rnn_research.cells.base import Cell
from rnn_research.checks import LARGEST
from rnn_research.datasets.base import DataModule
from rnn_research.datasets.streams import SampleStream
from rnn_research.models.model import count_parameters

ITEM = {"64": 8, "32": 4, "16": 2, "bf16": 2}
"""Bytes of a number, by the precision's first part."""
READ = 256
"""Samples whose sizes are looked at."""


@dataclass(frozen=True)
class Sizes:
    """What the estimates of a model are made of: `longest` is the steps or nodes of a long sample; `parameters`
    those of the model, of which `cells` are read at each of its positions; `kept` the numbers that a batch keeps at
    each position; `states` the optimiser's numbers for each parameter; `width` the size of embeddings, 0 without."""

    batch: int
    longest: int
    layers: int
    parameters: int
    cells: int
    kept: int
    states: int
    item: int
    width: int
    hidden: int


def sizes_of(
    model: Mapping[str, Any],
    cell: Callable[..., Cell],
    children: int,
    data: DataModule,
    optimizer: Callable[..., torch.optim.Optimizer],
    precision: str,
) -> Sizes | None:
    """What a config's numbers come to; None where they are not whole numbers, or the cell doesn't tell: who makes them
    says so."""
    task, layers = data.task, model.get("num_layers", 1)
    embedded = model.get("embedding_size", 1) if task.vectors is None else task.vectors.shape[1]
    width = embedded if task.tokens else task.input_size
    target = model.get("match_parameters")
    given = (layers, width) if target is None else (layers, width, target)
    if not all(type(number) is int and number > 0 for number in given):
        return None
    batch, kept, hidden = min(data.batch_size, len(data.samples("train"))), 0, 0
    if target is not None:
        cells = parameters = target
    else:
        asked = getattr(cell, "keywords", {}).get("hidden_size")
        chains = 2 if model.get("bidirectional") is True else 1
        read = chains * asked if isinstance(asked, int) else asked
        first, above = _cell(cell, width, children), _cell(cell, read, children)
        if first is None or above is None or above[1] > LARGEST:
            return None
        hidden = above[1]
        cells = chains * (first[0] + (layers - 1) * above[0])
        parameters = cells + (task.input_size * width if task.tokens else 0) + (chains * hidden + 1) * task.output_size
        kept = chains * layers * hidden * above[2]
    item = ITEM.get(precision.partition("-")[0], 4) if precision.endswith("-true") or "-" not in precision else 4
    states, width = _states(optimizer), width if task.tokens else 0
    return Sizes(batch, _steps(data), layers, parameters, cells, kept, states, item, width, hidden)


def _steps(data: DataModule) -> int:
    """The steps or nodes of the longest sample, where that is known before any is made; of samples that are there the
    mean of the first ones; 0 where neither can be said."""
    if data.longest is not None:
        return data.longest
    samples = data.samples("train")
    if isinstance(samples, SampleStream):
        return 0
    with contextlib.suppress(Exception):  # they are not checked yet: who does says what is wrong
        read = min(len(samples), READ)
        return sum(data.layout.size(samples[number]) for number in range(read)) // read
    return 0


def _cell(cell: Callable[..., Cell], input_size: Any, children: int) -> tuple[int, int, int] | None:
    """The parameters of a layer's cell, its hidden size, and the parts of its state: of a cell on the meta device,
    which takes no memory; where that can't count so far, from what three small ones say."""
    with contextlib.suppress(Exception):
        try:
            with torch.device("meta"):
                made = cell(input_size=int(input_size), max_children=children)
            return count_parameters(made), made.hidden_size, len(made.state_names)
        except Exception:  # a shape beyond what torch counts in
            return _extrapolated(cell, int(input_size), children)
    return None


def _extrapolated(cell: Callable[..., Cell], input_size: int, children: int) -> tuple[int, int, int]:
    """A cell's parameters are a polynomial of its hidden size, of second degree where that is the input size too."""
    hidden = getattr(cell, "keywords", {})["hidden_size"]
    square = input_size == hidden
    counts, state_names = [], ()
    for small in (1, 2, 3):
        with torch.device("meta"):
            made = cell(input_size=small if square else input_size, max_children=children, hidden_size=small)
        counts.append(count_parameters(made))
        state_names = made.state_names
    one, two, three = counts
    second = three - 2 * two + one
    total = one + (hidden - 1) * (two - one) + (hidden - 1) * (hidden - 2) // 2 * second
    return total, hidden, len(state_names)


def _states(optimizer: Callable[..., torch.optim.Optimizer]) -> int:
    """How many numbers an optimiser keeps of each parameter: after a step on a small one."""
    with contextlib.suppress(Exception):
        parameter = nn.Parameter(torch.zeros(64))
        made = optimizer([parameter])
        parameter.grad = torch.zeros(64)
        made.step()
        return sum(isinstance(value, torch.Tensor) and value.numel() == 64 for value in made.state[parameter].values())
    return 0
