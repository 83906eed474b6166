"""Gradients that keep their norm from step to step (Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rnn_research.cells.base import Cell
from rnn_research.checks import choice, number
from rnn_research.regularizers.base import Regularizer, Step, refuse_trees
from rnn_research.regularizers.pullback import Apart, Pullback, pullbacks
from rnn_research.unroll import Layer

TREES = "the ratio of the gradient's norms after and before one update needs one previous state, and a node has several"


class Omega(Regularizer):
    """Omega = sum_k (||d_{k+1} J_{k+1}|| / ||d_{k+1}|| - 1)^2, with d_k = dL/ds_k, J_{k+1} = ds_{k+1}/ds_k and s the
    whole state (h, and c where there is one), over all updates k of a chain, the first included. alpha times its
    immediate derivative is added to the gradient of `weight_hh`: the one in the matrix that multiplies d_{k+1} in the
    product, with d, the states and the activations constant.

    * `form=paper`: eq. 9 and the mean over samples.
    * `form=code`: as the authors' program (github.com/pascanur/trainingRNNs), whose numbers the paper reports: ratios
      of squared norms, and the mean over samples is divided by the mean number of steps that count.

    Steps with ||d_{k+1}||^2 < 1e-20, in units of the batch's mean loss, do not count. d is of the total loss. Each
    layer has its own Omega; the value recorded is their sum, without alpha.

    Args:
        alpha: the factor, 4 in the paper's section 4.1 (2 for its polyphonic music). 0: measured only.
        form: code or paper.

    Raises:
        ValueError: alpha below 0, no such form; in `attach`, trees, or a cell that uses `weight_hh` otherwise than as
            the matrix of a product.
    """

    needs_adjoints = True
    needs_whole = True
    BOUND = 1e-20  # of the squared norm: `bound` in the authors' program

    def __init__(self, alpha: float = 4.0, form: str = "code") -> None:
        super().__init__()
        self.alpha = number("alpha", alpha, least=0.0)
        self.form = choice("form", form, ("code", "paper"))

    def attach(self, cells: Sequence[Cell], trees: bool | None = None) -> None:
        refuse_trees(trees, TREES)
        for cell in cells:
            with torch.no_grad(), Apart(cell):
                cell.step(cell.project(cell.weight_ih.new_zeros(1, cell.input_size)), cell.initial_state(1))

    def after_backward(self, step: Step, unit: Tensor) -> Tensor:
        refuse_trees(step.structure, TREES)
        return torch.stack([self._layer(layer, len(step.structure), unit) for layer in step.unrolled.layers]).sum()

    def _layer(self, layer: Layer, samples: int, unit: Tensor) -> Tensor:
        """One layer's Omega; alpha times its gradient goes to the weight's."""
        weight = layer.cell.weight_hh
        adds = self.alpha > 0 and weight.grad is not None
        value = number = torch.zeros((), dtype=torch.float64, device=weight.device)
        gradient = torch.zeros_like(weight)
        for one in pullbacks(layer):
            counts = ~(one.norms < self.BOUND**0.5 * unit.abs())  # NaN counts: it must be seen
            terms, slopes = (torch.where(counts, values, 0.0) for values in self._terms(one))
            value, number = value + terms.sum(), number + counts.sum()
            if adds:
                factor = slopes.to(weight.dtype)[:, None]
                gradient += one.immediate([factor * part for part in one.pulled])
        total = number.clamp(min=1) if self.form == "code" else samples
        if adds:
            weight.grad += gradient * (self.alpha * unit / total).to(weight.dtype)
        return value / total

    def _terms(self, one: Pullback) -> tuple[Tensor, Tensor]:
        """(r - 1)^2 of each update's ratio r, in float64, and what its derivative in X = u J is X times."""
        squared = torch.stack([part.square().sum(-1) for part in one.pulled]).sum(0).double()
        if self.form == "code":
            return (squared - 1).square(), 4 * (squared - 1)
        ratio = squared.sqrt()
        return (ratio - 1).square(), torch.where(ratio > 0, 2 * (ratio - 1) / ratio, 0.0)
