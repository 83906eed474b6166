"""Put back what a cell's updates may change besides returning a state: random numbers, buffers, attributes."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from rnn_research.cells.base import Cell


def random_state(device: torch.device) -> list[Tensor]:
    """Of torch's own generators, the CPU's and the device's."""
    own = [torch.get_rng_state()]
    return [*own, torch.cuda.get_rng_state(device)] if device.type == "cuda" else own


def set_random_state(device: torch.device, states: list[Tensor]) -> None:
    """Go on from there."""
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)


def draws() -> tuple[Any, ...]:
    """How far the random numbers of the CPU have been drawn: torch's and numpy's. (Checks of types draw Python's.)"""
    numpy = sys.modules.get("numpy")
    numpys: Any = numpy.random.get_state() if numpy else None
    return torch.get_rng_state().numpy().tobytes(), numpys and (*numpys[2:], numpys[1].tobytes())


@contextlib.contextmanager
def undisturbed(cells: Iterable[Cell]) -> Iterator[None]:
    """A context in which the cells' updates can be run again without a trace. Afterwards the random numbers (torch's,
    numpy's and Python's, and a cell's own `torch.Generator`) are where they were, and the cells have their buffers and
    attributes."""
    cells = list(cells)
    devices = {parameter.device for cell in cells for parameter in cell.parameters()}
    drawn = [(device, random_state(device)) for device in devices or {torch.device("cpu")}]
    own, numpy = random.getstate(), sys.modules.get("numpy")
    numpys: Any = numpy.random.get_state() if numpy else None
    kept = [_kept(module) for cell in cells for module in cell.modules()]
    held = [one for _, attributes, _ in kept for one in attributes.values()]
    generators = [(one, one.get_state()) for one in held if isinstance(one, torch.Generator)]
    try:
        yield
    finally:
        for module, attributes, buffers in kept:
            module.__dict__.clear()
            module.__dict__.update(attributes)
            module._buffers.clear()
            module._buffers.update(buffers)
        for device, states in drawn:
            set_random_state(device, states)
        for generator, state in generators:
            generator.set_state(state)
        random.setstate(own)
        if numpy:
            numpy.random.set_state(numpys)


def _kept(module: torch.nn.Module) -> tuple[torch.nn.Module, dict[str, Any], dict[str, Tensor | None]]:
    """The module's attributes and buffers. In the meantime it has copies of the buffers: those that the graph of
    autograd holds stay as they are, with their versions."""
    kept = module, dict(vars(module)), dict(module._buffers)
    for name, buffer in kept[2].items():
        if buffer is not None:
            module._buffers[name] = buffer.clone()
    return kept
