"""What acts inside backpropagation: a step of the native engine with it, beside the same step without.

A step is forward, then backward of a gradient in every hidden state. Thresholds are such that about half of what is
there is clipped; a step with truncation has as many cuts as windows of 25 steps.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks import chains, trees
from benchmarks.timing import Case, Measured, Registry, Step, clear, ratio
from rnn_research.cells import LSTM, RNN, Cell, ChildSumTreeLSTM
from rnn_research.structures import Chain, Forest
from rnn_research.unroll import Intervention, unroll

ACTING: dict[str, Callable[[Any, Cell], dict[str, Any]]] = {
    "clamp": lambda structure, cell: {
        "interventions": [Intervention(max_value=_median(structure, cell, "preactivation"))]
    },
    "norm": lambda structure, cell: {"interventions": [Intervention(max_norm=_median(structure, cell, "adjoint"))]},
    "normalise": lambda structure, cell: {"interventions": [Intervention(exponent=1.0)]},
    "h_detach": lambda structure, cell: {"interventions": [Intervention(keep=_mask(structure, cell))]},
    "truncate": lambda structure, cell: {"truncate": (25, 25)},
}


def _mask(structure: Chain | Forest, cell: Cell) -> list[torch.Tensor | None]:
    """Of h alone."""
    kept = (torch.rand(structure.mask.shape) < 0.5).float()
    return [kept if part == "hidden" else None for part in cell.state_names]


def _median(structure: Chain | Forest, cell: Cell, point: str) -> float:
    """Of the norms at the point; of pre-activations, of one element's size."""
    torch.manual_seed(0)
    inputs = torch.randn(*structure.mask.shape, cell.input_size)
    everything = Intervention(max_norm=1e30, max_value=1e30)
    unrolled = unroll(cell, structure, inputs, interventions=[everything])
    unrolled.hidden.backward(torch.randn(unrolled.hidden.shape) / len(structure))
    norm = float(unrolled.top.norms_by_point()[point][0].median())
    return norm if point == "adjoint" else norm / (len(cell.gates) * cell.hidden_size) ** 0.5


def _step(cell: Cell, structure: Chain | Forest, inputs: Any, gradient: Any, **kwargs: Any) -> Step:
    def step() -> None:
        clear(cell.parameters())
        unrolled = unroll(cell, structure, inputs, record=False, engine="native", **kwargs)
        unrolled.hidden.backward(gradient)

    return step


def along_chains(make: type[Cell], acting: str, shape: str, rounds: int) -> Measured:
    """At the shapes of `chains`."""
    _, _, features, hidden = chains.SHAPES[shape]
    cell = make(features, hidden)
    work = chains.Work([cell], shape)
    given = cell, work.chain, work.inputs, work.gradient
    acts = _step(*given, **ACTING[acting](work.chain, cell))
    return ratio(acts, _step(*given), rounds, "the same without")


def along_trees(acting: str, count: int, rounds: int) -> Measured:
    """On the trees of `trees`."""
    cell, forest = ChildSumTreeLSTM(trees.FEATURES, trees.HIDDEN), Forest.of(trees.sst_like(count))
    given = cell, forest, torch.randn(forest.nodes, trees.FEATURES), torch.randn(forest.nodes, trees.HIDDEN) / count
    acts = _step(*given, **ACTING[acting](forest, cell))
    return ratio(acts, _step(*given), rounds, "the same without")


def _cases(acting: str) -> dict[str, Case]:
    found = {
        f"{cell.__name__.lower()} {shape}": Case(partial(along_chains, cell, acting, shape), "<= 1.15")
        for cell in (LSTM, RNN)
        for shape in chains.MAIN
    }
    if acting != "truncate":
        found["child_sum 128"] = Case(partial(along_trees, acting, 128), "<= 1.15")
    return found


REGISTRY: Registry = {f"inside_{acting}": _cases(acting) for acting in ACTING}
