"""Gradients that keep their norm from step to step (Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063, section 3.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from rnn_research.cells.base import Cell
from rnn_research.checks import choice, number
from rnn_research.jacobians.closed_forms import layer_vjps
from rnn_research.jacobians.product_weight import ProductWeight
from rnn_research.jacobians.vjp import VectorJacobian
from rnn_research.regularizers.base import Regularizer, Step, refuse_trees
from rnn_research.unroll import Unrolled
from rnn_research.unroll.repeatable import check_repeatable

TREES = "the ratio of the gradient's norms after and before one update needs one previous state, and a node has several"


class Omega(Regularizer):
    """Omega = sum_k (||d_{k+1} J_{k+1}|| / ||d_{k+1}|| - 1)^2, with d_k = dL/ds_k, J_{k+1} = ds_{k+1}/ds_k and s the
    whole state (h, and c where there is one), over all updates k of a chain, the first included. alpha times its
    immediate derivative is added to the gradient of `weight_hh`: the one in the matrix that multiplies d_{k+1} in the
    product, with d, the states and the activations constant.

    * `form=paper`: eq. 9 and the mean over samples.
    * `form=code`: as the authors' program (github.com/pascanur/trainingRNNs), whose numbers the paper reports: ratios
      of squared norms, and the mean over samples is divided by the mean number of steps that count.

    Steps with ||d_{k+1}||^2 < 4e-18 do not count, d being of the sample's own loss: whether one does hangs on no other
    sample. (The authors' 1e-20 is of the mean over their batches of 20.) In the ratios d is of the total loss. Each
    layer has its own Omega; the value recorded is their sum, without alpha.

    Args:
        alpha: the factor, 4 in the paper's temporal order experiment. 0: measured only.
        form: code or paper.

    Raises:
        ValueError: alpha below 0, no such form; in `attach`, trees, or a cell that uses `weight_hh` otherwise than as
            the matrix of a product.
    """

    needs_adjoints = True
    needs_whole = True
    counts = True
    BOUND = 1e-20 * 20**2  # of the squared norm: `bound` in the authors' program, whose batches had 20 samples

    def __init__(self, alpha: float = 4.0, form: str = "code") -> None:
        super().__init__()
        self.alpha = number("alpha", alpha, least=0.0)
        self.form = choice("form", form, ("code", "paper"))
        self._readouts: dict[Unrolled, dict[int, Tensor]] = {}
        """Of what was unrolled for the batch at hand, each for itself, the readout's gradient in each layer."""
        self._counted: list[Tensor] = []

    def attach(self, cells: Sequence[Cell], trees: bool | None = None) -> None:
        refuse_trees(trees, TREES)
        for cell in cells:
            check_repeatable(cell, "omega")
            with torch.no_grad(), ProductWeight(cell):
                cell.step(cell.project(cell.weight_ih.new_zeros(1, cell.input_size)), cell.initial_state(1))

    def penalty(self, step: Step) -> None:
        """Nothing is added; but where no readout's gradient will come by, the adjoint is what Omega would compute."""
        refuse_trees(step.structure, TREES)
        readouts = self._readouts[step.unrolled] = {}
        for index, layer in enumerate(step.unrolled.layers):
            if layer.hidden.requires_grad and not step.inside:
                layer.hidden.register_hook(partial(readouts.__setitem__, index))

    def after_backward(self, step: Step, unit: Tensor) -> Tensor:
        refuse_trees(step.structure, TREES)
        readouts = self._readouts.pop(step.unrolled, {})
        silent = {index: (gradient == 0).all(-1) for index, gradient in readouts.items()}
        inputs = {0: step.inputs}  # dropout may lie before those of the layers above
        self._counted = []
        values = [
            self._layer(layer.cell.weight_hh, layer_vjps(layer, silent.get(index), inputs.get(index)), step, unit)
            for index, layer in enumerate(step.unrolled.layers)
        ]
        return torch.stack(values)

    def counted(self, step: Step) -> Tensor | float:
        """The steps that count in each layer, or the samples."""
        return torch.stack(self._counted) if self.form == "code" else super().counted(step)

    def _layer(self, weight: Tensor, updates: Iterator[VectorJacobian], step: Step, unit: Tensor) -> Tensor:
        """One layer's Omega; alpha times its gradient goes to the weight's."""
        adds_to = weight.grad if self.alpha > 0 else None
        value = count = torch.zeros((), dtype=torch.float64, device=weight.device)
        gradient = torch.zeros_like(weight)
        for one in updates:
            counts = ~(one.norms < self.BOUND**0.5 * unit.abs() / max(step.labels, 1))  # NaN counts: it must be seen
            terms, slopes = (torch.where(counts, values, 0.0) for values in self._terms(one))
            value, count = value + terms.sum(), count + counts.sum()
            if adds_to is not None:
                factor = slopes.to(weight.dtype)[:, None]
                gradient += one.immediate([factor * part for part in one.product])
        self._counted.append(count)
        total = count.clamp(min=1) if self.form == "code" else len(step.structure)
        if adds_to is not None:
            adds_to += gradient * (self.alpha * unit / total).to(weight.dtype)
        return value / total

    def _terms(self, one: VectorJacobian) -> tuple[Tensor, Tensor]:
        """(r - 1)^2 of each update's ratio r, in float64, and what its derivative in X = u J is X times."""
        squared = torch.stack([torch.linalg.vector_norm(part, dim=-1) for part in one.product]).double().square().sum(0)
        if self.form == "code":
            return (squared - 1).square(), 4 * (squared - 1)
        ratio = squared.sqrt()
        return (ratio - 1).square(), torch.where(ratio > 0, 2 * (ratio - 1) / ratio, 0.0)
